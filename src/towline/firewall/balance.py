"""Rules inside namespaces that spread the connections of a service over its members, without IPVS.

A place (a virtual address, or a published port) has so many slots as its class says, and a member in each slot. The
first packet of a connection draws a slot; conntrack keeps what it got. So the rules never change, a member that comes
or goes is a matter of elements, and the lookup does not grow with the number of services.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from towline.firewall import keys
from towline.firewall.builders import (
    ACCEPT,
    CT_STATUS,
    DNAT,
    DROP,
    IIFNAME,
    IP_FAMILIES,
    IPV4,
    L4PROTO,
    OIFNAME,
    RESET,
    TH_DPORT,
    UNREACHABLE_PORT,
    Exprs,
    Field,
    IpFamily,
    any_bit,
    equal,
    host32,
    jump,
    load,
    member,
    unequal,
)
from towline.firewall.stamp import stamped
from towline.model.ruleset import (
    Bitwise,
    Chain,
    Cmp,
    Element,
    Hook,
    Immediate,
    Lookup,
    LowerTcpOption,
    Masquerade,
    Nat,
    Payload,
    Random,
    Rule,
    Set,
    Table,
    TableId,
)

SERVICES = TableId("inet", "towline-services")
MESH = TableId("inet", "towline-mesh")

CLASSES = (12, 60, 420, 2520)
"""Slots: each is divided evenly by the small numbers of members that it serves, and by most of the others nearly."""
_FEW = 3
"""A member has at least so many slots, but in the smallest class and the largest, so that shares are nearly equal."""

_PREROUTING, _FORWARD, _OUTPUT, _POSTROUTING = 0, 2, 3, 4
_BEFORE_NAT = -110  # as on the host: ahead of the rules that software inside has at the usual -100
_MANGLE, _SRCNAT = -150, 90
_DNAT = 1
_TCP = bytes((6,))
_TCP_FLAGS = Field(Payload(2, 13, 1), 1)
_SYN = bytes((2,))
_MAX_SEGMENT, _TCP_HEADER = 2, 20
_IP_HEADERS = {4: 20, 6: 40}


class Backend(NamedTuple):
    """Bare addresses of one member, "" for a family that it has not."""

    ipv4: str
    ipv6: str


def slots_for(members: int) -> int:
    """The class of a place with that many members."""
    return next((c for c in CLASSES if members <= max(c // _FEW, 4 if c == CLASSES[0] else 0)), CLASSES[-1])


@lru_cache(maxsize=1)
def services_table() -> Table:
    """For the namespace of a sandbox on networks with services: its connections to virtual addresses go to members.
    Where a service has no member, they are refused at once."""
    sets = []
    for family in IP_FAMILIES:
        n, ip = family.suffix, family.address_type
        sets.append(Set(f"vips{n}", (ip,), comment="virtual addresses of services"))
        for c in CLASSES:
            sets.append(Set(_slots(c, family), (ip, "mark"), (ip,), comment="virtual address, slot: a member"))
    balance = [rule for family in IP_FAMILIES for rule in _to_member(family)]
    refuse = [rule for family in IP_FAMILIES for rule in _no_member(family)]
    output = (Rule("to a member", (jump("balance"),)), *refuse)
    chains = (
        Chain("balance", rules=tuple(balance)),
        Chain("output", Hook("nat", _OUTPUT, _BEFORE_NAT), output),
        Chain("prerouting", Hook("nat", _PREROUTING, _BEFORE_NAT), (Rule("to a member", (jump("balance"),)),)),
    )
    return stamped(Table(SERVICES, tuple(sets), chains))


def _slots(size: int, family: IpFamily) -> str:
    return f"slots{size}_{family.suffix}"


def _drawn(keys_: Exprs, words: int, size: int, name: str) -> Exprs:
    """The key from register 8 on, a slot behind it; the member found is then in register 8 and following."""
    return (*keys_, Random(size, reg=8 + words), Lookup(name, dreg=8))


def _to_member(family: IpFamily) -> Iterator[Rule]:
    words = family.address_length // 4
    for size in CLASSES:
        found = _drawn(load(family.daddr), words, size, _slots(size, family))
        yield Rule(
            f"one of {size} slots, IPv{family.suffix}", (*family.match, *found, Nat(_DNAT, family.number, addr=8))
        )


def _no_member(family: IpFamily) -> Iterator[Rule]:
    match = (*family.match, *member(f"vips{family.suffix}", family.daddr))
    yield Rule("no member, TCP", (*match, *equal(L4PROTO, _TCP), RESET))
    yield Rule("no member", (*match, UNREACHABLE_PORT))


def vip_elements(vip: str, members: Sequence[Backend]) -> tuple[Element, ...]:
    """vip: bare. Members without an address of its family are passed over."""
    family = IP_FAMILIES[":" in vip]
    address = keys.address(vip)
    found = [keys.address(text) for m in members if (text := m.ipv6 if ":" in vip else m.ipv4)]
    name = _slots(slots_for(len(found)), family)
    return (
        Element(SERVICES, f"vips{family.suffix}", address),
        *(Element(SERVICES, name, keys.concat(address, host32(slot)), data) for slot, data in _dealt(found)),
    )


def _dealt(members: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    for slot in range(slots_for(len(members)) if members else 0):
        yield slot, members[slot % len(members)]


# the mesh


class MeshPort(NamedTuple):
    """A port published on every node, and the members' port behind it."""

    protocol: str
    published: int
    target: int


def mesh_table(inside: str, mtu: int) -> Table:
    """For the namespace that takes in what comes for published ports. inside: its interface on the ingress network, on
    which the members are; mtu: of that, which both ends of a connection are told (their own ones are larger).

    TCP keeps the client's address. Servers that answer datagrams from a socket without address do so from the address
    that the way to the client has, which here is another interface's: they are asked from this namespace's address.
    """
    sets = []
    for family in IP_FAMILIES:
        target = (family.address_type, "inet_service")
        for c in CLASSES:
            key = ("inet_proto", "inet_service", "mark")
            sets.append(Set(_slots(c, family), key, target, comment="published port, slot: a member's port"))
    outside = unequal(IIFNAME, keys.ifname(inside))
    to_member = [rule for family in IP_FAMILIES for rule in _published(family, outside)]
    segments = [_lowered(family, mtu) for family in IP_FAMILIES]
    forward = (
        *segments,
        Rule("to and from members", (*any_bit(CT_STATUS, DNAT), ACCEPT)),
        Rule("no router for anything else", DROP),
    )
    chains = (
        Chain("prerouting", Hook("nat", _PREROUTING, _BEFORE_NAT), tuple(to_member)),
        Chain("forward", Hook("filter", _FORWARD, _MANGLE), forward),
        Chain("postrouting", Hook("nat", _POSTROUTING, _SRCNAT), (_masked(inside),)),
    )
    return stamped(Table(MESH, tuple(sets), chains))


def _published(family: IpFamily, outside: Exprs) -> Iterator[Rule]:
    target = Nat(_DNAT, family.number, addr=8, port=8 + family.address_length // 4)
    for size in CLASSES:
        found = _drawn(load(L4PROTO, TH_DPORT), 2, size, _slots(size, family))
        yield Rule(f"one of {size} slots, IPv{family.suffix}", (*family.match, *outside, *found, target))


def _masked(inside: str) -> Rule:
    match = (*equal(OIFNAME, keys.ifname(inside)), *unequal(L4PROTO, _TCP), *any_bit(CT_STATUS, DNAT))
    return Rule("not TCP: from our address", (*match, Masquerade()))


def _lowered(family: IpFamily, mtu: int) -> Rule:
    size = mtu - _IP_HEADERS[4 if family is IPV4 else 6] - _TCP_HEADER
    syn = (*equal(L4PROTO, _TCP), *load(_TCP_FLAGS), Bitwise(_SYN, bytes(1)), Cmp(1, bytes(1)))
    lower = (Immediate(size.to_bytes(2, "big")), LowerTcpOption(_MAX_SEGMENT, 2, 2))
    return Rule(f"segments of {size} bytes, IPv{family.suffix}", (*family.match, *syn, *lower))


def mesh_elements(port: MeshPort, members: Sequence[Backend]) -> Iterator[Element]:
    place = keys.concat(keys.protocol(port.protocol), keys.port(port.published))
    for family in IP_FAMILIES:
        texts = [m.ipv4 if family is IPV4 else m.ipv6 for m in members]
        found = [keys.concat(keys.address(text), keys.port(port.target)) for text in texts if text]
        name = _slots(slots_for(len(found)), family)
        for slot, data in _dealt(found):
            yield Element(MESH, name, keys.concat(place, host32(slot)), data)
