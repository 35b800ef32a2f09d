"""One checked parser per kind of value. Each takes the text as given and answers the value to keep.

They raise ValueError; its message says what is wrong and what would be right. Whoever calls them adds where the text
came from (flag, or file and line). Rules are those of dockerd (moby daemon/config, opts), unless said.
"""

from __future__ import annotations

import os
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

from towline.model.config import AddressPool

# Go's strconv.ParseBool.
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
LOG_FORMATS = ("text", "json")
MTU_MIN, MTU_MIN_IPV6, MTU_MAX = 68, 1280, 65535
_KEY_LIFE_MIN = 5
UNIX_PATH_MAX = 107  # sun_path without its NUL


def parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("not a boolean; write true or false (or 1, t, T, TRUE, True, 0, f, F, FALSE, False)")


def parse_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL byte is not allowed")
    return text


def parse_path(text: str) -> str:
    """Absolute and normalised; a relative one counts from the current directory."""
    if not parse_text(text):
        raise ValueError("a path is needed")
    return os.path.abspath(text)


def parse_cluster_store(text: str) -> str:
    """As it is; files that it names are read when they are needed."""
    from towline.cluster.etcd_url import parse_etcd_url
    from towline.model.errors import ConfigError

    try:
        parse_etcd_url(parse_text(text))
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("--cluster-store: ")) from None
    return text


def parse_log_level(text: str) -> str:
    if text == "warning":
        return "warn"
    return _one_of(text, LOG_LEVELS)


def parse_log_format(text: str) -> str:
    return _one_of(text, LOG_FORMATS)


def parse_mtu(text: str) -> int:
    """0 is the default of each driver."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError("not a whole number; write an MTU in bytes, such as 1450")
    mtu = int(text)
    if mtu and not MTU_MIN <= mtu <= MTU_MAX:
        raise ValueError(f"an MTU is between {MTU_MIN} and {MTU_MAX} bytes (0: the default)")
    return mtu


def parse_key_rotation(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) >= _KEY_LIFE_MIN):
        raise ValueError(f"not a whole number of seconds from {_KEY_LIFE_MIN} on; Docker's 12 hours are 43200")
    return int(text)


def parse_bip(text: str) -> str:
    return _bridge_address(text, IPv4Interface, "IPv4", "172.18.0.1/16")


def parse_bip6(text: str) -> str:
    return _bridge_address(text, IPv6Interface, "IPv6", "fd00:db8::1/64")


def parse_cidr4(text: str) -> str:
    return _subnet(text, IPv4Network, "IPv4", "172.18.4.0/24")


def parse_cidr6(text: str) -> str:
    return _subnet(text, IPv6Network, "IPv6", "fd00:db8:0:1::/64")


def parse_ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("not an IP address; write one without a prefix, such as 192.0.2.1") from None


def parse_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError("not an IPv4 address; write one without a prefix, such as 172.18.0.254") from None


def parse_ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        raise ValueError("not an IPv6 address; write one without a prefix, such as fd00:db8::fe") from None


def parse_label(text: str) -> str:
    key, separator, _ = parse_text(text).partition("=")
    if not separator or not key.strip():
        raise ValueError(f"bad attribute format: {text}; write key=value")
    return text


def parse_pool(text: str) -> AddressPool:
    """`base=10.0.0.0/8,size=24`."""
    parts: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.strip().partition("=")
        key = key.lower()
        if not separator or key not in ("base", "size"):
            raise ValueError(f"{part!r} is neither base=SUBNET nor size=PREFIX; write base=10.0.0.0/8,size=24")
        if key in parts:
            raise ValueError(f"{key} is given twice; one pool per flag")
        parts[key] = value
    missing = [key for key in ("base", "size") if key not in parts]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing; write base=10.0.0.0/8,size=24")
    if not (parts["size"].isascii() and parts["size"].isdigit()):
        raise ValueError(f"size {parts['size']!r} is not a prefix length; write size=24")
    return check_pool(parts["base"], int(parts["size"]))


def check_pool(base: str, size: int) -> AddressPool:
    """Host bits of the base are cleared, as dockerd does."""
    if "/" not in base:
        raise ValueError(f"base {base!r} has no prefix length; write base=10.0.0.0/8")
    try:
        network = ip_network(base, strict=False)
    except ValueError:
        raise ValueError(f"base {base!r} is not a subnet; write base=10.0.0.0/8") from None
    if size < network.prefixlen:
        raise ValueError(
            f"size {size} is smaller than the base's own prefix /{network.prefixlen}: the blocks would be larger than "
            f"the pool; size must be between {network.prefixlen} and {network.max_prefixlen}"
        )
    if size > network.max_prefixlen:
        raise ValueError(f"size {size} is above {network.max_prefixlen}, the longest prefix of the address family")
    return AddressPool(str(network), size)


def parse_network_opt(text: str) -> tuple[str, str, str]:
    """`bridge=com.docker.network.driver.mtu=1400` -> driver, option, value."""
    parts = parse_text(text).split("=", 2)
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise ValueError("write DRIVER=OPTION=VALUE, such as bridge=com.docker.network.driver.mtu=1400")
    return parts[0], parts[1], parts[2]


def parse_host(text: str) -> str:
    """unix:///path, tcp://host:port, fd:// (all of systemd's sockets), fd://3 or fd://name. Answers it in full."""
    scheme, separator, rest = parse_text(text).partition("://")
    if not separator:
        raise ValueError("write unix:///path/to.sock, tcp://host:port or fd://")
    if scheme == "unix":
        return _unix_host(rest)
    if scheme == "tcp":
        return "tcp://" + join_host_port(*split_host_port(rest))
    if scheme == "fd":
        return f"fd://{rest}"
    raise ValueError(f"scheme {scheme!r} is not served; write unix:///path/to.sock, tcp://host:port or fd://")


def split_host_port(text: str) -> tuple[str, int]:
    """`192.0.2.1:2375`, `[::1]:2375`, `:2375` (loopback, as dockerd). Port -1 if there is none."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError("write an IPv6 address in brackets, such as tcp://[::1]:2376")
        parse_ipv6(host)
        port = tail[1:]
    elif text.count(":") > 1:
        raise ValueError("write an IPv6 address in brackets, such as tcp://[::1]:2376")
    else:
        host, _, port = text.partition(":")
    if "/" in text:
        raise ValueError("a path has no meaning here; write tcp://host:port")
    return host or "127.0.0.1", _port(port)


def join_host_port(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port >= 0 else shown


def parse_metrics_addr(text: str) -> str:
    host, port = split_host_port(text)
    if port < 0:
        raise ValueError("a port is needed; write 127.0.0.1:9323")
    return join_host_port(host, port)


def _unix_host(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("a unix socket needs an absolute path, such as unix:///run/towline/docker.sock")
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise ValueError(f"the path is longer than {UNIX_PATH_MAX} bytes, more than the kernel allows for a socket")
    return f"unix://{os.path.normpath(path)}"


def _port(text: str) -> int:
    if not text:
        return -1
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
        raise ValueError(f"port {text!r} is not a number between 0 and 65535")
    return int(text)


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return text


def _bridge_address(text: str, kind: type[IPv4Interface] | type[IPv6Interface], family: str, example: str) -> str:
    if "/" not in text:
        raise ValueError(f"no prefix length; write the bridge's address with one, such as {example}")
    try:
        interface = kind(text)
    except ValueError:
        raise ValueError(f"not an {family} address with prefix length; write it as {example}") from None
    network = interface.network
    if network.num_addresses > 2:
        if interface.ip == network.network_address:
            raise ValueError(
                f"this is the subnet's own address, not the bridge's; write it as {network[1]}/{network.prefixlen}"
            )
        if family == "IPv4" and interface.ip == network.broadcast_address:
            raise ValueError(
                f"this is the broadcast address of {network}; write it as {network[1]}/{network.prefixlen}"
            )
    return str(interface)


def _subnet(text: str, kind: type[IPv4Network] | type[IPv6Network], family: str, example: str) -> str:
    if "/" not in text:
        raise ValueError(f"no prefix length; write a subnet, such as {example}")
    try:
        return str(kind(text, strict=False))
    except ValueError:
        raise ValueError(f"not an {family} subnet; write it as {example}") from None
