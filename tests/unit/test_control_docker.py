"""Docker's daemon in the same network namespace: whose is docker0?"""

from __future__ import annotations

import errno
import logging

import pytest

from tests.support.engine import World, running
from towline.control.controller import Controller
from towline.kernel.contract import Drift
from towline.model.network import Network
from towline.model.requests import CreateSandbox
from towline.model.ruleset import TableId

ALIAS = "towline:network:"


def docker_starts(world: World) -> None:
    """The traces that the real one leaves in the kernel, as far as we look at them."""
    world.nft.add_foreign(TableId("ip", "nat"), "DOCKER", policy="accept")


def default_bridge(engine: Controller) -> Network:
    found = engine.network_named("bridge")
    assert found is not None
    return found


async def problems(engine: Controller) -> list[str]:
    return [finding.problem for finding in await engine.diagnose()]


async def test_alone_it_is_ours() -> None:
    world = World()
    async with running(world) as engine:
        assert default_bridge(engine).link == "docker0"


@pytest.mark.parametrize(
    ("table", "chain"), [(TableId("ip", "filter"), "DOCKER"), (TableId("ip", "docker-bridges"), "filter-FORWARD")]
)
async def test_where_docker_was_before_us_the_name_is_left_to_it(table: TableId, chain: str) -> None:
    world = World()
    world.nft.add_foreign(table, chain)
    async with running(world) as engine:
        assert default_bridge(engine).link == "towline0"
        assert await problems(engine) == []


async def test_a_docker_that_starts_later_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    async with running(world) as engine:
        docker_starts(world)
        caplog.set_level(logging.WARNING, "towline.control.docker")
        for compared in (1, 2):
            world.monitor.push(Drift("rules", ""))
            while engine.counters.reconciles < compared:
                await engine.diagnose()
        (finding,) = await engine.diagnose()
        assert finding.object == "network bridge"
        subnet = default_bridge(engine).pools[0].subnet
        assert finding.problem == f"its bridge docker0 is Docker's too: both hand out addresses of {subnet} on it"
        assert finding.repair.startswith("restart towlined")
        await engine.repair()
        assert world.links.links["docker0"].alias.startswith(ALIAS)
    assert [record.getMessage() for record in caplog.records] == ["a bridge is shared with Docker"]


async def test_the_next_start_leaves_docker0_to_docker() -> None:
    world = World()
    async with running(world) as engine:
        first = default_bridge(engine)
    docker_starts(world)
    before = world.links.links["docker0"]
    async with running(world) as engine:
        second = default_bridge(engine)
        assert await problems(engine) == []
    left = world.links.links["docker0"]
    assert (left.alias, left.up, left.addresses) == ("", True, before.addresses)
    assert second.link == "towline0"
    assert second.pools[0].subnet != first.pools[0].subnet, "Docker has that"
    async with running(world) as engine:
        assert default_bridge(engine) == second


async def test_with_a_sandbox_on_it_it_stays_ours() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_sandbox(CreateSandbox("c1", command=("sleep", "1")))
        first = default_bridge(engine)
    docker_starts(world)
    async with running(world) as engine:
        assert default_bridge(engine) == first
        (finding,) = await engine.diagnose()
        assert finding.repair.startswith("disconnect its sandboxes and restart towlined")
        await engine.remove_sandbox("c1", force=True)
    async with running(world) as engine:
        assert default_bridge(engine).link == "towline0"


async def test_a_mark_that_stays_keeps_the_bridge() -> None:
    world = World()
    async with running(world) as engine:
        first = default_bridge(engine)
    docker_starts(world)
    world.links.faults.fail("disown", errno.EPERM, name="docker0")
    async with running(world) as engine:
        assert default_bridge(engine) == first
        assert len(await engine.diagnose()) == 1
