"""Which networks there are, who is on them, and how many endpoints each node has there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

_MEDIUM, _SMALL = 10, 4
"""Nodes on a network."""


class Plan(NamedTuple):
    """kind: "wide" (every node), "medium" (ten), "small" (four). subnet: "" lets the manager choose a /24."""

    name: str
    kind: str
    subnet: str
    members: tuple[int, ...]
    endpoints: int


def plan(nodes: int, endpoints: int, random: Random) -> list[Plan]:
    """Two wide networks with one endpoint on each node (what collects logs, what measures); for each four nodes one
    medium network and one small, which share the rest. endpoints: on all of them together."""
    medium = small = max(1, nodes // 4)
    left = max(endpoints - 2 * nodes, 2 * (medium + small))
    shares = (
        [("wide", nodes)] * 2 + [("medium", left // 2 // medium)] * medium + [("small", left // 2 // small)] * small
    )
    wide, narrow = _subnets("10.{}.0.0/12", range(64, 128, 16)), _medium_subnets()
    found = []
    for at, (kind, count) in enumerate(shares):
        size = min({"wide": nodes, "medium": _MEDIUM, "small": _SMALL}[kind], nodes)
        members = tuple(sorted(random.sample(range(nodes), size)))
        subnet = {"wide": wide, "medium": narrow}.get(kind)
        found.append(Plan(f"{kind}{at}", kind, next(subnet) if subnet else "", members, max(count, size)))
    return found


def _subnets(form: str, numbers: Sequence[int]) -> Iterator[str]:
    """Far from what the manager gives by itself, which are the lowest /24 of 10.0.0.0/8."""
    return (form.format(number) for number in numbers)


def _medium_subnets() -> Iterator[str]:
    return (f"10.{second}.{third}.0/20" for second in range(128, 256) for third in range(0, 256, 16))


def spread(total: int, members: Sequence[int]) -> dict[int, int]:
    """Node -> its endpoints, as even as can be."""
    each, more = divmod(total, len(members))
    return {member: each + (at < more) for at, member in enumerate(members)}
