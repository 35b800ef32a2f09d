"""The routing mesh on one node, over a fake kernel and a fake cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from tests.support.engine import World
from tests.support.engine_sandboxes import asking, start, until
from tests.support.fake_ports import FakeSockets
from tests.support.global_networks import FakeGlobals, clustered
from tests.support.services_engine import (
    INGRESS,
    OV,
    PRESENT,
    PUBLISHED,
    SERVICE,
    mesh,
    published,
    settled,
    slots,
)
from towline.control.controller import Controller
from towline.firewall.balance import MESH as MESH_TABLE
from towline.model.errors import Failure, NotFound
from towline.model.sandbox import MESH, PortBinding
from towline.model.service import ServicePort


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    async with clustered(world, OV, INGRESS) as pair:
        yield pair


async def test_a_published_service_makes_the_mesh_and_its_end_takes_it_along(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await published(world, cluster)
    assert slots(world, mesh(world), MESH_TABLE) == {"10.1.0.203"}
    assert set(world.ports.held) >= PRESENT
    assert [e.name for e in engine.endpoints_of(INGRESS.id)] == ["ingress-endpoint"]
    assert await engine.diagnose() == []
    await cluster.replica.set_services([], [SERVICE])
    await until(lambda: mesh(world) not in world.sandboxes.namespaces)
    await until(lambda: not set(world.ports.held) & PRESENT)
    assert engine.endpoints_of(INGRESS.id) == ()
    assert await engine.diagnose() == []


async def test_clients_do_not_see_it(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await published(world, cluster)
    assert engine.sandboxes() == []
    assert engine.sandbox(MESH) is None
    with pytest.raises(NotFound):
        await engine.remove_sandbox(MESH, force=True)
    with pytest.raises(NotFound):
        await engine.disconnect("ingress", MESH, force=False)


async def test_a_port_comes_and_goes(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await published(world, cluster)
    more = replace(PUBLISHED, ports=(ServicePort(80, 8081),))
    await cluster.replica.set_services([more], [])
    await until(lambda: ("tcp", "0.0.0.0", 8081) in world.ports.held)
    await until(lambda: not set(world.ports.held) & PRESENT)
    await settled(engine)


async def test_a_port_that_is_taken_keeps_no_other_from_being_published(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "bridge", ports=(PortBinding(80, host_port=8080),)))
    await published(world, cluster)
    assert ("udp", "0.0.0.0", 5353) in world.ports.held
    (finding,) = await engine.diagnose()
    assert "8080/tcp is not published here" in finding.problem
    assert "already allocated" in finding.problem
    await engine.stop_sandbox("aa", grace=0)
    await until(lambda: any(p.host_port == 8080 for e in engine.endpoints_in(MESH) for p in e.published))
    assert await engine.diagnose() == []


async def test_a_sandbox_cannot_publish_what_a_service_does(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await published(world, cluster)
    with pytest.raises(Failure, match="port is already allocated"):
        await start(engine, asking("aa", "bridge", ports=(PortBinding(80, host_port=8080),)))


async def test_a_restart_changes_nothing(world: World) -> None:
    async with clustered(world, OV, INGRESS) as (_, cluster):
        await published(world, cluster)
        ends = world.ours()
        commits = world.inner.nft(mesh(world)).commits
    world.ports = FakeSockets()
    async with clustered(world) as (engine, _):
        assert await engine.diagnose() == []
        assert world.ours() == ends
        assert world.inner.nft(mesh(world)).commits == commits
        assert set(world.ports.held) >= PRESENT


async def test_a_reboot_makes_it_anew(world: World) -> None:
    async with clustered(world, OV, INGRESS) as (_, cluster):
        await published(world, cluster)
    world.sandboxes.end(mesh(world))
    world.ports = FakeSockets()
    async with clustered(world) as (engine, cluster):
        await until(lambda: mesh(world) in world.sandboxes.namespaces)
        await until(lambda: slots(world, mesh(world), MESH_TABLE) == {"10.1.0.203"})
        assert await engine.diagnose() == []


async def test_leaving_the_cluster_takes_it_along(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await published(world, cluster)
    await cluster.replica.forget()
    await until(lambda: mesh(world) not in world.sandboxes.namespaces)
    assert engine.network_named("ingress") is None
    await until(lambda: not set(world.ports.held) & PRESENT)


async def test_without_addresses_it_is_tried_again(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    _, cluster = node
    cluster.away = True
    await cluster.replica.set_services([PUBLISHED], [])
    await until(lambda: any(asked[0] == "block" for asked in cluster.asked))
    assert mesh(world) not in world.sandboxes.namespaces
    cluster.away = False
    await until(lambda: mesh(world) in world.sandboxes.namespaces)


async def test_ports_are_free_again_though_it_was_never_made(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    _, cluster = node
    cluster.away = True
    await cluster.replica.set_services([PUBLISHED], [])
    await until(lambda: set(world.ports.held) >= PRESENT)
    await cluster.replica.set_services([], [SERVICE])
    await until(lambda: not set(world.ports.held) & PRESENT)
    assert mesh(world) not in world.sandboxes.namespaces
