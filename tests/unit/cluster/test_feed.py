"""A manager's copy of the cluster, and what watchers rebuild from its stream: equal to etcd, whatever is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.managers import node, peer
from towline.cluster import codec
from towline.cluster.contract import DeleteKey, PutKey, Update
from towline.cluster.etcd_fake import FakeCluster, FakeEtcd
from towline.cluster.feed import Feed
from towline.cluster.scopes import Scopes
from towline.cluster.state import State
from towline.cluster.updates import merge, size_of
from towline.cluster.watchers import Source, Watcher
from towline.model.cluster import Alive
from towline.model.errors import StoreCorrupt, StoreError, Unavailable
from towline.model.network import Network, Pool
from towline.plan.global_network import VNI_LIST

WITHIN = 20.0


def network(at: int, **fields: object) -> Network:
    known: dict[str, object] = {
        "id": f"n{at}",
        "name": f"net{at}",
        "created": 1,
        "driver": "overlay",
        "phase": "ready",
        "scope": "swarm",
        "pools": (Pool(f"10.{at}.0.0/24", gateway=f"10.{at}.0.1"),),
        "options": {VNI_LIST: str(4096 + at)},
    }
    return Network(**{**known, **fields})  # type: ignore[arg-type]


class Rebuilt:
    """What a watcher makes of a scope's updates."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], object] = {}
        self.revision = 0
        self.snapshots = 0

    def take(self, update: Update) -> None:
        assert update.revision >= self.revision
        self.revision = update.revision
        if update.snapshot:
            self.kept.clear()
            self.snapshots += 1
        for each in (*update.nodes, *update.networks, *update.peers):
            self.kept[type(each).__name__, each.id] = each
        self.kept.update((("Alive", alive.node), alive) for alive in update.alive)
        for kind in ("Node", "Network", "Peer", "Alive"):
            gone = {"Node": update.gone_nodes, "Network": update.gone_networks, "Peer": update.gone_peers}
            for key in gone.get(kind, update.gone_alive):
                self.kept.pop((kind, key), None)

    def equals(self, snapshot: Update) -> bool:
        other = Rebuilt()
        other.take(snapshot)
        return self.kept == other.kept


class Follow:
    """A task that rebuilds every scope that one stream carries. ended: why the stream has ended. gone: scopes whose end
    was told."""

    def __init__(self, feed: Feed, *scopes: str) -> None:
        self.scopes = Scopes(*scopes)
        self.parts: dict[str, Rebuilt] = {}
        self.gone: list[str] = []
        self.ended: Exception | None = None
        self._task = asyncio.create_task(self._run(feed))

    async def _run(self, feed: Feed) -> None:
        try:
            async with aclosing(feed.watch(self.scopes)) as updates:
                async for update in updates:
                    self._take(update)
        except (Unavailable, AssertionError) as error:
            self.ended = error

    def _take(self, update: Update) -> None:
        if update.ended:
            self.gone.append(update.scope)
        elif update.snapshot:
            part = self.parts.setdefault(update.scope, Rebuilt())
            part.take(update)
        elif size_of(update):
            assert update.scope in self.parts, "a change before the snapshot"
            self.parts[update.scope].take(update)

    def is_done(self, scope: str, snapshot: Update) -> bool:
        return self.ended is not None or (scope in self.parts and self.parts[scope].equals(snapshot))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def feeding(client: FakeEtcd, idle: float = 0.01) -> AsyncIterator[Feed]:
    feed = Feed(client, idle=idle)
    feed.start()
    try:
        yield feed
    finally:
        await feed.close()


async def soon(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():
            await asyncio.sleep(0.002)


def put(etcd: FakeCluster, key: str, record: codec.Record, lease: int = 0) -> int:
    revision = etcd.transact([], [PutKey(key, codec.encode(record), lease)])
    assert revision is not None
    return revision


def put_network(etcd: FakeCluster, at: int = 0, **fields: object) -> int:
    made = network(at, **fields)
    return put(etcd, codec.network_key(made.id), made)


def put_peer(etcd: FakeCluster, at: int, network_at: int = 0, owner: int = 0) -> int:
    made = peer(node(owner), f"n{network_at}", at, f"10.{network_at}.0.{at}/24")
    return put(etcd, codec.endpoint_key(made.network, made.id), made)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("peer"), st.integers(0, 12), st.integers(0, 1)),
        st.tuples(st.just("drop peer"), st.integers(0, 12), st.integers(0, 1)),
        st.tuples(st.sampled_from(["net", "node", "drop node", "alive", "drop alive"]), st.integers(2, 5), st.just(0)),
        st.tuples(st.sampled_from(["carry", "drop"]), st.integers(0, 1), st.just(0)),
        st.tuples(st.sampled_from(["cut", "compact", "away", "back", "pause", "progress"]), st.just(0), st.just(0)),
    ),
    max_size=40,
)


async def play(etcd: FakeCluster, client: FakeEtcd, step: tuple[str, int, int]) -> None:
    what, at, where = step
    match what:
        case "peer":
            put_peer(etcd, at, where, owner=at % 3)
        case "drop peer":
            etcd.transact([], [DeleteKey(codec.endpoint_key(f"n{where}", f"{at:064x}"))])
        case "net":
            put_network(etcd, at, labels={"revision": str(etcd.revision)})
        case "node":
            put(etcd, codec.node_key(node(at).id), node(at, updated=etcd.revision))
        case "drop node":
            etcd.transact([], [DeleteKey(codec.node_key(node(at).id))])
        case "alive":
            put(etcd, codec.alive_key(node(at).id), Alive(node(at).id, problem=str(etcd.revision)))
        case "drop alive":
            etcd.transact([], [DeleteKey(codec.alive_key(node(at).id))])
        case "cut":
            client.cut_watches()
        case "compact":
            client.cut_watches()
            etcd.compact()
        case "away" | "back":
            client.away = what == "away"
        case "progress":
            etcd.progress()
        case "pause":
            for _ in range(5):
                await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_copy_and_watchers_are_what_etcd_has(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        etcd = FakeCluster()
        client = etcd.client()
        put_network(etcd, 0)
        put_network(etcd, 1)
        async with feeding(client) as feed:
            follow = Follow(feed, "base", "n0")
            for step in steps:
                if step[0] == "carry":
                    follow.scopes.subscribe(f"n{step[1]}")
                elif step[0] == "drop":
                    follow.scopes.unsubscribe(f"n{step[1]}")
                else:
                    await play(etcd, client, step)
            client.away = False
            await feed.until(lambda state: state.revision >= last_change(etcd), WITHIN)
            truth = State(etcd.revision, etcd.read_all(codec.PREFIX))
            for scope in follow.scopes:
                mine, theirs = Rebuilt(), Rebuilt()
                mine.take(feed.state.snapshot(scope))
                theirs.take(truth.snapshot(scope))
                assert mine.kept == theirs.kept
                await soon(lambda scope=scope: follow.is_done(scope, feed.state.snapshot(scope)))  # type: ignore[misc]
                assert (follow.ended, follow.gone) == (None, [])
            await follow.close()
            assert (feed._watchers, feed._streams) == ({}, set())

    asyncio.run(run())


def last_change(etcd: FakeCluster) -> int:
    """Of a key that is there, or the newest deletion that the history still has."""
    return max([item.modified for item in etcd.read_all("")] + [each.revision for each in etcd.since(0, "")])


def watching(state: State, *scopes: str, most: int = 4096) -> tuple[Watcher, AsyncGenerator[Update, None]]:
    async def confirm(scope: str) -> None:
        raise AssertionError(scope)

    watcher = Watcher(Source(state.snapshot, merge, lambda: state.revision, confirm), idle=5, most=most)
    for scope in scopes:
        watcher.begin(scope)
    return watcher, watcher.updates()


async def test_the_largest_scope_of_a_slow_watcher_begins_anew_and_the_others_go_on() -> None:
    state = State()
    watcher, stream = watching(state, "n0", "n1", most=10)
    await anext(stream)
    await anext(stream)
    etcd = FakeCluster()
    put_peer(etcd, 99, network_at=1)
    for at in range(40):
        put_peer(etcd, at)
    for each in etcd.since(0, ""):
        for update in state.apply(each.revision, each.items).values():
            watcher.push(update)
    told = {update.scope: update for update in (await anext(stream), await anext(stream))}
    assert (told["n1"].snapshot, [p.id for p in told["n1"].peers]) == (False, [f"{99:064x}"])
    assert (told["n0"].snapshot, len(told["n0"].peers)) == (True, 40)


async def test_a_slow_watcher_gets_a_snapshot_and_no_endless_queue() -> None:
    state = State()
    watcher, stream = watching(state, "n0", most=10)
    assert (await anext(stream)).snapshot
    etcd = FakeCluster()
    for at in range(40):
        put_peer(etcd, at)
    for each in etcd.since(0, ""):
        for update in state.apply(each.revision, each.items).values():
            watcher.push(update)
    update = await anext(stream)
    assert update.snapshot
    assert len(update.peers) == 40


async def test_changes_that_wait_together_are_told_as_one() -> None:
    state = State()
    watcher, stream = watching(state, "n0")
    await anext(stream)
    etcd = FakeCluster()
    for at in (1, 2, 1):
        put_peer(etcd, at)
    etcd.transact([], [DeleteKey(codec.endpoint_key("n0", f"{2:064x}"))])
    for each in etcd.since(0, ""):
        for update in state.apply(each.revision, each.items).values():
            watcher.push(update)
    update = await anext(stream)
    assert [p.id for p in update.peers] == [f"{1:064x}"]
    assert update.gone_peers == (f"{2:064x}",)
    assert (update.snapshot, update.revision) == (False, etcd.revision)


async def test_progress_is_told_to_watchers_without_news() -> None:
    etcd = FakeCluster()
    put_network(etcd, 0)
    async with feeding(etcd.client()) as feed:
        stream = feed.watch(Scopes("n0"))
        first = await anext(stream)
        assert await asyncio.wait_for(anext(stream), WITHIN) == Update(first.revision)
        put_network(etcd, 3)
        await feed.wait(etcd.revision)
        assert await asyncio.wait_for(anext(stream), WITHIN) == Update(etcd.revision)


async def test_a_network_of_the_copys_future_is_waited_for_and_an_unknown_one_is_not_found() -> None:
    etcd = FakeCluster()
    async with feeding(etcd.client()) as feed:
        await feed.until(lambda _: True)
        put_network(etcd, 7)
        assert feed.state.networks.get("n7") is None
        follow = Follow(feed, "n7")
        await soon(lambda: "n7" in follow.parts)
        for unknown in ("nosuch", "", "x" * 10_000):
            follow.scopes.subscribe(unknown)
            await soon(lambda unknown=unknown: unknown in follow.gone)  # type: ignore[misc]
        assert list(feed._watchers) == ["n7"]
        await follow.close()


async def test_a_scope_that_cannot_be_told_yet_holds_up_no_other() -> None:
    etcd = FakeCluster()
    client = etcd.client()
    put_network(etcd, 0)
    async with feeding(client) as feed:
        follow = Follow(feed, "n0")
        await soon(lambda: "n0" in follow.parts)
        client.away = True
        follow.scopes.subscribe("n9")
        follow.scopes.subscribe("base")
        await soon(lambda: "base" in follow.parts)
        assert (follow.gone, follow.ended) == ([], None)
        client.away = False
        put_network(etcd, 9)
        put_peer(etcd, 5, network_at=9)
        await soon(lambda: follow.is_done("n9", feed.state.snapshot("n9")) and len(feed.state.peers) == 1)
        assert follow.ended is None
        await follow.close()


@pytest.mark.parametrize("compacted", [False, True])
async def test_a_networks_stream_ends_with_the_network(compacted: bool) -> None:
    etcd = FakeCluster()
    client = etcd.client()
    put_network(etcd, 0)
    async with feeding(client) as feed:
        follow = Follow(feed, "base", "n0")
        await soon(lambda: len(follow.parts) == 2)
        if compacted:
            client.cut_watches()
        etcd.transact([], [DeleteKey(codec.network_key("n0"))])
        if compacted:
            put_network(etcd, 1)
            etcd.compact()
        await soon(lambda: follow.gone == ["n0"] and follow.is_done("base", feed.state.snapshot("base")))
        assert follow.ended is None
        await follow.close()


async def test_streams_end_when_the_manager_stops_and_leave_nothing() -> None:
    etcd = FakeCluster()
    feed = Feed(etcd.client())
    feed.start()
    follow = Follow(feed, "base")
    await soon(lambda: "base" in follow.parts)
    await feed.close()
    await soon(lambda: isinstance(follow.ended, Unavailable))
    assert (feed._watchers, feed._streams) == ({}, set())


async def test_waiting_for_what_does_not_come_is_unavailable() -> None:
    etcd = FakeCluster()
    client = etcd.client()
    client.away = True
    async with feeding(client) as feed:
        with pytest.raises(Unavailable, match="no member answers"):
            await feed.wait(1, 0.05)
        client.away = False
        put_network(etcd, 0)
        await feed.until(lambda state: len(state.networks) == 1)
        with pytest.raises(Unavailable, match="its copy of the cluster is at revision"):
            await feed.wait(10**6, 0.05)


async def test_a_report_without_news_is_not_told_to_every_node() -> None:
    etcd = FakeCluster()
    async with feeding(etcd.client(), idle=60) as feed:
        stream = feed.watch(Scopes("base"))
        await anext(stream)
        key = codec.alive_key("a")
        put(etcd, key, Alive("a", revision=1))
        assert (await anext(stream)).alive == (Alive("a", revision=1),)
        put(etcd, key, Alive("a", revision=2))
        put(etcd, key, Alive("a", revision=3, problem="cut off"))
        assert (await anext(stream)).alive == (Alive("a", revision=3, problem="cut off"),)
        etcd.transact([], [DeleteKey(key)])
        assert (await anext(stream)).gone_alive == ("a",)


def test_a_broken_record_is_named_and_the_rest_is_read() -> None:
    etcd = FakeCluster()
    put_network(etcd, 0)
    broken = {
        codec.network_key("n1"): b"nonsense",
        codec.network_key("n2"): codec.encode(network(2, pools=(Pool("nonsense"),))),
        codec.network_key("n3"): b'{"v": 2, "record": {}}',
        codec.endpoint_key("n0", "e"): codec.encode(peer(node(0), "n0", 1, "nonsense")),
    }
    etcd.transact([], [PutKey(key, value) for key, value in broken.items()])
    etcd.transact([], [PutKey("/towline/v1/later/x", b"what a later release writes")])
    state = State(etcd.revision, etcd.read_all(codec.PREFIX))
    assert state.unreadable.keys() == broken.keys()
    assert [n.id for n in state.networks.all()] == ["n0"]
    for key in broken:
        etcd.transact([], [DeleteKey(key)])
    for each in etcd.since(0, ""):
        state.apply(each.revision, each.items)
    assert state.unreadable == {}


def test_a_record_comes_back_as_it_was() -> None:
    made = network(0)
    key = codec.network_key(made.id)
    assert codec.decode(key, codec.encode(made)) == made
    with pytest.raises(StoreError, match=r"encoding version 7, this release reads \[1\]"):
        codec.decode(key, b'{"v": 7, "record": {}}')
    with pytest.raises(StoreCorrupt, match="cannot be decoded"):
        codec.decode(key, b'{"v": 1, "record": {"id": 5}}')


def test_merging_keeps_the_last_word() -> None:
    one, two = network(1), network(1, name="other")
    merged = merge([Update(1, networks=(one,)), Update(2, gone_networks=("n1",)), Update(3, networks=(two,))])
    assert (merged.networks, merged.gone_networks, merged.revision) == ((two,), (), 3)


def test_merging_what_follows_a_snapshot_is_a_snapshot() -> None:
    one, two, three = network(1), network(2), network(3)
    merged = merge(
        [
            Update(1, networks=(three,)),
            Update(2, snapshot=True, networks=(one, two)),
            Update(3, gone_networks=("n1",)),
            Update(4, scope="base", networks=(three,)),
        ]
    )
    assert merged == Update(4, snapshot=True, networks=(two, three))


async def test_what_many_watchers_are_told_is_one_object() -> None:
    etcd = FakeCluster()
    put_network(etcd, 0)
    async with feeding(etcd.client(), idle=60) as feed:
        streams = [feed.watch(Scopes("n0")) for _ in range(3)]
        first = [await anext(stream) for stream in streams]
        assert all(update is first[0] for update in first)
        for at in (1, 2, 3):
            put_peer(etcd, at)
        await feed.wait(etcd.revision)
        second = [await anext(stream) for stream in streams]
        assert len(second[0].peers) == 3
        assert all(update is second[0] for update in second)
        assert (await anext(feed.watch(Scopes("n0")))).peers == second[0].peers
        for stream in streams:
            await stream.aclose()
