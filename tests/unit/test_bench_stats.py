from __future__ import annotations

import pytest
from bench.stats import percentile, summarize
from hypothesis import given
from hypothesis import strategies as st


def test_median_and_p95_by_nearest_rank() -> None:
    samples = [float(n) for n in range(1, 101)]
    summary = summarize(samples)
    assert (summary.count, summary.p50, summary.p95, summary.least, summary.most) == (100, 50.0, 95.0, 1.0, 100.0)


def test_one_sample_is_every_percentile() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.95) == 7.0


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.sampled_from([0.05, 0.5, 0.9, 0.95, 1.0]))
def test_percentile_is_the_smallest_sample_that_covers_the_share(samples: list[float], share: float) -> None:
    value = percentile(samples, share)
    covered = [sample for sample in samples if sample <= value]
    below = [sample for sample in samples if sample < value]
    assert value in samples
    assert len(covered) >= share * len(samples) - 1e-9
    assert len(below) < share * len(samples)
