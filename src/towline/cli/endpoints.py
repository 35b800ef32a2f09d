"""What is asked of endpoints: `--network` in its short and long form, and the flags that are for the first network.

The long form is the docker CLI's: fields separated by commas, `name=web,ip=10.9.0.7,alias=db`; the name may come first
without its key. The daemon judges the values.
"""

from __future__ import annotations

from towline.cli.errors import UsageError
from towline.cli.values import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from towline.cli.flags import Parsed

_SINGLE = {"ip": "ipv4", "ip6": "ipv6", "mac-address": "mac"}
_MANY = {"alias": "aliases", "link": "links", "link-local-ip": "link_local"}
_FLAGS = {
    "ip": "ip",
    "ip6": "ip6",
    "mac-address": "mac-address",
    "network-alias": "alias",
    "link": "link",
    "link-local-ip": "link-local-ip",
}
_KEYS = ("name", *_SINGLE, *_MANY, "driver-opt", "gw-priority")


def networks(args: Parsed) -> list[Object]:
    """The `networks` of a request for a sandbox. UsageError for what cannot be read or is said twice."""
    wanted = [_network(text) for text in args.items("network")]
    names = [config["network"] for config in wanted]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f'network "{name}" is given twice')
    given = [(flag, key, value) for flag, key in _FLAGS.items() for value in args.items(flag)]
    if given and not wanted:
        wanted.append({"network": "bridge"})
    for flag, key, value in given:
        _add(wanted[0], key, value, f"--{flag}")
    return wanted


def endpoint(args: Parsed) -> Object:
    """The EndpointConfig of `network connect`, in Docker's words."""
    addresses: Object = {}
    for flag, field in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if value := args.text(flag):
            addresses[field] = value
    if local := args.items("link-local-ip"):
        addresses["LinkLocalIPs"] = local
    return {
        "IPAMConfig": addresses,
        "Links": args.items("link"),
        "Aliases": args.items("alias"),
        "DriverOpts": dict(_option(text) for text in args.items("driver-opt")),
        "GwPriority": _number(args.text("gw-priority") or "0"),
        "MacAddress": args.text("mac-address"),
    }


def _network(text: str) -> Object:
    first, *fields = text.split(",")
    config: Object = {}
    if "=" in first:
        fields = [first, *fields]
    else:
        config["network"] = first
    for field in fields:
        key, separator, value = field.partition("=")
        key = key.strip().lower()
        if not separator or key not in _KEYS:
            raise UsageError(f'--network {text}: "{field}" is not understood', f"Fields are {', '.join(_KEYS)}.")
        _add(config, key, value.strip(), f"--network {text}")
    if not config.get("network"):
        raise UsageError(f"--network {text}: it names no network", "Write NAME,ip=... or name=NAME,ip=...")
    return config


def _add(config: Object, key: str, value: str, where: str) -> None:
    """Put one field into an endpoint's request."""
    if key == "driver-opt":
        name, option = _option(value)
        options = config.setdefault("driver_opts", {})
        assert isinstance(options, dict)
        options[name] = option
    elif key in _MANY:
        values = config.setdefault(_MANY[key], [])
        assert isinstance(values, list)
        values.append(value)
    else:
        field = _SINGLE.get(key, {"name": "network", "gw-priority": "gw_priority"}.get(key, key))
        if field in config:
            raise UsageError(f"{where}: {key} is given twice, {config[field]} and {value}")
        config[field] = _number(value) if key == "gw-priority" else value


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f'driver option "{text}": want KEY=VALUE')
    return name, value


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise UsageError(f'gateway priority "{text}" is not a whole number')
    return int(text)
