"""The fake etcd: the conformance suite, several managers' clients, and its faults."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.etcd_conformance import CASES, Case, put, take
from towline.cluster.contract import Compacted, Compare, KeyValue, PutKey, Watched
from towline.cluster.etcd_fake import FakeCluster, FakeEtcd, Fault
from towline.model.errors import Unavailable


class FakeLab:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.etcd = self.cluster.client()
        self.other = self.cluster.client()

    async def compact(self) -> None:
        self.cluster.compact()

    async def pass_time(self, seconds: int) -> None:
        self.cluster.advance(seconds)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_does_what_etcd_does(case: Case) -> None:
    await case(FakeLab())


async def test_an_unavailable_call_has_done_nothing() -> None:
    etcd = FakeEtcd()
    etcd.fail(Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    with pytest.raises(Unavailable):
        await put(etcd, "/a")
    with pytest.raises(Unavailable):
        await etcd.get("/a")
    assert etcd.cluster.keys() == {}
    await put(etcd, "/a")


async def test_a_lost_answer_has_taken_effect() -> None:
    etcd = FakeEtcd()
    etcd.fail(Fault.LOST_ANSWER)
    assert await etcd.get("/a") == KeyValue("/a"), "reads go on: the next transaction is meant"
    with pytest.raises(Unavailable):
        await etcd.transact([Compare("/a", 0)], [PutKey("/a", b"1")])
    assert etcd.cluster.keys() == {"/a": b"1"}
    assert await etcd.transact([Compare("/a", 0)], [PutKey("/a", b"2")]) is None


async def test_one_client_is_away_and_another_goes_on() -> None:
    cluster = FakeCluster()
    here, there = cluster.client(), cluster.client()
    watches = here.watch("/", 1), there.watch("/", 1)
    waiting = [asyncio.create_task(take(each)) for each in watches]
    await asyncio.sleep(0)
    here.away = True
    with pytest.raises(Unavailable):
        await here.keep(1)
    await put(there, "/a")
    with pytest.raises(Unavailable):
        await waiting[0]
    assert len(await waiting[1]) == 1
    here.away = False
    assert len(await take(here.watch("/", 2))) == 1


async def test_a_cut_watch_may_find_its_place_forgotten() -> None:
    etcd = FakeEtcd()
    await put(etcd, "/a")
    changes = etcd.watch("/", 1)
    (told,) = await take(changes)
    etcd.cut_watches()
    with pytest.raises(Unavailable):
        await take(changes)
    await put(etcd, "/a")
    await put(etcd, "/a")
    etcd.cluster.compact()
    with pytest.raises(Compacted):
        await take(etcd.watch("/", told.revision + 1))


async def test_progress_carries_the_revision() -> None:
    cluster = FakeCluster()
    etcd = cluster.client()
    changes = etcd.watch("/mine/", 1)
    await put(etcd, "/mine/a")
    await take(changes)
    revision = await put(etcd, "/other")
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    cluster.progress()
    assert await waiting == Watched(revision, ())


async def test_a_kept_lease_stays() -> None:
    cluster = FakeCluster()
    etcd = cluster.client()
    lease = await etcd.grant(10)
    await put(etcd, "/a", b"", lease)
    cluster.advance(9)
    assert await etcd.keep(lease)
    cluster.advance(9)
    assert cluster.keys() == {"/a": b""}
    cluster.advance(1)
    assert cluster.keys() == {}
