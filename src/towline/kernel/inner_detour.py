"""A detour (`model.inner.Detour`) in the calling thread's namespace: a rule by mark, a routing table of ours with one
default route, and the neighbour that it names.

Numbers: include/uapi/linux/{fib_rules,rtnetlink}.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from towline.kernel import rtnl_codec as codec
from towline.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message, NetlinkSocket, attr, parse_attrs
from towline.kernel.rtnl_read import LinkReader, as_kernel_error
from towline.kernel.rtnl_steps import Step, first_refusal
from towline.kernel.vxlan_codec import Neighbour, delete_neighbour, put_neighbour
from towline.model.errors import KernelError
from towline.model.inner import Detour

TABLE = PREFERENCE = 7474
"""Of the routing table, and of the rule that leads to it: behind the local table, ahead of the main one."""
NOBODY = "02:00:00:00:00:00"
GATEWAYS = {socket.AF_INET: "169.254.116.108", socket.AF_INET6: "fe80::7474"}
"""Nobody's either; on the link, because the route says so."""

_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_RULE = struct.Struct("=BBBBBBBBI")
_U32 = struct.Struct("=I")
_TO_TABLE = 1
_FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 6, 10, 15, 16, 21
_RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 4, 5, 15
_ONLINK = 4  # RTNH_F_ONLINK
_ABSENT = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EAFNOSUPPORT)


class _Rule(NamedTuple):
    mark: int
    mask: int


def read() -> Detour | None:
    """None also where a part of it is missing, or leads elsewhere."""
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        rule, link = _rule(sock, socket.AF_INET), _route(sock, socket.AF_INET)
        rule6, link6 = _rule(sock, socket.AF_INET6), _route(sock, socket.AF_INET6)
        if rule is None or not link or (rule6, link6) not in ((None, 0), (rule, link)):
            return None
        found = LinkReader(sock, ()).at(link)
    finally:
        sock.close()
    return None if found is None else Detour(found.name, rule.mark, rule.mask, ipv6=rule6 is not None)


def write(detour: Detour | None) -> None:
    """Make it exactly this one. KernelError: ENODEV if there is no such interface."""
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        steps = list(_cleared(sock, keep=detour))
        if detour is not None:
            steps += _made(sock, detour)
        if steps:
            with as_kernel_error(steps[0].operation):
                acks = sock.transact([step.message for step in steps])
            relevant = [(s, a) for s, a in zip(steps, acks, strict=True) if a.errno not in _forgiven(s)]
            if error := first_refusal([s for s, _ in relevant], [a for _, a in relevant]):
                raise error
    finally:
        sock.close()


def _forgiven(step: Step) -> tuple[int, ...]:
    return (errno.EEXIST,) if step.message.type == _RTM_NEWRULE else _ABSENT if step.operation[0] == "d" else ()


def _families(detour: Detour) -> Iterator[socket.AddressFamily]:
    yield socket.AF_INET
    if detour.ipv6:
        yield socket.AF_INET6


def _made(sock: NetlinkSocket, detour: Detour) -> Iterator[Step]:
    """The route before the rule that leads to it."""
    link = LinkReader(sock, ()).bare(detour.interface)
    if link is None:
        raise KernelError(errno.ENODEV, f"set detour by {detour.interface}", "there is no such interface")
    for family in _families(detour):
        gateway = GATEWAYS[family]
        yield Step(put_neighbour(Neighbour(link.index, gateway, NOBODY)), f"set neighbour of {detour.interface}")
        yield Step(_default(family, link.index, gateway), f"set detour by {detour.interface}")
        yield Step(_by_mark(_RTM_NEWRULE, family, _Rule(detour.mark, detour.mask)), "add rule of a detour")


def _cleared(sock: NetlinkSocket, keep: Detour | None) -> Iterator[Step]:
    kept = {} if keep is None else dict.fromkeys(_families(keep), _Rule(keep.mark, keep.mask))
    for family in (socket.AF_INET, socket.AF_INET6):
        rule = _rule(sock, family)
        if rule is not None and rule != kept.get(family):
            yield Step(_by_mark(_RTM_DELRULE, family, rule), "delete rule of a detour")
        if family not in kept and (link := _route(sock, family)):
            yield Step(_default(family, link, GATEWAYS[family], gone=True), "delete route of a detour")
            yield Step(delete_neighbour(Neighbour(link, GATEWAYS[family], NOBODY)), "delete neighbour of a detour")


def _by_mark(kind: int, family: int, rule: _Rule) -> Message:
    attrs = {_FRA_PRIORITY: PREFERENCE, _FRA_FWMARK: rule.mark, _FRA_FWMASK: rule.mask, _FRA_TABLE: TABLE}
    body = b"".join([attr(number, _U32.pack(value)) for number, value in attrs.items()])
    flags = NLM_F_CREATE | NLM_F_EXCL if kind == _RTM_NEWRULE else 0
    protocol = attr(_FRA_PROTOCOL, bytes((codec.RTPROT_TOWLINE,)))
    return Message(kind, flags, _RULE.pack(family, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0) + body + protocol)


def _default(family: int, link: int, gateway: str, *, gone: bool = False) -> Message:
    head = codec.RTMSG.pack(family, 0, 0, 0, 0, 0 if gone else codec.RTPROT_TOWLINE, 0, 1, _ONLINK)
    attrs = attr(_RTA_TABLE, _U32.pack(TABLE)) + attr(_RTA_OIF, _U32.pack(link))
    attrs += attr(_RTA_GATEWAY, socket.inet_pton(family, gateway))
    if gone:
        return Message(codec.RTM_DELROUTE, 0, head + attrs)
    return Message(codec.RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, head + attrs)


def _rule(sock: NetlinkSocket, family: int) -> _Rule | None:
    with as_kernel_error("list routing rules"):
        bodies = [body for _, body in sock.dump(Message(_RTM_GETRULE, 0, _RULE.pack(family, *[0] * 8)))]
    for body in bodies:
        if len(body) >= _RULE.size and body[0] == family:
            attrs = parse_attrs(body[_RULE.size :])
            if codec.number(attrs.get(_FRA_TABLE)) == TABLE and codec.number(attrs.get(_FRA_PRIORITY)) == PREFERENCE:
                return _Rule(codec.number(attrs.get(_FRA_FWMARK)), codec.number(attrs.get(_FRA_FWMASK)))
    return None


def _route(sock: NetlinkSocket, family: int) -> int:
    """ifindex of our table's default route; 0 if it has none like ours."""
    question = codec.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + attr(_RTA_TABLE, _U32.pack(TABLE))
    try:
        with as_kernel_error("list routes"):
            bodies = [body for _, body in sock.dump(Message(codec.RTM_GETROUTE, 0, question))]
    except KernelError as error:
        if error.errno == errno.ENOENT:  # no route was ever put into that table
            return 0
        raise
    for body in bodies:
        if len(body) >= codec.RTMSG.size and body[0] == family and body[1] == 0:
            attrs = parse_attrs(body[codec.RTMSG.size :])
            gateway = attrs.get(_RTA_GATEWAY) == socket.inet_pton(family, GATEWAYS[socket.AddressFamily(family)])
            if codec.number(attrs.get(_RTA_TABLE)) == TABLE and gateway:
                return codec.number(attrs.get(_RTA_OIF))
    return 0
