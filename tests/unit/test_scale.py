"""The scale harness's own parts: its shape, and that its comparison finds what differs."""

from __future__ import annotations

from random import Random

import pytest
from scale.recorder import Recorder
from scale.shape import plan, spread

from towline.model.cluster import Peer
from towline.model.desired import Row

MAC = "02:00:00:00:00:01"


def test_shape_has_few_wide_networks_and_many_small_ones() -> None:
    plans = plan(100, 2000, Random(1))
    sizes = {kind: [len(one.members) for one in plans if one.kind == kind] for kind in ("wide", "medium", "small")}
    assert sizes == {"wide": [100] * 2, "medium": [10] * 10, "small": [4] * 100}
    assert 1800 <= sum(one.endpoints for one in plans) <= 2000
    subnets = [one.subnet for one in plans if one.subnet]
    assert len(set(subnets)) == 12


def test_spread_leaves_nothing_out() -> None:
    assert spread(7, (3, 5, 9)) == {3: 3, 5: 2, 9: 2}


@pytest.mark.parametrize("rows", [0, 1])
async def test_an_endpoint_is_complete_when_every_node_has_its_row(rows: int) -> None:
    recorder = Recorder()
    recorder.expect(MAC, "small", 2)
    recorder.published([Peer("e", "n", "one", "192.0.2.1", MAC)], 1.0, 2.0)
    for _ in range(rows):
        recorder.programmed([Row(MAC, "192.0.2.1")])
    assert not await recorder.all_complete(0.0)
    for _ in range(2 - rows):
        recorder.programmed([Row(MAC, "192.0.2.1")])
    assert await recorder.all_complete(0.0)
    assert (recorder.tracks[MAC].asked, recorder.tracks[MAC].answered) == (1.0, 2.0)
