"""The scale harness's own parts: its shape, and that its comparison finds what differs."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace
from scale.crowd import Crowd
from scale.digests import Digests, digest_of_names
from scale.equality import difference, short_of_rows
from scale.interner import Interner
from scale.recorder import Recorder
from scale.shape import plan, spread
from scale.wire import Holding

from tests.support.managers import node, peer
from towline.cluster import codec
from towline.cluster.contract import KeyValue, Update
from towline.cluster.state import State
from towline.model.cluster import Peer
from towline.model.desired import Row
from towline.model.network import Network

MAC = "02:00:00:00:00:01"
NET = Network(id="n1", name="one", created=1, driver="overlay", scope="swarm")
HERE, THERE = peer(node(0), "n1", 1, "10.0.0.1/24"), peer(node(1), "n1", 2, "10.0.0.2/24")
IDS = {0: node(0).id, 1: node(1).id}


def test_shape_has_few_wide_networks_and_many_small_ones() -> None:
    plans = plan(100, 2000, Random(1))
    sizes = {kind: [len(one.members) for one in plans if one.kind == kind] for kind in ("wide", "medium", "small")}
    assert sizes == {"wide": [100] * 2, "medium": [10] * 25, "small": [4] * 25}
    assert 1800 <= sum(one.endpoints for one in plans) <= 2000
    subnets = [one.subnet for one in plans if one.subnet]
    assert len(set(subnets)) == 27
    assert all(one.endpoints >= len(one.members) for one in plan(1000, 100_000, Random(1)))


def test_spread_leaves_nothing_out() -> None:
    assert spread(7, (3, 5, 9)) == {3: 3, 5: 2, 9: 2}


def test_a_recorder_counts_the_rows_of_what_it_follows() -> None:
    recorder = Recorder()
    recorder.programmed([Row("02:00:00:00:00:09", "192.0.2.1")])
    recorder.begin()
    recorder.expect(MAC)
    recorder.published([Peer("e", "n", "one", "192.0.2.1", MAC), Peer("f", "n", "one", "192.0.2.1", "x")], 1.0, 2.0)
    for _ in range(2):
        recorder.programmed([Row(MAC, "192.0.2.1")])
    told = recorder.tracks()
    assert [(mac, at.asked, at.answered) for mac, at in told.published.items()] == [(MAC, 1.0, 2.0)]
    assert {mac: count for mac, (count, _) in told.rows.items()} == {MAC: 2}
    assert recorder.rows == 3


def test_equal_records_become_one_object_and_new_ones_replace_old() -> None:
    interner = Interner()
    first = interner.shared(Update(1, peers=(HERE,), networks=(NET,)))
    again = interner.shared(Update(2, peers=(replace(HERE),), networks=(replace(NET),)))
    assert again.peers[0] is first.peers[0]
    assert again.networks[0] is first.networks[0]
    moved = replace(HERE, vtep="192.0.2.77")
    assert interner.shared(Update(3, peers=(moved,))) == Update(3, peers=(moved,))


def held(at: int, *peers: Peer, rows: int = 1, **fields: object) -> Holding:
    digests = Digests()
    known = {
        "present": {"n1": str(sum(map(digests.of, peers)))},
        "networks": digest_of_names(["n1"]),
        **fields,
    }
    return Holding(at, rows, **known)  # type: ignore[arg-type]


@pytest.fixture
def state() -> State:
    keys = {codec.network_key("n1"): NET}
    records = {**keys, **{codec.endpoint_key("n1", one.id): one for one in (HERE, THERE)}}
    return State(3, [KeyValue(key, codec.encode(record), 1, 1) for key, record in records.items()])


def test_nodes_that_have_everything_are_equal(state: State) -> None:
    both = held(0, HERE, THERE), held(1, THERE, HERE)
    assert difference(state, IDS, both) == ""
    assert short_of_rows(state, IDS, both) == ""


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (held(0, HERE), "endpoints that node 0 knows on n1"),
        (held(0, HERE, replace(THERE, epoch=7)), "endpoints that node 0 knows on n1"),
        (held(0, HERE, THERE, networks=digest_of_names(["n1", "n2"])), "node 0 knows other networks"),
        (held(0, HERE, THERE, present={}), "node 0 has endpoints on other networks"),
        (held(0, HERE, THERE, wrong="rows of node 0 on n1"), "rows of node 0 on n1"),
    ],
)
def test_what_differs_is_found(state: State, wrong: Holding, why: str) -> None:
    assert difference(state, IDS, [wrong]) == why


def test_too_few_or_too_many_rows_are_found(state: State) -> None:
    for rows in (0, 2):
        assert short_of_rows(state, IDS, [held(0, HERE, THERE, rows=rows)]) == f"node 0 has {rows} rows, not 1"


async def test_what_does_not_come_true_in_time_is_told() -> None:
    words = iter(["one", "two", "", "three"])

    async def wrong() -> str:
        return next(words)

    assert await Crowd(1).until(wrong, 60, 0) == ""
    assert await Crowd(1).until(wrong, 0, 0) == "three"
