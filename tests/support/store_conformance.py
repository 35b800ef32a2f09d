"""What every backend of `store.contract.Store` must do. `CASES` are run by name against each of them; `check_history`
compares a backend with a naive model over any history of updates and notes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.errors import RevisionConflict
from towline.model.network import Network, Pool
from towline.model.service import Service, VirtualIP
from towline.store.contract import Change, Delete, Put, SetMeta, Store
from towline.store.feed import KEPT_UPDATES

Case = Callable[[Store], None]


def network(number: int, *, name: str = "", link: str = "", config: str = "") -> Network:
    return Network(
        id=f"{number:064x}",
        name=name or f"net-{number}",
        created=1_700_000_000_000_000_000 + number,
        driver="bridge",
        pools=(Pool(f"10.{number >> 8 & 255}.{number & 255}.0/24", aux={"printer": "10.0.0.9"}),),
        labels={"é": 'quote" and \\ and \0'},
        config_from=config,
        link=link,
    )


def endpoint(number: int, of: Network, ifname: str = "") -> Endpoint:
    """ifname: "" while it is not plugged in."""
    mac, address = "02:42:0a:00:00:02", "10.0.0.2/24"
    return Endpoint(id=f"e{number}", name=f"end-{number}", network=of.id, mac=mac, ipv4=address, ifname=ifname)


def peer(number: int, network_id: str) -> Peer:
    """Two of them share an address."""
    return Peer(
        id=f"p{number}",
        network=network_id,
        node="n2",
        vtep="192.0.2.2",
        mac=f"02:00:00:00:00:0{number}",
        ipv4=f"10.0.0.{number // 2}/24",
    )


def service(number: int, *network_ids: str, name: str = "") -> Service:
    vips = tuple(VirtualIP(network_id, f"10.0.0.{100 + number}/24") for network_id in network_ids[1:])
    return Service(id=f"s{number}", name=name or f"svc-{number}", created=number, networks=network_ids[:1], vips=vips)


def block(number: int, network_id: str) -> Block:
    return Block(network=network_id, subnet="10.0.0.0/24", prefix=f"10.0.0.{number * 16}/28", node="n1")


def starts_empty(store: Store) -> None:
    view = store.view()
    assert (view.revision, list(view.networks())) == (0, [])
    assert view.network("x") is None
    assert view.network_named("x") is None
    assert view.network_with_link("") is None
    assert view.endpoints_of("x") == ()
    assert view.dependants_of("") == ()
    assert (view.peer("x"), view.peers_of("x"), view.blocks_of("x"), list(view.blocks())) == (None, (), (), [])
    assert store.meta("x") is None


def update_answers_the_next_revision(store: Store) -> None:
    assert [store.update([Put(network(1))]), store.update([]), store.update([Put(network(2))], expect=2)] == [1, 2, 3]
    assert store.view().revision == 3


def finds_by_every_key(store: Store) -> None:
    first, second = network(1, link="br-1"), network(2, config="net-1")
    ends = endpoint(1, first), endpoint(2, first)
    store.update([Put(first), Put(second), Put(ends[0]), Put(ends[1]), SetMeta("daemon", "abc")])
    view = store.view()
    assert view.network(first.id) == first
    assert view.network_named("net-2") == second
    assert view.network_with_link("br-1") == first
    assert view.network_with_link("") is None
    assert view.endpoints_of(first.id) == ends
    assert view.dependants_of("net-1") == (second,)
    assert store.meta("daemon") == "abc"


def replacing_moves_the_keys_and_keeps_the_place(store: Store) -> None:
    store.update([Put(network(1, link="old", config="c")), Put(network(2))])
    changed = network(1, name="renamed", link="new", config="d")
    store.update([Put(changed)])
    view = store.view()
    assert [n.name for n in view.networks()] == ["renamed", "net-2"]
    assert [view.network_named("net-1"), view.network_with_link("old"), view.dependants_of("c")] == [None, None, ()]
    assert view.network_named("renamed") == view.network_with_link("new") == changed
    assert view.dependants_of("d") == (changed,)


def deleting_forgets_every_key_and_tolerates_absence(store: Store) -> None:
    gone = network(1, link="br-1", config="c")
    store.update([Put(gone), Put(endpoint(1, gone)), SetMeta("k", "v")])
    store.update([Delete(Endpoint, "e1"), Delete(Network, gone.id), SetMeta("k", None), SetMeta("absent", None)])
    store.update([Delete(Network, gone.id), Delete(Endpoint, "e1")])
    view = store.view()
    assert [view.network(gone.id), view.network_named("net-1"), view.network_with_link("br-1")] == [None] * 3
    assert (list(view.networks()), view.endpoints_of(gone.id), view.dependants_of("c")) == ([], (), ())
    assert store.meta("k") is None


def what_the_cluster_says_is_found_by_its_network(store: Store) -> None:
    peers, blocks = [peer(1, "a"), peer(2, "a"), peer(3, "b")], [block(0, "a"), block(1, "b")]
    store.update([*map(Put, peers), *map(Put, blocks)])
    view = store.view()
    assert (view.peers_of("a"), view.peers_of("b")) == (tuple(peers[:2]), (peers[2],))
    assert (view.blocks_of("a"), view.blocks_of("b"), list(view.blocks())) == ((blocks[0],), (blocks[1],), blocks)
    moved = msgspec.structs.replace(peers[0], network="b", vtep="192.0.2.3", epoch=2)
    store.update([Put(moved), Delete(Peer, "p3"), Delete(Peer, "absent"), Delete(Block, blocks[0].id)])
    assert (view.peer("p1"), view.peer("p3")) == (moved, None)
    assert (view.peers_of("a"), view.peers_of("b")) == ((peers[1],), (moved,))
    assert (view.blocks_of("a"), list(view.blocks())) == ((), [blocks[1]])


def services_by_name_and_network(store: Store) -> None:
    view = store.view()
    one, two = service(1, "a", "i"), service(2, "a", name="Two")
    store.update([Put(one), Put(two)])
    assert (view.service("s1"), view.service("x"), list(view.services())) == (one, None, [one, two])
    assert (view.service_named("tWO"), view.service_named("s1")) == (two, None)
    assert (view.services_on("a"), view.services_on("i"), view.services_on("b")) == ((one, two), (one,), ())
    moved = msgspec.structs.replace(one, name="else", networks=("b",), vips=())
    store.update([Put(moved), Delete(Service, "s2"), Delete(Service, "absent")])
    assert (view.services_on("a"), view.services_on("i"), view.services_on("b")) == ((), (), (moved,))
    assert (view.service_named("svc-1"), view.service_named("ELSE"), view.service_named("two")) == (None, moved, None)


def a_deleted_and_remade_network_is_the_youngest(store: Store) -> None:
    store.update([Put(network(1)), Put(network(2))])
    store.update([Delete(Network, network(1).id), Put(network(1))])
    assert [n.name for n in store.view().networks()] == ["net-2", "net-1"]


def a_shared_name_survives_one_of_its_holders(store: Store) -> None:
    store.update([Put(network(1, name="same")), Put(network(2, name="same"))])
    store.update([Delete(Network, network(1).id)])
    assert store.view().network_named("same") == network(2, name="same")


def a_lost_race_changes_nothing(store: Store) -> None:
    store.update([Put(network(1))])
    with pytest.raises(RevisionConflict, match="at revision 1, not 0"):
        store.update([Put(network(2))], expect=0)
    assert (store.view().revision, len(list(store.view().networks()))) == (1, 1)


def notes_show_at_once_and_keep_the_revision(store: Store) -> None:
    store.update([Put(network(1))])
    ready = msgspec.structs.replace(network(1), phase="ready")
    store.note([Put(ready)])
    assert store.view().network(ready.id) == ready
    assert store.update([], expect=1) == 2
    assert store.view().network(ready.id) == ready


def a_snapshot_of_networks_does_not_move(store: Store) -> None:
    store.update([Put(network(1))])
    before = store.view().networks()
    store.update([Put(network(2))])
    assert len(list(before)) == 1


def watchers_hear_everything_once_in_order(store: Store) -> None:
    heard: list[tuple[int, tuple[Change, ...]]] = []
    store.update([Put(network(1))])
    store.update([Put(network(2))])
    stop = store.watch(lambda revision, changes: heard.append((revision, tuple(changes))), since=1)
    assert heard == [(2, (Put(network(2)),))]
    store.note([SetMeta("k", "v")])
    store.update([Delete(Network, network(1).id)])
    assert heard[1:] == [(3, (SetMeta("k", "v"), Delete(Network, network(1).id)))]
    stop()
    stop()
    store.update([])
    assert len(heard) == 2


def watching_from_too_long_ago_is_refused(store: Store) -> None:
    for _ in range(KEPT_UPDATES + 1):
        store.update([])
    heard: list[int] = []
    store.watch(lambda revision, _: heard.append(revision), since=1)
    assert heard == list(range(2, KEPT_UPDATES + 2))
    for since in (0, KEPT_UPDATES + 2):
        with pytest.raises(RevisionConflict, match="read a view first"):
            store.watch(lambda *_: None, since=since)


def a_failing_watcher_hurts_nobody(store: Store) -> None:
    def fail(_: int, __: Sequence[Change]) -> None:
        raise RuntimeError("watcher")

    heard: list[int] = []
    store.watch(fail, since=0)
    store.watch(lambda revision, _: heard.append(revision), since=0)
    assert store.update([Put(network(1))]) == 1
    assert heard == [1]


def watching_from_another_thread_leaves_no_gap(store: Store) -> None:
    heard: list[list[int]] = [[] for _ in range(8)]

    def listen(mine: list[int]) -> None:
        store.watch(lambda revision, _: mine.append(revision), since=0)

    threads = [threading.Thread(target=listen, args=(mine,)) for mine in heard]
    for thread in threads:
        store.update([])
        thread.start()
        store.update([])
    for thread in threads:
        thread.join()
    assert heard == [list(range(1, 2 * len(threads) + 1))] * len(threads)


def readers_in_other_threads_never_see_a_broken_index(store: Store) -> None:
    config, done, failures = network(0), threading.Event(), list[BaseException]()
    store.update([Put(config)])

    def read() -> None:
        view = store.view()
        try:
            while not done.is_set():
                assert all(n.driver == "bridge" for n in view.networks())
                assert all(e.network == config.id for e in view.endpoints_of(config.id))
                assert all(n.config_from == "net-0" for n in view.dependants_of("net-0"))
                assert view.network_named("net-0") is config
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in readers:
            thread.start()
        for number in range(1, 300):
            made = network(number, config="net-0", link=f"br-{number}")
            store.update([Put(made), Put(endpoint(number, config))])
            if number % 3:
                store.update([Delete(Network, made.id), Delete(Endpoint, f"e{number}")])
    finally:
        done.set()
        for thread in readers:
            thread.join()
        sys.setswitchinterval(interval)
    assert failures == []


CASES: tuple[Case, ...] = (
    starts_empty,
    update_answers_the_next_revision,
    finds_by_every_key,
    replacing_moves_the_keys_and_keeps_the_place,
    deleting_forgets_every_key_and_tolerates_absence,
    what_the_cluster_says_is_found_by_its_network,
    services_by_name_and_network,
    a_deleted_and_remade_network_is_the_youngest,
    a_shared_name_survives_one_of_its_holders,
    a_lost_race_changes_nothing,
    notes_show_at_once_and_keep_the_revision,
    a_snapshot_of_networks_does_not_move,
    watchers_hear_everything_once_in_order,
    watching_from_too_long_ago_is_refused,
    a_failing_watcher_hurts_nobody,
    watching_from_another_thread_leaves_no_gap,
    readers_in_other_threads_never_see_a_broken_index,
)

Batch = tuple[str, list[Change]]
_numbers = st.integers(0, 4)
_networks = st.builds(
    network,
    _numbers,
    name=st.sampled_from(["a", "b", "c"]),
    link=st.sampled_from(["", "l", "m"]),
    config=st.sampled_from(["", "a", "b"]),
)
_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Put, _networks),
    st.builds(
        lambda number, of, ifname: Put(endpoint(number, network(of), ifname)),
        _numbers,
        st.integers(0, 1),
        st.sampled_from(["", "eth0"]),
    ),
    st.builds(lambda number: Delete(Network, network(number).id), _numbers),
    st.builds(lambda number: Delete(Endpoint, f"e{number}"), _numbers),
    st.builds(lambda number, of: Put(peer(number, network(of).id)), _numbers, st.integers(0, 1)),
    st.builds(lambda number: Delete(Peer, f"p{number}"), _numbers),
    st.builds(lambda number, of: Put(block(number, network(of).id)), _numbers, st.integers(0, 1)),
    st.builds(lambda number, of: Delete(Block, block(number, network(of).id).id), _numbers, st.integers(0, 1)),
    st.builds(SetMeta, st.sampled_from(["k", "l"]), st.sampled_from([None, "", "v"])),
)
HISTORIES: st.SearchStrategy[list[Batch]] = st.lists(
    st.tuples(st.sampled_from(["update", "note", "reopen"]), st.lists(_changes, max_size=4)), max_size=12
)


class Model:
    """The naive truth: dicts in order of creation, searched from end to end."""

    def __init__(self) -> None:
        self.records: dict[type, dict[str, Any]] = {Network: {}, Endpoint: {}, Peer: {}, Block: {}}
        self.meta: dict[str, str | None] = {}

    def apply(self, change: Change) -> None:
        match change:
            case Put(record=record):
                self.records[type(record)][record.id] = record
            case Delete(kind=kind, id=record_id):
                self.records[kind].pop(record_id, None)
            case SetMeta(key=key, value=value):
                self.meta[key] = value


def check_history(store: Store, history: Sequence[Batch], reopen: Callable[[Store], Store]) -> None:
    model, revision = Model(), 0
    for verb, changes in history:
        if verb == "note":
            store.note(changes)
        else:
            revision = store.update(changes, expect=revision)
        for change in changes:
            model.apply(change)
        if verb == "reopen":
            store = reopen(store)
        assert store.view().revision == revision
        _compare(store, model)


def _compare(store: Store, model: Model) -> None:
    view = store.view()
    networks = [n for n in model.records[Network].values() if isinstance(n, Network)]
    endpoints = [e for e in model.records[Endpoint].values() if isinstance(e, Endpoint)]
    assert list(view.networks()) == networks
    for number in range(5):
        sought = network(number).id
        assert view.network(sought) == model.records[Network].get(sought)
        here = {e.id: e for e in endpoints if e.network == sought}
        assert {e.id: e for e in view.endpoints_of(sought)} == here
        assert view.is_plugged(sought) == any(e.ifname for e in here.values())
        assert set(view.peers_of(sought)) == {p for p in model.records[Peer].values() if p.network == sought}
        assert view.blocks_of(sought) == tuple(b for b in model.records[Block].values() if b.network == sought)
        rivals = {f"p{n}" for n in (number, number ^ 1) if view.peer(f"p{n}") in view.peers_of(sought)}
        assert {found.id for found in view.rivals_of(peer(number, sought))} == rivals
        assert view.peer(f"p{number}") == model.records[Peer].get(f"p{number}")
    assert set(view.plugged()) == {e.network for e in endpoints if e.ifname}
    assert list(view.blocks()) == list(model.records[Block].values())
    for text in ("a", "b", "c", "l", "m"):
        assert _is_one_of(view.network_named(text), [n for n in networks if n.name == text])
        assert _is_one_of(view.network_with_link(text), [n for n in networks if n.link == text])
        found = {n.id for n in view.dependants_of(text)}
        assert found == {n.id for n in networks if n.config_from == text}
    assert [store.meta(key) for key in ("k", "l")] == [model.meta.get(key) for key in ("k", "l")]


def _is_one_of(found: Network | None, holders: list[Network]) -> bool:
    return found in holders if holders else found is None
