"""Which addresses a node listens on and is known by, from texts and the host's interfaces.

Source: moby daemon/cluster/listen_addr.go, listen_addr_linux.go and swarm.go validateAddr.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import msgspec

from towline.model.cluster import LISTEN_PORT, HostInterface
from towline.model.errors import Failure, InvalidParameter

Address = IPv4Address | IPv6Address

_WITH_PORT = "(with optional port number)"
BAD_LISTEN = f"listen address must be an IP address or network interface {_WITH_PORT}"
BAD_ADVERTISE = f"advertise address must be a non-zero IP address or network interface {_WITH_PORT}"
BAD_DATA_PATH = "data path address must be a non-zero IP address or network interface (without a port number)"
BAD_DEFAULT = "default advertise address must be a non-zero IP address or network interface (without a port number)"
NO_ADDRESS = "could not find the system's IP address"
MUST_LISTEN = (
    "must specify a listening address because the address to advertise is not recognized as a system address, "
    "and a system's IP address to use could not be uniquely identified"
)
_LAST_PORT = 65535 - 2
"""A manager's etcd uses the two ports above the one it listens on."""

_HOST_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]]*?))(?::([0-9]*))?", re.DOTALL)


class HostPort(msgspec.Struct, frozen=True):
    """host: an address, or the name of a host to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve_listen(text: str, interfaces: Sequence[HostInterface]) -> HostPort:
    """InvalidParameter; Failure for what is no host and port at all (Docker's status). The host may be unspecified."""
    host, port = _split(text, f"could not parse listen address {text}")
    address = _input(host or "0.0.0.0", interfaces, BAD_LISTEN, unspecified=True)
    return HostPort(address, _port(port, BAD_LISTEN))


def resolve_advertise(text: str, port: int, interfaces: Sequence[HostInterface], default: str = "") -> HostPort:
    """port: that it listens on. default: what the daemon was told; without it the only address that the host has."""
    if not text:
        if default:
            return HostPort(_input(default, interfaces, BAD_DEFAULT), port)
        return HostPort(_text(_system(interfaces)), port)
    host, asked = _split_optional(text)
    address = _input(host, interfaces, BAD_ADVERTISE)
    return HostPort(address, port if asked is None else _port(asked, BAD_ADVERTISE))


def resolve_data_path(text: str, interfaces: Sequence[HostInterface]) -> str:
    """A bare address; "" if none was asked for."""
    return _input(text, interfaces, BAD_DATA_PATH) if text else ""


def remote_address(text: str) -> HostPort:
    """A manager to join, by address or name. InvalidParameter."""
    if not text:
        raise InvalidParameter('invalid remoteAddr "": invalid empty address')
    wrong = f"invalid remoteAddr {msgspec.json.encode(text).decode()}: it must be a host with an optional port number"
    found = _HOST_PORT.fullmatch(text.removeprefix("tcp://"))
    host = (found[1] or found[2]) if found else ""
    if found is None or not host or any(c in "/\\@?#" or c.isspace() or not c.isprintable() for c in host):
        raise InvalidParameter(wrong)
    if ":" in host and found[1] is None:
        raise InvalidParameter(wrong)
    return HostPort(host, _port(found[3] or "", wrong))


def local_address(listen: str, advertise: str, interfaces: Sequence[HostInterface]) -> str:
    """An address of this host. InvalidParameter(MUST_LISTEN) if none can be told from what is asked."""
    if not ip_address(listen).is_unspecified:
        return listen
    wanted = ip_address(advertise)
    if any(address == wanted for interface in interfaces for address in _addresses(interface)):
        return advertise
    try:
        return _text(_system(interfaces))
    except InvalidParameter:
        raise InvalidParameter(MUST_LISTEN) from None


def _split(text: str, unreadable: str) -> tuple[str, str]:
    """Host and port, "" where there is none; `tcp://` may stand before."""
    found = _HOST_PORT.fullmatch(text.removeprefix("tcp://"))
    if found is not None and "/" not in text.removeprefix("tcp://"):
        if found[1] is None and ":" in (found[2] or ""):
            raise InvalidParameter(BAD_LISTEN)
        return found[1] or found[2] or "", found[3] or ""
    host, colon, port = text.rpartition(":")
    if not colon or ":" in host:
        raise Failure(unreadable)
    return host, port


def _split_optional(text: str) -> tuple[str, str | None]:
    """As Go's net.SplitHostPort; what it cannot read is a host without a port."""
    found = _HOST_PORT.fullmatch(text)
    if found is None or found[3] is None or (found[1] is None and ":" in (found[2] or "")):
        return text, None
    return found[1] if found[1] is not None else found[2], found[3]


def _port(text: str, wrong: str) -> int:
    """LISTEN_PORT if the text is empty."""
    port = int(text) if text.isdecimal() and len(text) <= 5 else (LISTEN_PORT if not text else 0)
    if not 0 < port <= _LAST_PORT:
        raise InvalidParameter(f"{wrong}: the port must be a number from 1 to {_LAST_PORT}")
    return port


def _input(text: str, interfaces: Iterable[HostInterface], wrong: str, *, unspecified: bool = False) -> str:
    """The address of the interface of that name, else the text itself if it is an address."""
    for interface in interfaces:
        if interface.name == text:
            return _text(_only(interface))
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidParameter(wrong) from None
    if (address.is_unspecified and not unspecified) or getattr(address, "scope_id", None) is not None:
        raise InvalidParameter(wrong)
    return _text(address)


def _only(interface: HostInterface) -> Address:
    """Its one address; IPv4 before IPv6."""
    found: dict[int, Address] = {}
    for address in _addresses(interface):
        if (other := found.setdefault(address.version, address)) is not address:
            raise InvalidParameter(
                f"interface {interface.name} has more than one IPv{address.version} address ({other} and {address})"
            )
    if not found:
        raise InvalidParameter(f"interface {interface.name} has no usable IPv4 or IPv6 address")
    return found.get(4) or found[6]


def _system(interfaces: Sequence[HostInterface]) -> Address:
    """The host's only address: of its devices, else (in a container) of all interfaces that we have not made."""
    usable = [i for i in interfaces if i.up and i.name != "lo" and not i.own and any(map(_global, _addresses(i)))]
    devices = [interface for interface in usable if not interface.kind]
    chosen: tuple[str, Address] | None = None
    for interface in devices or usable:
        address = _only_global(interface)
        if chosen is not None:
            raise _several(chosen[0], interface.name, chosen[1], address)
        chosen = interface.name, address
    if chosen is None:
        raise InvalidParameter(NO_ADDRESS)
    return chosen[1]


def _only_global(interface: HostInterface) -> Address:
    found: dict[int, Address] = {}
    for address in filter(_global, _addresses(interface)):
        if (other := found.setdefault(address.version, address)) is not address:
            raise _several(interface.name, interface.name, other, address)
    return found.get(4) or found[6]


def _several(one: str, other: str, first: Address, second: Address) -> InvalidParameter:
    text = "could not choose an IP address to advertise since this system has multiple addresses on "
    if one == other:
        return InvalidParameter(f"{text}interface {one} ({first} and {second})")
    return InvalidParameter(f"{text}different interfaces ({first} on {one} and {second} on {other})")


def _addresses(interface: HostInterface) -> list[Address]:
    return [ip_interface(cidr).ip for cidr in interface.addresses]


def _global(address: Address) -> bool:
    """Go's IP.IsGlobalUnicast."""
    broadcast = address == IPv4Address("255.255.255.255")
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or broadcast
    )


def _text(address: Address) -> str:
    """An IPv4-mapped IPv6 address as the IPv4 one, as in Go."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
