"""The engine over fakes: changes and their undo, batches, deferred removal."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from tests.support.engine import World, running
from towline.control.work import Work
from towline.control.writer import Writer
from towline.drivers.bridge import NAME
from towline.kernel.contract import Drift, HostRoute
from towline.model.desired import Bridge
from towline.model.errors import Conflict, Failure, Forbidden, KernelError, NotFound, StoreError, TowlineError
from towline.model.info import Counters
from towline.model.requests import CreateNetwork, PoolRequest

PREDEFINED = {"bridge", "host", "none"}


def with_subnet(name: str, subnet: str = "10.9.0.0/24", **fields: object) -> CreateNetwork:
    return CreateNetwork(name, pools=(PoolRequest(subnet),), **fields)  # type: ignore[arg-type]


async def test_first_start_makes_the_predefined_networks() -> None:
    world = World()
    async with running(world) as engine:
        assert [n.name for n in engine.networks()] == ["host", "none", "bridge"]
        assert world.ours() == {"docker0"} == world.bridges()
        assert list(await engine.diagnose()) == []
        assert engine.events.past(0, None) == []


async def test_docker0_of_another_engine_is_left_alone() -> None:
    world = World()
    theirs = world.links.add_foreign("docker0", "bridge", ("172.17.0.1/16",))
    async with running(world) as engine:
        assert world.links.links["docker0"] == theirs
        assert world.ours() == {"towline0"}
        bridge = engine.network_named("bridge")
        assert bridge is not None
        assert bridge.options[NAME] == "towline0"


async def test_create_and_remove() -> None:
    world = World()
    async with running(world) as engine:
        created = await engine.create_network(CreateNetwork("web"))
        network = engine.network(created.id)
        assert network is not None
        assert (network.phase, network.pools[0].subnet) == ("ready", "10.0.1.0/24")
        link = world.links.links[network.link]
        assert (link.up, link.addresses) == (True, ("10.0.1.1/24",))
        assert world.bridges() == {"docker0", network.link}
        await engine.remove_network("web", wait=True)
        assert engine.network(created.id) is None
        assert network.link not in world.links.links
        assert world.bridges() == {"docker0"}
        events = [(e.action, e.actor, e.attributes) for e in engine.events.past(0, None)]
        about = {"name": "web", "type": "bridge"}
        assert events == [("create", created.id, about), ("destroy", created.id, about)]
        again = await engine.create_network(CreateNetwork("web"))
        assert engine.network(again.id).pools[0].subnet == "10.0.1.0/24"  # type: ignore[union-attr]


PARTS = ("configure", "set_mtu", "add_address")  # by contract none of these answers EEXIST
REFUSALS = [
    (verb, code)
    for verb in ("create_bridges", *PARTS, "add_elements", "commit")
    for code in (errno.EBUSY, errno.EEXIST, errno.ENOBUFS, errno.ENOSPC, errno.EPERM)
    if not (verb in PARTS and code == errno.EEXIST)
]


@pytest.mark.parametrize(("verb", "code"), REFUSALS)
async def test_a_refusing_kernel_leaves_nothing_behind(verb: str, code: int) -> None:
    world = World()
    async with running(world) as engine:
        faults = world.nft.faults if verb in ("add_elements", "commit") else world.links.faults
        faults.fail(verb, code)
        request = with_subnet("web", options={"com.docker.network.driver.mtu": "1400"})
        with pytest.raises(KernelError):
            await engine.create_network(request)
        assert set(world.stored()) == PREDEFINED
        await asyncio.wait_for(gone(world), 5)
        assert world.bridges() == {"docker0"}
        assert list(await engine.diagnose()) == []
        await engine.create_network(request)
        assert engine.counters.failed == 1


async def gone(world: World) -> None:
    """Until only the default bridge is left of ours."""
    while set(world.links.links) != {"docker0"}:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("fault", ["disk-full", "read-only", "io-error"])
async def test_a_failing_store_changes_nothing(fault: str) -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(with_subnet("old", "10.8.0.0/24"))
        world.store.fail_until_healed(fault)  # type: ignore[arg-type]
        before = dict(world.links.links)
        with pytest.raises(StoreError):
            await engine.create_network(with_subnet("web"))
        with pytest.raises(StoreError):
            await engine.remove_network("old")
        assert world.links.links == before
        assert {n.name for n in engine.networks()} == PREDEFINED | {"old"}
        world.store.heal()
        await engine.create_network(with_subnet("web"))
        await engine.remove_network("old", wait=True)
        assert list(await engine.diagnose()) == []


async def test_an_intent_that_cannot_be_taken_back_goes_with_the_next_commit() -> None:
    world = World()
    async with running(world) as engine:
        world.links.faults.fail("create_bridges", errno.EPERM)
        world.store.fail(world.store.updates + 2, "disk-full")
        with pytest.raises(KernelError):
            await engine.create_network(with_subnet("web"))
        assert set(world.stored()) == PREDEFINED
        await engine.create_network(with_subnet("web"))


async def test_fifty_clients_want_one_name() -> None:
    async with running(World()) as engine:
        wanted = (engine.create_network(CreateNetwork("web")) for _ in range(50))
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        kinds = Counter(type(outcome).__name__ for outcome in outcomes)
        assert kinds == {"Created": 1, "Conflict": 49}
        assert {str(o) for o in outcomes if isinstance(o, Conflict)} == {"network with name web already exists"}
        assert engine.counters.batches <= 6


async def test_one_bad_request_fails_alone() -> None:
    """Ten creates share a batch; the transaction is refused because of one of them."""
    world = World()
    async with running(world) as engine:
        world.nft.faults.fail("commit", errno.ENOSPC)
        world.nft.faults.fail("commit", errno.ENOSPC, nth=3)  # alone: the third work of the batch
        wanted = (engine.create_network(CreateNetwork(f"n{i}")) for i in range(10))
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        assert [isinstance(o, KernelError) for o in outcomes] == [i == 2 for i in range(10)]
        assert engine.counters.batches == 4  # three for the predefined networks
        assert {n.name for n in engine.networks()} == PREDEFINED | {f"n{i}" for i in range(10)} - {"n2"}
        assert list(await engine.diagnose()) == []


async def test_a_batch_that_the_store_refuses_is_applied_one_by_one() -> None:
    world = World()
    async with running(world) as engine:
        world.store.fail(world.store.updates + 1, "io-error")
        outcomes = await asyncio.gather(*(engine.create_network(CreateNetwork(f"n{i}")) for i in range(5)))
        assert len(outcomes) == 5


async def test_a_client_that_goes_away_leaves_the_whole_object() -> None:
    world = World()
    async with running(world) as engine:
        task = asyncio.ensure_future(engine.create_network(CreateNetwork("web")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.create_network(CreateNetwork("after"))
        assert {n.name for n in engine.networks()} == PREDEFINED | {"web", "after"}
        assert list(await engine.diagnose()) == []


async def test_plans_of_one_batch_see_each_other() -> None:
    """Same bridge name, same explicit subnet: the second is refused though nothing is committed yet."""
    async with running(World()) as engine:
        outcomes = await asyncio.gather(
            engine.create_network(CreateNetwork("a", options={NAME: "web0"})),
            engine.create_network(CreateNetwork("b", options={NAME: "web0"})),
            engine.create_network(with_subnet("c")),
            engine.create_network(with_subnet("d")),
            return_exceptions=True,
        )
        assert [type(o).__name__ for o in outcomes] == ["Created", "Forbidden", "Created", "PoolOverlap"]
        assert str(outcomes[1]).endswith("networks have same bridge name")


async def test_a_name_that_waits_to_be_unlinked_can_be_used_again() -> None:
    world = World()
    async with running(world) as engine:
        request = CreateNetwork("web", options={NAME: "web0"})
        for _ in range(3):
            created = await engine.create_network(request)
            assert world.links.links["web0"].alias == f"towline:network:{created.id}"
            await engine.remove_network("web")
        await engine.create_network(request)
        assert world.links.links["web0"].up
        assert list(await engine.diagnose()) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("veth", "^existing interface web0 is not a bridge$"),
        ("bridge", "^bridge web0 exists on this host and belongs to no network here: delete it, or choose another"),
    ],
)
async def test_a_foreign_link_of_that_name_is_refused_and_untouched(kind: str, text: str) -> None:
    world = World()
    theirs = world.links.add_foreign("web0", kind)
    async with running(world) as engine:
        with pytest.raises(Failure, match=text):
            await engine.create_network(CreateNetwork("web", options={NAME: "web0"}))
        assert world.links.links["web0"] == theirs
        assert set(world.stored()) == PREDEFINED


async def test_prune_removes_what_is_idle_and_not_kept() -> None:
    world = World()
    async with running(world) as engine:
        for name in ("a", "b", "kept"):
            await engine.create_network(CreateNetwork(name))
        await engine.create_network(CreateNetwork("cfg", config_only=True))
        first = asyncio.ensure_future(engine.prune_networks(lambda n: n.name == "kept", wait=True))
        await asyncio.sleep(0)
        with pytest.raises(Conflict, match="a prune operation is already running"):
            await engine.prune_networks(lambda n: False)
        assert sorted(await first) == ["a", "b"]
        assert {n.name for n in engine.networks()} == PREDEFINED | {"kept", "cfg"}
        assert [e.action for e in engine.events.past(0, None)][-1] == "prune"


@pytest.mark.parametrize(
    ("container", "force", "text"),
    [
        ("", False, 'invalid name or ID supplied: ""'),
        ("nope", False, "No such container: nope"),
        ("nope", True, "endpoint nope not found"),
    ],
)
async def test_nothing_to_connect_yet(container: str, force: bool, text: str) -> None:
    async with running(World()) as engine:
        with pytest.raises(TowlineError) as caught:
            await engine.disconnect("web", container, force=force)
        assert str(caught.value) == text
        if not force:
            with pytest.raises(TowlineError) as caught:
                await engine.connect("web", container)
            assert str(caught.value) == text


async def test_automatic_pools_avoid_the_hosts_prefixes() -> None:
    world = World()
    world.links.extra_routes.append(HostRoute("10.0.1.0/24", 2))
    async with running(world) as engine:
        first = await engine.create_network(CreateNetwork("a"))
        assert engine.network(first.id).pools[0].subnet == "10.0.2.0/24"  # type: ignore[union-attr]
        world.links.extra_routes.append(HostRoute("10.0.3.0/25", 2))
        world.monitor.push(Drift("routes"))
        while world.monitor._waiting:
            await asyncio.sleep(0)
        second = await engine.create_network(CreateNetwork("b"))
        assert engine.network(second.id).pools[0].subnet == "10.0.4.0/24"  # type: ignore[union-attr]


async def test_errors_of_resolution() -> None:
    async with running(World()) as engine:
        with pytest.raises(NotFound, match="^network nope not found$"):
            await engine.remove_network("nope")
        with pytest.raises(Forbidden, match="^bridge is a pre-defined network and cannot be removed$"):
            await engine.remove_network("bridge")


async def test_a_send_that_fails_as_a_whole_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb raises instead of answering per link, with and without having made them."""
    world = World()
    async with running(world) as engine:
        real = world.links.create_bridges
        for does_it_first in (False, True):

            def lost(bridges: Sequence[Bridge], first: bool = does_it_first) -> list[KernelError | None]:
                if first:
                    real(bridges)
                raise KernelError(errno.ENOBUFS, "create bridges")

            monkeypatch.setattr(world.links, "create_bridges", lost)
            wanted = (engine.create_network(with_subnet(f"n{i}", f"10.9.{i}.0/24")) for i in range(3))
            outcomes = await asyncio.gather(*wanted, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {KernelError}
            monkeypatch.setattr(world.links, "create_bridges", real)
            await asyncio.wait_for(gone(world), 5)
            assert set(world.stored()) == PREDEFINED
        await engine.create_network(with_subnet("n0", "10.9.0.0/24"))
        assert list(await engine.diagnose()) == []


async def test_an_error_of_our_own_in_a_batch_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with running(world) as engine:

        def broken(changes: object) -> None:
            raise ZeroDivisionError("a bug")

        real = world.nft.commit
        monkeypatch.setattr(world.nft, "commit", broken)
        with pytest.raises(Failure, match="internal error: ZeroDivisionError: a bug"):
            await engine.create_network(with_subnet("web"))
        monkeypatch.setattr(world.nft, "commit", real)
        await asyncio.wait_for(gone(world), 5)
        assert set(world.stored()) == PREDEFINED
        await engine.create_network(with_subnet("web"))
        assert list(await engine.diagnose()) == []


async def test_the_writer_outlives_an_error_at_the_end_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with running(world) as engine:
        real = world.store.note
        monkeypatch.setattr(world.store, "note", broken_note)
        with pytest.raises(ZeroDivisionError):
            await engine.create_network(CreateNetwork("web"))
        monkeypatch.setattr(world.store, "note", real)
        await engine.create_network(CreateNetwork("after"))


def broken_note(changes: object) -> None:
    raise ZeroDivisionError("a bug")


async def test_a_writer_that_dies_ends_the_process() -> None:
    dead: list[BaseException] = []
    broken = Mock(apply=Mock(side_effect=ZeroDivisionError("a bug")))
    writer = Writer(World().store.view(), broken, Counters(), died=dead.append)
    writer.start()
    waiting = asyncio.ensure_future(writer.submit(lambda view: Work(changes=[])))
    while not dead:
        await asyncio.sleep(0)
    assert isinstance(dead[0], ZeroDivisionError)
    waiting.cancel()


async def test_an_unreadable_host_stays_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with running(world) as engine:
        world.monitor.push(Drift("routes"))
        while world.monitor._waiting:
            await asyncio.sleep(0)

        def unreadable() -> list[HostRoute]:
            raise KernelError(errno.ENOBUFS, "list routes")

        with monkeypatch.context() as patch:
            patch.setattr(world.links, "routes", unreadable)
            await engine.create_network(with_subnet("explicit"))
            with pytest.raises(KernelError):
                await engine.create_network(CreateNetwork("automatic"))
        world.links.extra_routes.append(HostRoute("10.0.1.0/24", 2))
        created = await engine.create_network(CreateNetwork("automatic"))
        assert engine.network(created.id).pools[0].subnet == "10.0.2.0/24"  # type: ignore[union-attr]


async def test_links_do_not_wait_for_ever_for_a_quiet_writer() -> None:
    """One create after the other, for longer than patience lasts."""
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("old"))
        link = engine.network_named("old").link  # type: ignore[union-attr]
        await engine.remove_network("old")
        async with asyncio.timeout(10):
            while link in world.links.links:
                await engine.create_network(CreateNetwork("busy", config_only=True))
                await engine.remove_network("busy")


async def test_what_one_batch_makes_and_removes_stays_removed() -> None:
    world = World()
    async with running(world) as engine:
        before = engine.counters.batches
        pool = (PoolRequest(subnet="10.5.0.0/24"),)
        await asyncio.gather(
            engine.create_network(CreateNetwork("web", pools=pool)), engine.remove_network("web", wait=True)
        )
        assert engine.counters.batches == before + 1
        assert world.store.view().network_named("web") is None
        assert list(await engine.diagnose()) == []
        await engine.create_network(CreateNetwork("web2", pools=pool))
