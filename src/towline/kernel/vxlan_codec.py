"""rtnetlink messages for VXLAN devices and their rows: builders and parsers, pure.

Numbers: include/uapi/linux/{neighbour,if_link,rtnetlink}.h. A row of the device's FDB is a neighbour message of the
family AF_BRIDGE with NTF_SELF (drivers/net/vxlan/vxlan_core.c, vxlan_fdb_add).
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from towline.kernel.contract import ELSEWHERE
from towline.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message, attr, nest, parse_attrs
from towline.kernel.rtnl_codec import (
    IFINFOMSG,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_NET_NS_FD,
    RTM_NEWLINK,
    mac_attr,
    mtu_attr,
    name_attr,
)
from towline.kernel.vxlan_info import vxlan_options
from towline.model.desired import Vxlan

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
AF_BRIDGE = 7
NDMSG = struct.Struct("=BxxxiHBB")
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_SELF, NTF_MASTER, NTF_STICKY = 0x02, 0x04, 0x40
_NDA_DST, _NDA_LLADDR, _NDA_PORT, _NDA_VNI, _NDA_IFINDEX = 1, 2, 6, 7, 8
_UNUSUAL = {_NDA_PORT, _NDA_VNI, _NDA_IFINDEX}
_IFLA_BRPORT_MULTICAST_ROUTER = 25
_ALWAYS = b"\x02"
_U32 = struct.Struct("=I")
_LASTING = NUD_NOARP | NUD_PERMANENT
_FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Fdb(NamedTuple):
    """A frame for this MAC goes to this VTEP."""

    link: int
    mac: str
    vtep: str


class Neighbour(NamedTuple):
    """This address is at this MAC; "" in notifications about one that goes."""

    link: int
    address: str
    mac: str


def new_vxlan(index: int, vxlan: Vxlan, bridge: int, namespace: int | None = None) -> Message:
    """A device with this ifindex, a port of the bridge, down. EEXIST for a taken name or index, and for a device with
    this VNI and port. The kernel ignores an alias here. namespace: a descriptor of the one that it is to be in, with
    the bridge; its packets leave and arrive where the message is sent."""
    data = nest(IFLA_INFO_DATA, vxlan_options(vxlan))
    attrs = (
        name_attr(vxlan.name),
        mac_attr(vxlan.mac),
        mtu_attr(vxlan.mtu),
        attr(IFLA_MASTER, _U32.pack(bridge)),
        nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"vxlan\0"), data),
        b"" if namespace is None else attr(IFLA_NET_NS_FD, _U32.pack(namespace)),
    )
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, IFINFOMSG.pack(0, 0, index, 0, 0) + b"".join(attrs))


def to_router(index: int) -> Message:
    """All multicast of the bridge goes to this port too: else an endpoint that plays the querier could keep neighbour
    solicitations from it. EOPNOTSUPP or EINVAL where the kernel has no snooping, and needs none."""
    mode = nest(IFLA_INFO_SLAVE_DATA, attr(_IFLA_BRPORT_MULTICAST_ROUTER, _ALWAYS))
    port = nest(IFLA_LINKINFO, attr(IFLA_INFO_SLAVE_KIND, b"bridge\0"), mode)
    return Message(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0) + port)


def master_attr(index: int) -> bytes:
    return attr(IFLA_MASTER, _U32.pack(index))


def put_fdb(row: Fdb) -> Message:
    """In place of the row of that MAC, if there is one."""
    body = NDMSG.pack(AF_BRIDGE, row.link, NUD_PERMANENT, NTF_SELF, 0) + _lladdr(row.mac) + _dst(row.vtep)
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def delete_fdb(row: Fdb) -> Message:
    """Only if it leads to that VTEP (`ELSEWHERE`: wherever it leads): else ENOENT."""
    target = b"" if row.vtep == ELSEWHERE else _dst(row.vtep)
    body = NDMSG.pack(AF_BRIDGE, row.link, NUD_PERMANENT, NTF_SELF, 0) + _lladdr(row.mac) + target
    return Message(RTM_DELNEIGH, 0, body)


def put_neighbour(row: Neighbour) -> Message:
    body = NDMSG.pack(family_of(row.address), row.link, NUD_PERMANENT, 0, 0) + _dst(row.address) + _lladdr(row.mac)
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def delete_neighbour(row: Neighbour) -> Message:
    """Whichever MAC it has. ENOENT if there is none."""
    return Message(RTM_DELNEIGH, 0, NDMSG.pack(family_of(row.address), row.link, 0, 0, 0) + _dst(row.address))


def fix_port_mac(index: int, mac: str) -> Message:
    """A row of the bridge: this MAC is at this port and stays there."""
    return Message(
        RTM_NEWNEIGH,
        NLM_F_CREATE | NLM_F_REPLACE,
        NDMSG.pack(AF_BRIDGE, index, NUD_NOARP, NTF_MASTER | NTF_STICKY, 0) + _lladdr(mac),
    )


def get_fdb(index: int) -> Message:
    """For a dump of one device's rows (and its bridge's rows of that port, which `parse_row` passes over)."""
    return Message(RTM_GETNEIGH, 0, NDMSG.pack(AF_BRIDGE, index, 0, 0, 0))


def get_neighbours(family: int, index: int) -> Message:
    """For a dump of one device's rows."""
    return Message(RTM_GETNEIGH, 0, NDMSG.pack(family, 0, 0, 0, 0) + attr(_NDA_IFINDEX, _U32.pack(index)))


def link_of(body: bytes) -> int:
    """The ifindex that the payload of RTM_NEWNEIGH or RTM_DELNEIGH is about; 0 if it is malformed."""
    return int(NDMSG.unpack_from(body)[1]) if len(body) >= NDMSG.size else 0


def parse_row(body: bytes, *, gone: bool = False) -> Fdb | Neighbour | None:
    """The payload of RTM_NEWNEIGH or RTM_DELNEIGH; None if it is malformed, a bridge's, or of a row that does not last
    (gone: a neighbour row that somebody deletes is "failed" when the kernel tells it, so its state is not looked at).
    An FDB row that names no VTEP, or another port or VNI than the device's, leads `ELSEWHERE`."""
    if len(body) < NDMSG.size:
        return None
    family, index, state, flags, _ = NDMSG.unpack_from(body)
    attrs = parse_attrs(memoryview(body)[NDMSG.size :])
    mac = attrs.get(_NDA_LLADDR, b"")
    target = address_text(attrs.get(_NDA_DST, b""))
    if family == AF_BRIDGE:
        if not flags & NTF_SELF or not state & _LASTING or len(mac) != 6:
            return None
        return Fdb(index, mac.hex(":"), ELSEWHERE if _UNUSUAL & attrs.keys() or not target else target)
    if family not in _FAMILIES or not (gone or state & NUD_PERMANENT) or not target:
        return None
    return Neighbour(index, target, mac.hex(":") if len(mac) == 6 else "")


def address_text(data: bytes) -> str:
    """ "" if it is no packed address."""
    family = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(data))
    return socket.inet_ntop(family, data) if family else ""


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _dst(address: str) -> bytes:
    """ValueError if it is no address."""
    try:
        return attr(_NDA_DST, socket.inet_pton(family_of(address), address))
    except OSError as error:
        raise ValueError(f"not an address: {address!r}") from error


def _lladdr(mac: str) -> bytes:
    return attr(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
