"""Networks of the cluster that each host makes its own part of, on one node over a fake kernel and a fake cluster."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from tests.support.engine import World
from tests.support.engine_sandboxes import asking, sandbox, start, until
from tests.support.global_networks import FakeGlobals, clustered, overlay
from towline.control.controller import Controller
from towline.model.endpoint import EndpointConfig
from towline.model.errors import Forbidden, KernelError, NotFound
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest
from towline.store.contract import Put

COURT = overlay(name="court", driver="bridge", pools=(), options={}, ipam_driver="", config_from="yard")
LAN = overlay(1, name="lan", driver="macvlan", pools=(), options={}, ipam_driver="")
LINK = f"br-{COURT.id[:12]}"
YARD = CreateNetwork("yard", config_only=True, pools=(PoolRequest("10.61.0.0/24"),), labels={"from": "yard"})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    async with clustered(world, COURT) as (engine, cluster):
        await cluster.replica.set_networks([LAN], [])
        await engine.create_network(YARD)
        yield engine, cluster


def court(engine: Controller) -> Network:
    found = engine.network(COURT.id)
    assert found is not None
    return found


async def test_the_part_comes_with_the_first_endpoint_and_goes_with_the_last(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, _ = node
    await engine.create_sandbox(asking("aa", "court"))
    part = court(engine)
    assert (part.scope, part.link, [pool.subnet for pool in part.pools]) == ("swarm", LINK, ["10.61.0.0/24"])
    assert (part.whole, part.labels) == (COURT, {"from": "yard"})
    assert LINK not in world.bridges(), "nothing runs on it yet"
    await engine.start_sandbox("aa")
    assert LINK in world.bridges()
    assert await engine.diagnose() == []
    await engine.stop_sandbox("aa", grace=0)
    await until(lambda: LINK not in world.links.links)
    assert court(engine).whole == COURT, "the addresses are the sandbox's until it is removed"
    await engine.remove_sandbox("aa", force=False)
    await until(lambda: court(engine) == COURT)
    await engine.create_network(CreateNetwork("other", pools=(PoolRequest("10.61.0.0/24"),)))
    assert await engine.diagnose() == []


async def test_what_the_cluster_says_again_leaves_the_part_alone(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "court"))
    part = court(engine)
    await cluster.replica.set_networks([COURT], [])
    assert court(engine) == part
    await cluster.replica.set_networks([], [COURT.id])
    assert engine.network(COURT.id) is None
    await until(lambda: LINK not in world.links.links)
    assert await engine.diagnose() == []


async def test_a_part_whose_first_join_was_cut_short_goes_at_the_next_start(world: World) -> None:
    async with clustered(world, COURT) as (engine, _):
        await engine.create_network(YARD)
        await engine.create_sandbox(asking("aa", "court"))
        part = court(engine)
        await engine.remove_sandbox("aa", force=False)
        await until(lambda: court(engine) == COURT)
    world.store.update([Put(part)])
    async with clustered(world) as (engine, _):
        await until(lambda: court(engine) == COURT)
        await engine.create_network(CreateNetwork("other", pools=(PoolRequest("10.61.0.0/24"),)))
        assert await engine.diagnose() == []


async def test_without_a_configuration_here_nobody_joins(node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.remove_network("yard", wait=False)
    with pytest.raises(NotFound, match='configuration network "yard" does not exist: make it on this node too'):
        await engine.create_sandbox(asking("aa", "court"))
    await start(engine, asking("bb", "lan"))
    assert engine.endpoints_in(sandbox(engine, "bb").id)[0].ipv4


async def test_a_configuration_in_use_stays(node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.create_sandbox(asking("aa", "court"))
    with pytest.raises(Forbidden, match='configuration network "yard" is in use'):
        await engine.remove_network("yard", wait=False)


async def test_many_come_and_go_at_once(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    names = [f"s{number}" for number in range(12)]
    for _ in range(3):
        await asyncio.gather(*(start(engine, asking(name, "court")) for name in names))
        addresses = {engine.endpoints_in(sandbox(engine, name).id)[0].ipv4 for name in names}
        assert len(addresses) == len(names)
        await asyncio.gather(*(engine.remove_sandbox(name, force=True) for name in names))
    await until(lambda: court(engine) == COURT and LINK not in world.links.links)
    assert await engine.diagnose() == []


async def test_a_static_address_is_of_this_hosts_subnet(node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await start(engine, asking("aa", "bridge"))
    await engine.connect("court", "aa", EndpointConfig(ipv4="10.61.0.77"))
    assert [e.ipv4 for e in engine.endpoints_of(COURT.id)] == ["10.61.0.77/24"]


async def test_what_the_kernel_refuses_leaves_nothing(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.create_sandbox(asking("aa", "bridge"))
    await engine.start_sandbox("aa")
    world.links.faults.fail("create_bridges", errno.ENOMEM, name=LINK)
    with pytest.raises(KernelError):
        await engine.connect("court", "aa", EndpointConfig())
    await until(lambda: court(engine) == COURT)
    assert await engine.diagnose() == []


async def test_names_of_a_bridge_are_told_to_nobody_those_of_a_wire_are(node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "court"))
    await start(engine, asking("bb", "lan"))
    (here,) = cluster.replica.own(COURT.id)
    (there,) = cluster.replica.own(LAN.id)
    assert (here.dns_names, there.dns_names[0]) == ((), "bb")


async def test_a_restart_finds_the_part(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await start(engine, asking("aa", "court"))
    part = court(engine)
    assert world.store.view().network(COURT.id) == part
    assert replace(part, whole=None).address_scope == "swarm"
    assert part.address_scope == "local"
