"""rtnetlink messages for links that are made on another one (macvlan, ipvlan, 802.1Q), or on none. Pure.

Numbers: include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import struct

from towline.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, Message, attr, nest
from towline.kernel.rtnl_codec import (
    IFINFOMSG,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    RTM_NEWLINK,
    mac_attr,
    mtu_attr,
    name_attr,
)
from towline.model.desired import Interface, Parent, Slave

_IFLA_LINK, _IFLA_NET_NS_FD = 5, 28
_IFLA_MACVLAN_MODE, _IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS, _IFLA_VLAN_ID = 1, 1, 2, 1
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
SLAVE_KINDS = frozenset({"macvlan", "ipvlan"})


def has_own_mac(slave: Slave) -> bool:
    """Otherwise it has the parent's, whatever it is told."""
    return slave.kind == "macvlan" and slave.mode != "passthru"


def new_slave(interface: Interface, slave: Slave, parent: int, namespace: int) -> Message:
    """A link in the namespace of this descriptor, down, on the link with ifindex `parent` of the sender's namespace,
    with its name, MAC and MTU. EEXIST for a taken name. The kernel ignores an alias here."""
    attrs = [
        name_attr(interface.name),
        attr(_IFLA_LINK, _U32.pack(parent)),
        attr(_IFLA_NET_NS_FD, _U32.pack(namespace)),
    ]
    if has_own_mac(slave):
        attrs.append(mac_attr(interface.mac))
    if interface.mtu:
        attrs.append(mtu_attr(interface.mtu))
    return _new(0, slave.kind, *attrs, data=_slave_data(slave))


def _slave_data(slave: Slave) -> list[bytes]:
    if slave.kind == "macvlan":
        return [attr(_IFLA_MACVLAN_MODE, _U32.pack(_MACVLAN_MODES[slave.mode]))]
    mode = attr(_IFLA_IPVLAN_MODE, _U16.pack(_IPVLAN_MODES[slave.mode]))
    return [mode, attr(_IFLA_IPVLAN_FLAGS, _U16.pack(_IPVLAN_FLAGS[slave.flag]))]


def new_parent(index: int, parent: Parent, lower: int, kind: str) -> Message:
    """A link with this ifindex, down. kind: "vlan" (on the link `lower`), or one that leads nowhere."""
    attrs = [name_attr(parent.name)]
    if kind != "vlan":
        return _new(index, kind, *attrs)
    vlan_id = attr(_IFLA_VLAN_ID, _U16.pack(parent.vlan))
    return _new(index, kind, *attrs, attr(_IFLA_LINK, _U32.pack(lower)), data=[vlan_id])


def _new(index: int, kind: str, *attrs: bytes, data: list[bytes] | None = None) -> Message:
    info = [attr(IFLA_INFO_KIND, kind.encode() + b"\0"), *([nest(IFLA_INFO_DATA, *data)] if data else [])]
    body = IFINFOMSG.pack(0, 0, index, 0, 0) + b"".join([*attrs, nest(IFLA_LINKINFO, *info)])
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)
