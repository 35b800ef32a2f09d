"""ctnetlink messages: builders (pure, bytes out) and a parser (pure, hostile-safe).

Numbers: include/uapi/linux/netfilter/{nfnetlink,nfnetlink_conntrack}.h; the filter's flags are in
net/netfilter/nf_conntrack_netlink.c (Linux 5.8; older kernels ignore it and dump everything).
"""

from __future__ import annotations

import socket
import struct
from typing import Literal, NamedTuple

from towline.kernel.netlink import Message, attr, nest, parse_attrs

NETLINK_NETFILTER = 12
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
Direction = Literal["original", "reply"]
End = Literal["source", "destination"]

_CTNETLINK = 1 << 8
_CT_GET, _CT_DELETE, _CT_GET_STATS = 1, 2, 5
_CTA_STATS_GLOBAL_ENTRIES = 1
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE, _CTA_FILTER = 1, 2, 12, 18, 25
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP: dict[tuple[int, str], int] = {(socket.AF_INET, "source"): 1, (socket.AF_INET, "destination"): 2}
_CTA_IP |= {(socket.AF_INET6, "source"): 3, (socket.AF_INET6, "destination"): 4}
_CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 1, 3
_CTA_FILTER_ORIG_FLAGS, _CTA_FILTER_REPLY_FLAGS = 1, 2
_FILTER_ON = {"source": 1 << 0, "destination": 1 << 1}
_FILTER_ON_PROTOCOL, _FILTER_ON_PORT = 1 << 3, 1 << 5
_NFGENMSG = struct.Struct("=BBH")
_U32 = struct.Struct("=I")
_BE16 = struct.Struct("!H")


class Place(NamedTuple):
    """Where in an entry a packed address is to be."""

    direction: Direction
    end: End
    address: bytes


class Ends(NamedTuple):
    """One direction of a flow. Packed addresses, b"" if the message had none; port: the destination's, 0 without."""

    source: bytes
    destination: bytes
    protocol: int
    port: int


class Flow(NamedTuple):
    """A conntrack entry. key: the attributes that name exactly this entry (original tuple, zone, id)."""

    family: int
    original: Ends
    reply: Ends
    key: bytes

    def ends(self) -> frozenset[bytes]:
        return frozenset((*self.original[:2], *self.reply[:2]))

    def is_untranslated(self) -> bool:
        """As far as addresses tell."""
        return self.original[:2] == (self.reply.destination, self.reply.source)


def protocol_number(name: str) -> int:
    """0 for "". ValueError if it is none that has flows of interest."""
    if not name:
        return 0
    if name not in _PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}: it is one of {', '.join(_PROTOCOLS)}")
    return _PROTOCOLS[name]


def get_flows(family: int, *, protocol: int = 0, port: int = 0, place: Place | None = None) -> Message:
    """For a dump: the entries of a family, of a protocol, with an original destination port (needs a protocol), with an
    address at a place."""
    ip: dict[Direction, bytes] = {"original": b"", "reply": b""}
    flags: dict[Direction, int] = {"original": 0, "reply": 0}
    if place:
        ip[place.direction] = nest(_CTA_TUPLE_IP, attr(_CTA_IP[family, place.end], place.address))
        flags[place.direction] = _FILTER_ON[place.end]
    proto = b""
    if protocol:
        proto = attr(_CTA_PROTO_NUM, bytes([protocol])) + (attr(_CTA_PROTO_DST_PORT, _BE16.pack(port)) if port else b"")
        proto = nest(_CTA_TUPLE_PROTO, proto)
        flags["original"] |= _FILTER_ON_PROTOCOL | (_FILTER_ON_PORT if port else 0)
    body = nest(_CTA_TUPLE_ORIG, ip["original"], proto) + nest(_CTA_TUPLE_REPLY, ip["reply"])
    kinds: tuple[tuple[int, Direction], ...] = (
        (_CTA_FILTER_ORIG_FLAGS, "original"),
        (_CTA_FILTER_REPLY_FLAGS, "reply"),
    )
    wanted = [attr(kind, _U32.pack(flags[direction])) for kind, direction in kinds]
    head = _NFGENMSG.pack(family, 0, 0)
    return Message(_CTNETLINK | _CT_GET, 0, head + (body + nest(_CTA_FILTER, *wanted) if any(flags.values()) else b""))


def get_count() -> Message:
    """How many entries this namespace has: see `parse_count`."""
    return Message(_CTNETLINK | _CT_GET_STATS, 0, _NFGENMSG.pack(0, 0, 0))


def parse_count(body: bytes) -> int:
    count = parse_attrs(memoryview(body)[_NFGENMSG.size :]).get(_CTA_STATS_GLOBAL_ENTRIES, b"")
    return int.from_bytes(count, "big")


def delete_flow(flow: Flow) -> Message:
    """Exactly this entry: ENOENT if it is gone, even if another one has the same tuple now (unless the kernel put that
    one at the same place in memory, from which it makes the id)."""
    return Message(_CTNETLINK | _CT_DELETE, 0, _NFGENMSG.pack(flow.family, 0, 0) + flow.key)


def parse_flow(body: bytes) -> Flow | None:
    """The payload of IPCTNL_MSG_CT_NEW; None if it is malformed or has no original tuple or id."""
    if len(body) < _NFGENMSG.size:
        return None
    family = body[0]
    attrs = parse_attrs(memoryview(body)[_NFGENMSG.size :])
    if not {_CTA_TUPLE_ORIG, _CTA_ID} <= attrs.keys():
        return None
    key = nest(_CTA_TUPLE_ORIG, attrs[_CTA_TUPLE_ORIG])
    key += b"".join(attr(kind, attrs[kind]) for kind in (_CTA_ZONE, _CTA_ID) if kind in attrs)
    return Flow(family, _ends(family, attrs[_CTA_TUPLE_ORIG]), _ends(family, attrs.get(_CTA_TUPLE_REPLY, b"")), key)


def _ends(family: int, data: bytes) -> Ends:
    parts = parse_attrs(data)
    ip = parse_attrs(parts.get(_CTA_TUPLE_IP, b""))
    proto = parse_attrs(parts.get(_CTA_TUPLE_PROTO, b""))
    return Ends(
        ip.get(_CTA_IP.get((family, "source"), 0), b""),
        ip.get(_CTA_IP.get((family, "destination"), 0), b""),
        int.from_bytes(proto.get(_CTA_PROTO_NUM, b""), "big"),
        int.from_bytes(proto.get(_CTA_PROTO_DST_PORT, b""), "big"),
    )
