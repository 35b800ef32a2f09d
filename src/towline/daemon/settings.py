"""A checked value with the place it came from, and the checks that need several values."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

import msgspec

from towline.daemon.options import Option
from towline.daemon.values import MTU_MIN_IPV6, join_host_port, parse_host, split_host_port
from towline.model.config import Config
from towline.model.errors import ConfigError

DEFAULT_TCP_PORT, DEFAULT_TLS_PORT = 2375, 2376  # IANA: docker, docker-s


class Setting(msgspec.Struct, frozen=True):
    """value: as Config wants it. origin: "flag --bip", or file, line, column and key. shown: as written."""

    option: Option
    value: object
    origin: str
    shown: str


Settings = Mapping[str, Setting]
"""Key of the option (as in the configuration file) -> what was set."""


def collect(option: Option, parsed: list[object], origin: str, shown: str) -> Setting:
    """Fold the checked values given for one option into what Config wants."""
    value: object
    if option.kind == "network-opts":
        value = _network_opts(parsed)
    elif option.kind in ("list", "pools"):
        value = tuple(parsed)
    else:
        value = parsed[-1]
    return Setting(option, value, origin, shown)


def build_config(settings: Settings) -> Config:
    """Config from what was set, defaults for the rest. ConfigError if values do not fit together."""
    chosen = {setting.option.field: setting.value for setting in settings.values()}
    exec_root = chosen.get("exec_root", Config().exec_root)
    chosen.setdefault("pidfile", f"{exec_root}/towlined.pid")
    if not chosen.get("hosts"):
        chosen["hosts"] = (f"unix://{exec_root}/docker.sock",)
    if chosen.get("tlsverify"):
        chosen["tls"] = True
    config = msgspec.convert(chosen, Config)
    config = msgspec.structs.replace(config, hosts=tuple(_with_port(host, config.tls) for host in config.hosts))
    _check_bridge(config, settings)
    _check_tls(config, settings)
    _check_labels(config, settings)
    _check_hosts(config, settings)
    return config


def _network_opts(parsed: list[object]) -> dict[str, dict[str, str]]:
    opts: dict[str, dict[str, str]] = {}
    for driver, name, value in msgspec.convert(parsed, list[tuple[str, str, str]]):
        opts.setdefault(driver, {})[name] = value
    return opts


def _with_port(host: str, tls: bool) -> str:
    if not host.startswith("tcp://"):
        return host
    name, port = split_host_port(host.removeprefix("tcp://"))
    if port < 0:
        port = DEFAULT_TLS_PORT if tls else DEFAULT_TCP_PORT
    return f"tcp://{join_host_port(name, port)}"


def _fail(settings: Settings, key: str, problem: str) -> ConfigError:
    setting = settings[key]
    return ConfigError(f"{setting.origin}: {setting.shown}: {problem}")


def _check_bridge(config: Config, settings: Settings) -> None:
    for bip_key, bip, cidr_key, cidr, gateway_key, gateway in (
        ("bip", config.bip, "fixed-cidr", config.fixed_cidr, "default-gateway", config.default_gateway),
        ("bip6", config.bip6, "fixed-cidr-v6", config.fixed_cidr_v6, "default-gateway-v6", config.default_gateway_v6),
    ):
        if not bip:
            continue
        subnet = ip_interface(bip).network
        if cidr and not _within(cidr, str(subnet)):
            raise _fail(
                settings, cidr_key, f"outside {subnet}, the subnet of {bip_key} {bip}; choose a range within it"
            )
        if gateway and ip_address(gateway) not in subnet:
            raise _fail(settings, gateway_key, f"outside {subnet}, the subnet of {bip_key} {bip}")
    if config.ipv6 and 0 < config.mtu < MTU_MIN_IPV6:
        raise _fail(settings, "mtu", f"IPv6 needs an MTU of at least {MTU_MIN_IPV6} bytes; raise it, or leave out ipv6")


def _within(inner: str, outer: str) -> bool:
    a, b = ip_network(inner), ip_network(outer)
    return a.prefixlen >= b.prefixlen and a.network_address in b


def _check_tls(config: Config, settings: Settings) -> None:
    if not config.tls:
        return
    key = "tlsverify" if "tlsverify" in settings and config.tlsverify else "tls"
    needed = {"tlscert": config.tlscert, "tlskey": config.tlskey}
    if config.tlsverify:
        needed["tlscacert"] = config.tlscacert
    missing = [name for name, path in needed.items() if not path]
    if missing:
        raise _fail(settings, key, f"needs {', '.join(missing)} too (paths of PEM files)")


def _check_labels(config: Config, settings: Settings) -> None:
    """Docker: the same key twice is fine only with the same value."""
    seen: dict[str, str] = {}
    for label in config.labels:
        key, _, value = label.partition("=")
        if seen.setdefault(key, value) != value:
            raise _fail(settings, "labels", f"conflict labels for {key}={value} and {key}={seen[key]}")


def _check_hosts(config: Config, settings: Settings) -> None:
    for host in config.hosts:
        if config.hosts.count(host) > 1:
            raise _fail(settings, "hosts", f"{host} is given twice")
        if host.startswith("unix://"):
            try:
                parse_host(host)
            except ValueError as error:
                raise ConfigError(f"host {host} (from exec-root): {error}") from None
