"""rtnetlink messages for the routes into WireGuard interfaces: IPv6 host routes of our protocol, pure.

Numbers: include/uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from towline.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Message, attr, parse_attrs
from towline.kernel.rtnl_codec import (
    RT_TABLE_MAIN,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    RTMSG,
    RTPROT_TOWLINE,
    number,
    split_cidr,
)

_DST, _OIF, _PREFSRC = 1, 4, 7
_UNICAST, _UNREACHABLE = 1, 7
_UNIVERSE = 0
_U32 = struct.Struct("=I")


class SecureRoute(NamedTuple):
    """An IPv6 host route of ours: to `destination` through the link of this index, from `source` (bare, "" any)."""

    destination: str
    link: int
    source: str


def put_route(index: int, destination: str, source: str) -> Message:
    """In place of the route to this address, without a moment without one."""
    attrs = _dst(destination) + attr(_OIF, _U32.pack(index)) + attr(_PREFSRC, socket.inet_pton(socket.AF_INET6, source))
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _head(128, _UNICAST) + attrs)


def delete_route(index: int, destination: str) -> Message:
    """ESRCH if there is none through this link."""
    return Message(RTM_DELROUTE, 0, _head(128, _UNICAST) + _dst(destination) + attr(_OIF, _U32.pack(index)))


def block_route(prefix: str) -> Message:
    """An unreachable route; one that is there already is replaced by its like."""
    _, address, length = split_cidr(prefix)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _head(length, _UNREACHABLE) + attr(_DST, address))


def unblock_route(prefix: str) -> Message:
    """ESRCH if there is none."""
    _, address, length = split_cidr(prefix)
    return Message(RTM_DELROUTE, 0, _head(length, _UNREACHABLE) + attr(_DST, address))


def parse_route(body: bytes) -> SecureRoute | None:
    """The payload of RTM_NEWROUTE; None for any other route than an IPv6 host route of our protocol."""
    if len(body) < RTMSG.size:
        return None
    family, length, _, _, _, protocol, _, kind, _ = RTMSG.unpack_from(body)
    attrs = parse_attrs(memoryview(body)[RTMSG.size :])
    destination, source = attrs.get(_DST, b""), attrs.get(_PREFSRC, b"")
    if (family, length, protocol, kind, len(destination)) != (socket.AF_INET6, 128, RTPROT_TOWLINE, _UNICAST, 16):
        return None
    text = socket.inet_ntop(socket.AF_INET6, source) if len(source) == 16 else ""
    return SecureRoute(socket.inet_ntop(socket.AF_INET6, destination), number(attrs.get(_OIF)), text)


def _head(length: int, kind: int) -> bytes:
    return RTMSG.pack(socket.AF_INET6, length, 0, 0, RT_TABLE_MAIN, RTPROT_TOWLINE, _UNIVERSE, kind, 0)


def _dst(address: str) -> bytes:
    return attr(_DST, socket.inet_pton(socket.AF_INET6, address))
