"""Rules in the namespace of a member of a service that is published on every node: its answers go back to the mesh
namespace through which the request came, because only that knows the connection. So the client's address is kept.

The first packet's link layer source says which one it was; the connection is marked with it. Answers carry the mark,
which leads them to the ingress network (`Detour`: one rule and one route, however many nodes there are), and on the way
out of the interface the mark becomes the link layer destination. Needs the egress hook (Linux 5.16).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from towline.firewall import keys
from towline.firewall.builders import ETHER_SADDR, IIFNAME, MARK, Exprs, Field, equal, host32, mapped
from towline.firewall.stamp import stamped
from towline.model.ruleset import (
    Bitwise,
    Chain,
    Cmp,
    Ct,
    Element,
    Hook,
    Meta,
    PayloadWrite,
    Rule,
    Set,
    Table,
    TableId,
)

RETURNS = TableId("inet", "towline-returns")
EGRESS = TableId("netdev", "towline-returns")

RETURN_MARK, RETURN_MASK = 0x74000000, 0xFF000000
"""Marks of such connections, in the member's namespace only. The other 24 bits say which mesh namespace."""

_PREROUTING, _OUTPUT, _EGRESS = 0, 3, 1
_MANGLE = -150  # after conntrack (-200)
_CT_DIRECTION, _CT_MARK = Field(Ct(1), 1), Field(Ct(3), 4)
_ORIGINAL, _REPLY = bytes((0,)), bytes((1,))


class Mesh(NamedTuple):
    """A node's mesh namespace on the ingress network. address: bare."""

    mac: str
    address: str


@lru_cache(maxsize=8)
def returns_tables(inside: str) -> tuple[Table, Table]:
    """inside: the member's interface on the ingress network."""
    unmarked = equal(_CT_MARK, bytes(4))
    arrived = (*equal(IIFNAME, keys.ifname(inside)), *equal(_CT_DIRECTION, _ORIGINAL), *unmarked)
    note = (*arrived, *mapped("meshes", ETHER_SADDR), Ct(3, write=True))
    ours = (*_loaded(_CT_MARK), Bitwise(host32(RETURN_MASK), bytes(4)), Cmp(0, host32(RETURN_MARK)))
    answer = (*equal(_CT_DIRECTION, _REPLY), *ours, *_loaded(_CT_MARK), Meta(3, write=True))
    inet = Table(
        RETURNS,
        (Set("meshes", ("ether_addr",), ("mark",), comment="who a request came through"),),
        (
            Chain("prerouting", Hook("filter", _PREROUTING, _MANGLE), (Rule("through the mesh", note),)),
            Chain("output", Hook("route", _OUTPUT, _MANGLE), (Rule("back through the mesh", answer),)),
        ),
    )
    to_mesh = Rule("to whom it came through", (*mapped("meshes", MARK), PayloadWrite(0, 0, 6, None)))
    egress = Table(
        EGRESS,
        (Set("meshes", ("mark",), ("ether_addr",), comment="where answers go"),),
        (Chain("egress", Hook("filter", _EGRESS, 0, device=inside), (to_mesh,)),),
    )
    return stamped(inet), stamped(egress)


def _loaded(field: Field) -> Exprs:
    return (field.load,)


def returns_elements(meshes: Iterable[Mesh]) -> tuple[Element, ...]:
    """Of two with one mark, which can only be where the network has several subnets, the later one is passed over."""
    marks: dict[bytes, bytes] = {}
    for mesh in meshes:
        marks.setdefault(_mark(mesh), keys.ether(mesh.mac))
    there = {mac: mark for mark, mac in marks.items()}
    return (
        *(Element(RETURNS, "meshes", mac, mark) for mac, mark in there.items()),
        *(Element(EGRESS, "meshes", mark, mac) for mac, mark in there.items()),
    )


def _mark(mesh: Mesh) -> bytes:
    return host32(RETURN_MARK | int.from_bytes(keys.address(mesh.address)[-3:], "big"))
