"""A VXLAN device's own options in rtnetlink messages (IFLA_INFO_DATA): pure.

Numbers: include/uapi/linux/if_link.h. Options: drivers/net/vxlan/vxlan_core.c.
"""

from __future__ import annotations

import socket
import struct
import sys

from towline.kernel.contract import VxlanState
from towline.kernel.netlink import attr, parse_attrs
from towline.model.desired import Vxlan

_ID, _GROUP, _LOCAL, _TTL, _LEARNING, _PROXY, _L2MISS, _L3MISS, _PORT = 1, 2, 4, 5, 7, 11, 13, 14, 15
_GROUP6, _LOCAL6, _UDP_CSUM, _COLLECT_METADATA = 16, 17, 18, 25
_ON, _OFF = b"\x01", b"\x00"
_HOPS = b"\x40"
_U32 = struct.Struct("=I")


def vxlan_options(vxlan: Vxlan) -> bytes:
    """No default remote: what no row knows goes nowhere. ARP and ND are answered by the device (proxy)."""
    return b"".join(
        (
            attr(_ID, _U32.pack(vxlan.vni)),
            local_option(vxlan.local),
            attr(_TTL, _HOPS),
            attr(_LEARNING, _OFF),
            attr(_PROXY, _ON),
            attr(_L2MISS, _OFF),
            attr(_L3MISS, _OFF),
            attr(_UDP_CSUM, _ON),
            attr(_PORT, vxlan.port.to_bytes(2, "big")),
        )
    )


def local_option(address: str) -> bytes:
    """ValueError if it is no address."""
    ipv6 = ":" in address
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ipv6 else socket.AF_INET, address)
    except OSError as error:
        raise ValueError(f"not an address: {address!r}") from error
    return attr(_LOCAL6 if ipv6 else _LOCAL, packed)


def parse_vxlan(data: bytes) -> VxlanState:
    """The payload of IFLA_INFO_DATA of a device of this kind."""
    attrs = parse_attrs(data)
    flags = {kind: attrs.get(kind, _OFF) for kind in (_LEARNING, _PROXY, _L2MISS, _L3MISS, _UDP_CSUM)}
    ours = {_LEARNING: _OFF, _PROXY: _ON, _L2MISS: _OFF, _L3MISS: _OFF, _UDP_CSUM: _ON}
    return VxlanState(
        vni=int.from_bytes(attrs.get(_ID, b""), sys.byteorder),
        port=int.from_bytes(attrs.get(_PORT, b""), "big"),
        local=_address(attrs.get(_LOCAL, b"")) or _address(attrs.get(_LOCAL6, b"")),
        plain=flags == ours and not attrs.keys() & {_GROUP, _GROUP6} and attrs.get(_COLLECT_METADATA, _OFF) == _OFF,
    )


def _address(data: bytes) -> str:
    families = {4: socket.AF_INET, 16: socket.AF_INET6}
    return socket.inet_ntop(families[len(data)], data) if len(data) in families and any(data) else ""
