"""rtnetlink messages as this engine uses them: builders (pure, bytes out) and parsers (pure, hostile-safe).

Numbers: include/uapi/linux/{rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import ip_network
from typing import NamedTuple

from towline.kernel.contract import HostRoute, Link
from towline.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    attr,
    nest,
    parse_attrs,
)
from towline.kernel.rtnl_settings import IFLA_AF_SPEC, Settings, parse_settings, settings_attr
from towline.kernel.vxlan_info import parse_vxlan

NETLINK_ROUTE = 0
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFF_UP = 1
IFINFOMSG = struct.Struct("=BxHiII")
IFADDRMSG = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
_U32 = struct.Struct("=I")

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 20, 27, 28, 29
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_RTEXT_FILTER_SKIP_STATS = 8

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_FLAGS, IFA_PROTO = 1, 2, 3, 4, 8, 11
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80
_IFAPROT_KERNEL_LL = b"\x03"

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 1, 4, 5, 6, 9, 15, 18
RT_TABLE_MAIN = 254
RTPROT_KERNEL = 2
RTPROT_TOWLINE = 116
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_NOWHERE = 0, 253, 255
_RTM_F_CLONED = 0x200
# The kernel answers ERANGE to this length of a name or alias; longer ones are cut to it to fit into a message.
_TOO_LONG = 512


class Address(NamedTuple):
    """An address as the kernel has it. link: ifindex. cidr: with host part. kernel_made: an automatic IPv6 link-local
    one (told by IFA_PROTO, Linux 5.18)."""

    link: int
    cidr: str
    label: str
    kernel_made: bool


class LinkInfo(NamedTuple):
    """A link without its addresses, and the IFLA_GROUP it is in."""

    link: Link
    group: int
    family: int


def name_attr(name: str) -> bytes:
    """A name that the kernel would complete or cut ("", a "%" pattern, a NUL) goes as "/", which it never accepts."""
    askable = name and not {"%", "\0"} & set(name)
    return attr(IFLA_IFNAME, (name.encode(errors="surrogateescape")[:_TOO_LONG] if askable else b"/") + b"\0")


def _link(kind: int, flags: int, index: int, *attrs: bytes, up: bool | None = None) -> Message:
    head = IFINFOMSG.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)
    return Message(kind, flags, head + b"".join(attrs))


def new_bridge(index: int, name: str, mac: str) -> Message:
    """A bridge with this ifindex; EEXIST if the name or the index is taken. The kernel ignores an alias here, and an
    MTU given here is lowered by the first port that has a smaller one: both belong into `set_link`."""
    attrs = [name_attr(name), nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"bridge\0"))]
    if mac:
        attrs.append(mac_attr(mac))
    return _link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, index, *attrs)


def set_link(index: int, *attrs: bytes, up: bool | None = None) -> Message:
    """Change an existing link: only the attributes given, and up or down unless None."""
    return _link(RTM_SETLINK, 0, index, *attrs, up=up)


def set_named_link(name: str, *attrs: bytes, up: bool | None = None) -> Message:
    return _link(RTM_SETLINK, 0, 0, name_attr(name), *attrs, up=up)


def alias_attr(alias: str) -> bytes:
    return attr(IFLA_IFALIAS, alias.encode()[:_TOO_LONG])


def mac_attr(mac: str) -> bytes:
    return attr(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def mtu_attr(mtu: int) -> bytes:
    return attr(IFLA_MTU, _U32.pack(mtu))


def group_attr(group: int) -> bytes:
    return attr(IFLA_GROUP, _U32.pack(group))


def link_local_attr(*, automatic: bool) -> bytes:
    """An automatic IPv6 link-local address made from the MAC, or none. EAFNOSUPPORT where the kernel has no IPv6."""
    return settings_attr(link_local=automatic)


def delete_link(index: int) -> Message:
    return _link(RTM_DELLINK, 0, index)


def delete_group(group: int) -> Message:
    return _link(RTM_DELLINK, 0, 0, group_attr(group))


def get_link(name: str | None = None, index: int = 0) -> Message:
    """One link by name or index; with neither, for a dump of all, without statistics."""
    mask = attr(IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
    return _link(RTM_GETLINK, 0, index, mask, *([] if name is None else [name_attr(name)]))


def get_addresses(index: int = 0) -> Message:
    """For a dump: all addresses, or those of one link."""
    return Message(RTM_GETADDR, 0, IFADDRMSG.pack(0, 0, 0, 0, index))


def get_routes(family: int) -> Message:
    """For a dump: the main table's routes of a family."""
    table = attr(_RTA_TABLE, _U32.pack(RT_TABLE_MAIN))
    return Message(RTM_GETROUTE, 0, RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0) + table)


def add_address(index: int, cidr: str, *, automatic: bool = False) -> Message:
    """An address that is there already is no error. IPv6 without duplicate address detection, IPv4 with broadcast.
    automatic: marked like the link-local address that the kernel would make."""
    family, address, prefix = split_cidr(cidr)
    attrs = attr(IFA_LOCAL, address) + attr(IFA_ADDRESS, address)
    flags = _IFA_F_PERMANENT
    if family == socket.AF_INET6:
        flags |= _IFA_F_NODAD
    elif prefix < 31:
        attrs += attr(IFA_BROADCAST, _broadcast(address, prefix))
    head = IFADDRMSG.pack(family, prefix, flags, 0, index)
    attrs += attr(IFA_FLAGS, _U32.pack(flags)) + (attr(IFA_PROTO, _IFAPROT_KERNEL_LL) if automatic else b"")
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, head + attrs)


def add_route(index: int, destination: str, gateway: str = "", metric: int = 0, *, replace: bool = False) -> Message:
    """A unicast route of the main table, of our protocol. destination: CIDR without host bits. gateway "": on-link.
    metric 0: the kernel's default, which for IPv6 is 1024. replace: in place of a route of that destination and metric,
    without a moment without one; otherwise EEXIST if there is one."""
    family, attrs = _route_attrs(index, destination, gateway, metric)
    on_link = family == socket.AF_INET and not gateway
    scope = _RT_SCOPE_LINK if on_link else _RT_SCOPE_UNIVERSE
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Message(RTM_NEWROUTE, flags, _route_head(family, destination, RTPROT_TOWLINE, scope) + attrs)


def delete_route(index: int, destination: str, gateway: str = "", metric: int = 0) -> Message:
    """Of whichever protocol and scope. ESRCH if there is none."""
    family, attrs = _route_attrs(index, destination, gateway, metric)
    scope = _RT_SCOPE_NOWHERE if family == socket.AF_INET else _RT_SCOPE_UNIVERSE
    return Message(RTM_DELROUTE, 0, _route_head(family, destination, 0, scope) + attrs)


def _route_head(family: int, destination: str, protocol: int, scope: int) -> bytes:
    prefix = int(destination.rpartition("/")[2])
    return RTMSG.pack(family, prefix, 0, 0, RT_TABLE_MAIN, protocol, scope, _RTN_UNICAST, 0)


def _route_attrs(index: int, destination: str, gateway: str, metric: int) -> tuple[int, bytes]:
    family, address, prefix = split_cidr(destination)
    attrs = attr(_RTA_OIF, _U32.pack(index))
    if prefix:
        attrs += attr(_RTA_DST, address)
    if gateway:
        attrs += attr(_RTA_GATEWAY, socket.inet_pton(family, gateway))
    return family, attrs + (attr(_RTA_PRIORITY, _U32.pack(metric)) if metric else b"")


def split_cidr(cidr: str) -> tuple[int, bytes, int]:
    """(address family, packed address, prefix length). ValueError if it is none."""
    text, _, prefix = cidr.partition("/")
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return family, socket.inet_pton(family, text), int(prefix)
    except OSError as error:
        raise ValueError(f"not an address with prefix length: {cidr!r}") from error


def _broadcast(address: bytes, prefix: int) -> bytes:
    return (int.from_bytes(address, "big") | (1 << 32 - prefix) - 1).to_bytes(4, "big")


def parse_link(body: bytes) -> LinkInfo | None:
    """The payload of RTM_NEWLINK or RTM_DELLINK; None if it is malformed."""
    if len(body) < IFINFOMSG.size:
        return None
    family, _, index, flags, _ = IFINFOMSG.unpack_from(body)
    attrs = parse_attrs(memoryview(body)[IFINFOMSG.size :])
    af_spec = attrs.get(IFLA_AF_SPEC, b"")
    settings = parse_settings(af_spec) if family == socket.AF_UNSPEC else Settings()  # a bridge's VLANs are there too
    info = parse_attrs(attrs.get(IFLA_LINKINFO, b""))
    kind = text(info.get(IFLA_INFO_KIND))
    link = Link(
        index=index,
        name=text(attrs.get(IFLA_IFNAME)),
        kind=kind,
        alias=text(attrs.get(IFLA_IFALIAS)),
        up=bool(flags & IFF_UP),
        mtu=number(attrs.get(IFLA_MTU)),
        mac=attrs.get(IFLA_ADDRESS, b"").hex(":"),
        master=number(attrs.get(IFLA_MASTER)),
        addresses=(),
        ipv6_off=settings.ipv6_off,
        accept_ra=settings.accept_ra,
        route_localnet=settings.route_localnet,
        vxlan=parse_vxlan(info.get(IFLA_INFO_DATA, b"")) if kind == "vxlan" else None,
    )
    return LinkInfo(link, number(attrs.get(IFLA_GROUP)), family)


def parse_address(body: bytes) -> Address | None:
    """The payload of RTM_NEWADDR or RTM_DELADDR; None if it is malformed or of another family than IPv4 and IPv6."""
    if len(body) < IFADDRMSG.size:
        return None
    family, prefix, _, _, index = IFADDRMSG.unpack_from(body)
    attrs = parse_attrs(memoryview(body)[IFADDRMSG.size :])
    cidr = _cidr(family, attrs.get(IFA_LOCAL) or attrs.get(IFA_ADDRESS, b""), prefix)
    if not cidr:
        return None
    return Address(index, cidr, text(attrs.get(IFA_LABEL)), attrs.get(IFA_PROTO) == _IFAPROT_KERNEL_LL)


class Route(NamedTuple):
    """A unicast route of the main table. on_link: reached without a gateway. prefix: CIDR, "" for a default route.
    gateway: "" also where several next hops are (then link is 0 for IPv4). metric: IPv4 0 is the best."""

    prefix: str
    link: int
    on_link: bool
    protocol: int
    family: int = socket.AF_INET
    gateway: str = ""
    metric: int = 0


def parse_route(body: bytes) -> Route | None:
    """The payload of RTM_NEWROUTE or RTM_DELROUTE; None for other tables and types, and if it is malformed."""
    if len(body) < RTMSG.size:
        return None
    family, length, _, _, table, protocol, _, kind, flags = RTMSG.unpack_from(body)
    attrs = parse_attrs(memoryview(body)[RTMSG.size :])
    table = number(attrs.get(_RTA_TABLE)) or table
    if table != RT_TABLE_MAIN or kind != _RTN_UNICAST or flags & _RTM_F_CLONED:
        return None
    prefix = _cidr(family, attrs.get(_RTA_DST, b""), length) if length else ""
    on_link = not attrs.keys() & {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH}
    gateway = _address(family, attrs.get(_RTA_GATEWAY, b""))
    return Route(
        prefix, number(attrs.get(_RTA_OIF)), on_link, protocol, family, gateway, number(attrs.get(_RTA_PRIORITY))
    )


def parse_local(body: bytes) -> bytes:
    """The packed address that a route makes local; b"" for routes of other kinds, and if it is malformed."""
    if len(body) < RTMSG.size or RTMSG.unpack_from(body)[7] != _RTN_LOCAL:
        return b""
    return parse_attrs(memoryview(body)[RTMSG.size :]).get(_RTA_DST, b"")


def host_route(cidr: str, link: int) -> HostRoute | None:
    """The prefix of an address or route as one that is in use; None for loopback, link-local IPv6 and multicast."""
    network = ip_network(cidr, strict=False)
    if network.is_loopback or network.is_multicast or (network.version == 6 and network.is_link_local):
        return None
    return HostRoute(str(network), link)


def _cidr(family: int, data: bytes, prefix: int) -> str:
    address = _address(family, data) if prefix <= 8 * len(data) else ""
    return address and f"{address}/{prefix}"


def _address(family: int, data: bytes) -> str:
    """ "" if the length is not the family's."""
    if (family, len(data)) in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
        return socket.inet_ntop(family, data)
    return ""


def text(data: bytes | None) -> str:
    return data.partition(b"\0")[0].decode(errors="surrogateescape") if data else ""


def number(data: bytes | None) -> int:
    return int.from_bytes(data, sys.byteorder) if data else 0
