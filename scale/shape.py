"""Which networks there are, who is on them, and how many endpoints each node has there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

_WIDE_SHARE = 0.25
"""Of all endpoints, on the networks that every node is on."""
_SMALL = 4
"""Nodes on a small network."""


class Plan(NamedTuple):
    """kind: "wide" (every node), "medium" (a tenth), "small" (four). subnet: "" lets the manager choose a /24."""

    name: str
    kind: str
    subnet: str
    members: tuple[int, ...]
    endpoints: int


def plan(nodes: int, endpoints: int, random: Random) -> list[Plan]:
    """Two wide networks, ten medium ones, and one small one for each node. endpoints: on all of them together."""
    wide, medium, small = 2, min(10, nodes), nodes
    left = endpoints - int(endpoints * _WIDE_SHARE)
    shares = [
        *([("wide", int(endpoints * _WIDE_SHARE) // wide)] * wide),
        *([("medium", left // 2 // medium)] * medium),
        *([("small", left // 2 // small)] * small),
    ]
    subnets = _subnets()
    found = []
    for at, (kind, count) in enumerate(shares):
        size = {"wide": nodes, "medium": max(2, nodes // 10), "small": min(_SMALL, nodes)}[kind]
        members = tuple(sorted(random.sample(range(nodes), size)))
        found.append(Plan(f"{kind}{at}", kind, "" if kind == "small" else next(subnets), members, max(count, 1)))
    return found


def _subnets() -> Iterator[str]:
    """Far from what the manager gives by itself, which are the lowest /24 of 10.0.0.0/8."""
    return (f"10.{second}.0.0/12" for second in range(64, 256, 16))


def spread(total: int, members: Sequence[int]) -> dict[int, int]:
    """Node -> its endpoints, as even as can be."""
    each, more = divmod(total, len(members))
    return {member: each + (at < more) for at, member in enumerate(members)}
