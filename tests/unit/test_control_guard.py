"""An interface is guarded for as long as it is plugged in, whatever happens on the way."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.engine import World, running
from towline.control.controller import Controller
from towline.kernel.contract import NftChange
from towline.model.desired import Interface
from towline.model.endpoint import EndpointConfig
from towline.model.errors import KernelError
from towline.model.requests import CreateNetwork, CreateSandbox, PoolRequest
from towline.model.sandbox import PortBinding

WEB = CreateNetwork("web", pools=(PoolRequest("10.9.0.0/24"),))
ASKED = CreateSandbox(
    name="c1",
    networks={"web": EndpointConfig()},
    command=("sleep", "1"),
    ports=(PortBinding(80, host_port=8080),),
)


class Watched(World):
    """Looks at rules and links whenever one of them has changed: an unguarded port is noted. commits: since the last
    look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.unguarded: list[str] = []
        self.commits = 0
        commit, join = self.nft.commit, self.sandboxes.join

        def committed(changes: Sequence[NftChange]) -> None:
            self.commits += 1
            commit(changes)
            self.look()

        def joined(path: str, interface: Interface) -> None:
            join(path, interface)
            self.look()

        self.nft.commit = committed  # type: ignore[method-assign]
        self.sandboxes.join = joined  # type: ignore[method-assign]

    def members(self, family: str, name: str) -> set[str]:
        table = next((t for t in self.nft.tables if t.family == family), None)
        found = self.nft.tables[table].elements[name] if table else {}
        return {key[:16].rstrip(b"\0").decode(errors="replace") for key in found}

    def look(self) -> None:
        ports = {name for name, link in self.links.links.items() if name.startswith("veth") and link.up}
        self.unguarded += sorted(ports - self.members("bridge", "guarded"))


@pytest.fixture
def world() -> Watched:
    return Watched()


@pytest.fixture
async def engine(world: Watched) -> AsyncIterator[Controller]:
    async with running(world) as engine:
        await engine.create_network(WEB)
        await engine.create_network(CreateNetwork("aa", pools=(PoolRequest("10.10.0.0/24"),)))
        await engine.create_sandbox(ASKED)
        yield engine


async def test_from_start_to_stop_in_one_transaction_each(world: Watched, engine: Controller) -> None:
    steps = (
        lambda: engine.start_sandbox("c1"),
        lambda: engine.connect("aa", "c1", EndpointConfig(gw_priority=1)),
        lambda: engine.disconnect("web", "c1", force=False),
        lambda: engine.stop_sandbox("c1"),
    )
    for step, plugs in zip(steps, (1, 2, 1, 0), strict=True):
        world.commits = 0
        await step()
        assert world.commits == 1
        assert len(world.members("bridge", "guarded")) == plugs
    assert world.unguarded == []
    assert list(await engine.diagnose()) == []


async def test_refused_rules_mean_that_nothing_was_plugged_in(world: Watched, engine: Controller) -> None:
    world.nft.faults.fail("commit", errno.ENOSPC)
    with pytest.raises(KernelError):
        await engine.start_sandbox("c1")
    assert world.sandboxes.namespaces == {}
    assert world.members("bridge", "guarded") == set()
    assert list(await engine.diagnose()) == []


async def test_the_rules_of_a_refused_join_are_taken_back(world: Watched, engine: Controller) -> None:
    world.sandboxes.faults.fail("set_defaults", errno.ENOMEM)
    with pytest.raises(KernelError):
        await engine.start_sandbox("c1")
    assert (world.members("bridge", "guarded"), world.members("inet", "dnat4_any")) == (set(), set())
    assert world.unguarded == []


async def test_ports_that_moved_come_back_with_a_refused_join(world: Watched, engine: Controller) -> None:
    """The new network would have taken them over."""
    await engine.start_sandbox("c1")
    table = next(t for t in world.nft.tables if t.family == "inet")
    before = dict(world.nft.tables[table].elements["dnat4_any"])
    assert before
    world.sandboxes.faults.fail("join", errno.ENOMEM)
    with pytest.raises(KernelError):
        await engine.connect("aa", "c1", EndpointConfig(gw_priority=1))
    assert world.nft.tables[table].elements["dnat4_any"] == before
    assert list(await engine.diagnose()) == []


async def test_a_port_that_can_only_be_set_down_loses_its_guard_after_that(world: Watched, engine: Controller) -> None:
    await engine.start_sandbox("c1")
    world.sandboxes.faults.fail("leave", errno.EBUSY)
    await engine.disconnect("web", "c1", force=False)
    assert world.unguarded == []


async def test_a_port_that_stays_up_keeps_its_guard(world: Watched, engine: Controller) -> None:
    """Until reconcile takes both away; its published ports lead nowhere at once."""
    await engine.start_sandbox("c1")
    world.sandboxes.faults.fail("leave", errno.EBUSY)
    world.links.faults.fail("silence", errno.EBUSY)
    await engine.disconnect("web", "c1", force=False)
    assert world.unguarded == []
    assert world.members("inet", "dnat4_any") == set()
