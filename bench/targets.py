"""What we promise, judged by the figures of one run. Only promises for which the run has figures are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from bench.networks import CLIENTS

Key = tuple[str, int]

# Case -> how many times better than the peer, while nothing else exists.
_BETTER = {
    "create": 20.0,
    "remove, answered": 60.0,
    "start-up": 2.0,
    "connect": 7.0,
    "connect, 1 port": 10.0,
    "connect, 100 ports": 30.0,
    "disconnect, answered": 20.0,
    "names, answers": 2.0,
    "names, latency": 1.0,
    "TCP, between two": 1.0,
    "TCP requests, between two": 1.0,
    "TCP, published port": 1.0,
    "TCP requests, published port": 1.0,
}
IN_A_ROW = "connect, one after another, up to"
AT_ONCE = "connects at once"


class Target(msgspec.Struct, frozen=True):
    """What we promise, the figure of this run, and whether it keeps the promise."""

    promise: str
    figure: str
    met: bool


def judge(ours: Mapping[Key, float], peer: Mapping[Key, float], ratios: Mapping[Key, float]) -> list[Target]:
    """ours, peer: medians by case and level. ratios: how many times better ours is, where both have figures."""
    return [*_better(ratios), *_small(ours), *_steady(ours), *_together(ours, peer)]


def _better(ratios: Mapping[Key, float]) -> Iterator[Target]:
    for case, least in _BETTER.items():
        if (case, 0) in ratios:
            ratio = ratios[case, 0]
            yield Target(f"{case}: {least:g} times better", f"{ratio:.2f}", ratio >= least)


def _small(ours: Mapping[Key, float]) -> Iterator[Target]:
    for networks, most in ((0, 60.0), (1000, 120.0)):
        weight = ours.get(("memory, daemon rss", networks))
        if weight is not None:
            yield Target(f"memory, {networks} networks: below {most:g} MiB", f"{weight:.1f}", weight < most)


def _steady(ours: Mapping[Key, float]) -> Iterator[Target]:
    """No growth with what exists."""
    if {("create", 0), ("create", 10_000)} <= ours.keys():
        growth = ours["create", 10_000] / ours["create", 0]
        yield Target("create, 10000 networks: at most 1.5 times", f"{growth:.2f}", growth <= 1.5)
    beside = "connect, 1 port, beside ports"
    if {(beside, 0), (beside, 10_000)} <= ours.keys():
        growth = ours[beside, 10_000] / ours[beside, 0]
        yield Target("connect, 1 port, beside 10000 ports: at most 1.5 times", f"{growth:.2f}", growth <= 1.5)
    levels = sorted(level for case, level in ours if case == IN_A_ROW)
    if len(levels) > 1:
        growth = ours[IN_A_ROW, levels[-1]] / ours[IN_A_ROW, levels[0]]
        promise = f"connect, the last of {levels[-1]} against the first: at most 1.5 times"
        yield Target(promise, f"{growth:.2f}", growth <= 1.5)


def _together(ours: Mapping[Key, float], peer: Mapping[Key, float]) -> Iterator[Target]:
    for (case, level), figure in ours.items():
        if "clients" in case and level >= 200:  # fewer are over before all clients have settled
            yield Target(f"{CLIENTS} clients, up to {level} networks: 500 creates/s", f"{figure:.0f}", figure >= 500)
        if case.endswith(f" {AT_ONCE}") and ("connect", 0) in peer:
            times = figure / peer["connect", 0]
            yield Target(f"{case}: within 5 connects of the peer", f"{times:.2f}", times <= 5)
