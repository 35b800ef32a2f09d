"""rtnetlink messages for veth pairs that are plugged into a bridge: builders, pure.

Numbers: include/uapi/linux/{if_link,veth}.h.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from towline.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, Message, attr, nest
from towline.kernel.rtnl_codec import (
    IFF_UP,
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
from towline.model.desired import Interface

_VETH_INFO_PEER = 1
_IFLA_BRPORT_MODE, _IFLA_BRPORT_LEARNING, _IFLA_BRPORT_UNICAST_FLOOD = 4, 8, 9
_U32 = struct.Struct("=I")
_HAIRPIN = b"\x01"
_OFF = b"\x00"
_LINK_LOCAL = b"\xfe\x80" + bytes(6)


def new_veth(index: int, interface: Interface, bridge: int, namespace: int) -> Message:
    """A pair whose host end has this ifindex, is a port of the bridge and up; the other end is born in the namespace
    of this descriptor, down (the kernel refuses up here), with its name, MAC and MTU. Either all of it or EEXIST for a
    taken name on either side or a taken index. The kernel ignores an alias here."""
    mtu = [mtu_attr(interface.mtu)] if interface.mtu else []
    inner = [name_attr(interface.name), mac_attr(interface.mac), *mtu, attr(IFLA_NET_NS_FD, _U32.pack(namespace))]
    peer = nest(_VETH_INFO_PEER, IFINFOMSG.pack(0, 0, 0, 0, 0), *inner)
    kind = nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"veth\0"), nest(IFLA_INFO_DATA, peer))
    attrs = [name_attr(interface.host_name), attr(IFLA_MASTER, _U32.pack(bridge)), *mtu, kind]
    head = IFINFOMSG.pack(0, 0, index, IFF_UP, IFF_UP)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, head + b"".join(attrs))


def change_port(index: int, *attrs: bytes, fixed: bool = False) -> Message:
    """Attributes of an existing bridge port, and hairpin: what comes in may go out by the same port, as a sandbox needs
    that reaches itself by a published port. fixed: it learns no MAC, and frames for unknown ones do not go to it."""
    flags = [attr(_IFLA_BRPORT_LEARNING, _OFF), attr(_IFLA_BRPORT_UNICAST_FLOOD, _OFF)] if fixed else []
    mode = nest(IFLA_INFO_SLAVE_DATA, attr(_IFLA_BRPORT_MODE, _HAIRPIN), *flags)
    port = nest(IFLA_LINKINFO, attr(IFLA_INFO_SLAVE_KIND, b"bridge\0"), mode)
    return Message(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0) + b"".join([*attrs, port]))


def link_local(mac: str) -> str:
    """The IPv6 link-local address with prefix that belongs to a MAC (RFC 4291, appendix A)."""
    data = bytes.fromhex(mac.replace(":", ""))
    host = bytes([data[0] ^ 2]) + data[1:3] + b"\xff\xfe" + data[3:]
    return f"{IPv6Address(_LINK_LOCAL + host)}/64"
