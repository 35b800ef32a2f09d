"""Medians and percentiles of samples."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """p50 and p95 by the nearest-rank rule, in the unit of the samples."""

    count: int
    p50: float
    p95: float
    least: float
    most: float


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0..1) of all samples do not exceed. ValueError if there are none."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * round(share * 1000) // 1000))
    return ordered[rank - 1]


def summarize(samples: Sequence[float]) -> Summary:
    return Summary(
        count=len(samples),
        p50=percentile(samples, 0.50),
        p95=percentile(samples, 0.95),
        least=min(samples),
        most=max(samples),
    )
