"""Sandboxes of services on one node, over a fake kernel and a fake cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from tests.support.engine import World
from tests.support.engine_sandboxes import asking, sandbox, start, until
from tests.support.global_networks import FakeGlobals, clustered, elsewhere, overlay
from towline.control.controller import Controller
from towline.model.errors import Failure, Forbidden, NotFound, Unavailable
from towline.model.network import Pool
from towline.model.requests import CreateNetwork, CreateSandbox, PoolRequest
from towline.model.sandbox import PortBinding
from towline.model.service import Service, ServicePort, VirtualIP

OV = overlay(attachable=False)
INGRESS = replace(
    overlay(1, "ingress", attachable=False, ingress=True), pools=(Pool("10.7.0.0/24", gateway="10.7.0.1"),)
)
WEB = Service("s" * 25, "web", 1, networks=(OV.id,), vips=(VirtualIP(OV.id, "10.0.0.250/24"),))
PORTED = replace(WEB, vips=(*WEB.vips, VirtualIP(INGRESS.id, "10.7.0.250/24")), ports=(ServicePort(80, 8080),), index=2)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    async with clustered(world, OV, INGRESS) as pair:
        await pair[1].replica.set_services([WEB], [])
        yield pair


def member(name: str, service: str = "web", **fields: object) -> CreateSandbox:
    return replace(asking(name), **{"networks": {}, "service": service, **fields})


def networks_of(engine: Controller, name: str) -> list[str]:
    found = (engine.network(endpoint.network) for endpoint in engine.endpoints_in(sandbox(engine, name).id))
    return [network.name for network in found if network is not None]


async def test_a_member_is_on_the_networks_of_its_service(node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    made = await start(engine, member("aa", "WEB"))
    assert (made.service, made.mode) == (WEB.id, "ov")
    assert networks_of(engine, "aa") == ["ov", "docker_gwbridge"]
    (own,) = cluster.replica.own(OV.id)
    assert (own.service, own.sandbox) == (WEB.id, made.id)
    with pytest.raises(Failure, match="network ov not manually attachable"):
        await engine.create_sandbox(asking("bb", "ov"))
    with pytest.raises(Failure, match="network ingress not manually attachable"):
        await engine.create_sandbox(member("bb", networks=asking("bb", "ingress").networks))
    with pytest.raises(NotFound, match="service nope not found"):
        await engine.create_sandbox(member("bb", "nope"))


async def test_it_may_be_on_others_too(node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.create_network(CreateNetwork("local", pools=(PoolRequest("10.9.0.0/24"),)))
    made = await start(engine, member("aa", networks=asking("aa", "local").networks))
    assert made.mode == "local"
    assert networks_of(engine, "aa") == ["local", "ov"]
    assert [endpoint.service for endpoint in engine.endpoints_in(made.id)] == ["", WEB.id]
    await start(engine, asking("bb", "local"))
    await engine.disconnect("ov", "aa", force=False)
    await engine.connect("ov", "aa")
    with pytest.raises(Failure, match="network ov not manually attachable"):
        await engine.connect("ov", "bb")


async def test_ports_of_a_service_bring_the_ingress_network(node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    heard: list[str] = []
    cluster.replica.on_local_change = heard.append
    await cluster.replica.set_services([PORTED], [])
    made = await start(engine, member("aa"))
    assert networks_of(engine, "aa") == ["ov", "ingress", "docker_gwbridge"]
    assert ("prepare", INGRESS.id) in cluster.asked
    (own,) = (peer for peer in cluster.replica.own(INGRESS.id) if peer.service)  # beside that of the mesh
    assert (own.service, own.dns_names) == (WEB.id, ())
    with pytest.raises(Forbidden, match="sandbox aa is on network ingress for the ports of its service"):
        await engine.disconnect("ingress", "aa", force=False)
    await engine.connect("bridge", "aa")
    assert networks_of(engine, "aa") == ["ov", "ingress", "bridge"]
    await engine.disconnect("bridge", "aa", force=False)
    heard.clear()
    await engine.stop_sandbox("aa", grace=0)
    assert networks_of(engine, "aa") == ["ov"]
    assert set(heard) >= {OV.id, INGRESS.id}
    assert [peer for peer in cluster.replica.own(INGRESS.id) if peer.service] == []
    await engine.start_sandbox("aa")
    assert networks_of(engine, "aa") == ["ov", "ingress", "docker_gwbridge"]
    await engine.remove_sandbox("aa", force=True)
    assert sum(lease.reason == "endpoint" for lease in engine.leases(INGRESS.id)) <= 1  # that of the mesh
    assert made.service == WEB.id


async def test_running_members_follow_when_ports_come_and_go(node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await start(engine, member("aa"))
    await start(engine, asking("bb", "bridge"))
    await cluster.replica.set_services([PORTED], [])
    await until(lambda: networks_of(engine, "aa") == ["ov", "docker_gwbridge", "ingress"])
    await cluster.replica.set_services([replace(WEB, index=3)], [])
    await until(lambda: networks_of(engine, "aa") == ["ov", "docker_gwbridge"])
    await cluster.replica.set_services([PORTED], [])
    await until(lambda: len(networks_of(engine, "aa")) == 3)
    await cluster.replica.set_services([], [WEB.id])
    await until(lambda: networks_of(engine, "aa") == ["ov", "docker_gwbridge"])
    assert sandbox(engine, "aa").state == "running"
    assert networks_of(engine, "bb") == ["bridge"]
    async with asyncio.timeout(10):
        while await engine.diagnose():
            await asyncio.sleep(0.01)


async def test_ports_of_mode_host_are_published_on_the_member_s_node(node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    port = ServicePort(80, 8099, mode="host")
    await cluster.replica.set_services([replace(WEB, ports=(port,))], [])
    await start(engine, member("aa", ports=(PortBinding(90, host_port=9099),)))
    assert published(engine, "aa") == {9099, 8099}
    with pytest.raises(Failure, match="port is already allocated"):
        await start(engine, member("bb"))
    await cluster.replica.set_services([replace(WEB, ports=(replace(port, published=8098),))], [])
    await until(lambda: published(engine, "aa") == {9099, 8098})
    await start(engine, asking("cc", "bridge", ports=(PortBinding(80, host_port=8099),)))
    await cluster.replica.set_services([], [WEB.id])
    await until(lambda: published(engine, "aa") == {9099})
    await engine.stop_sandbox("aa", grace=0)
    await engine.start_sandbox("aa")
    assert published(engine, "aa") == {9099}


async def test_a_member_that_could_not_follow_tries_again(
    node: tuple[Controller, FakeGlobals], caplog: pytest.LogCaptureFixture
) -> None:
    engine, cluster = node
    await start(engine, member("aa"))
    cluster.away = True
    await cluster.replica.set_services([PORTED], [])
    await until(lambda: "does not follow a change of its service" in caplog.text)
    cluster.away = False
    await until(lambda: networks_of(engine, "aa") == ["ov", "docker_gwbridge", "ingress"])
    await start(engine, asking("cc", "bridge", ports=(PortBinding(80, host_port=8099),)))
    port = ServicePort(80, 8099, mode="host")
    await cluster.replica.set_services([replace(WEB, ports=(port,))], [])
    await until(lambda: "already allocated" in str([vars(record) for record in caplog.records]))
    await cluster.replica.set_services([replace(WEB, ports=(replace(port, published=8097),))], [])
    await until(lambda: published(engine, "aa") == {8097})


def published(engine: Controller, name: str) -> set[int]:
    endpoints = engine.endpoints_in(sandbox(engine, name).id)
    return {port.host_port for endpoint in endpoints for port in endpoint.published}


async def test_without_an_address_on_the_ingress_network_it_does_not_start(
    node: tuple[Controller, FakeGlobals],
) -> None:
    engine, cluster = node
    await engine.create_sandbox(member("aa"))
    cluster.away = True
    await cluster.replica.set_services([PORTED], [])
    with pytest.raises(Unavailable, match="no manager answers"):
        await engine.start_sandbox("aa")
    assert sandbox(engine, "aa").state == "created"
    cluster.away = False
    await engine.start_sandbox("aa")


async def test_services_are_known_after_a_restart_and_forgotten_with_the_cluster(world: World) -> None:
    async with clustered(world, OV, INGRESS) as (engine, cluster):
        await cluster.replica.set_services([PORTED], [])
        await start(engine, member("aa"))
    async with clustered(world) as (engine, cluster):
        assert cluster.replica.services() == [PORTED]
        assert networks_of(engine, "aa") == ["ov", "ingress", "docker_gwbridge"]
        await cluster.replica.forget()
        assert (cluster.replica.services(), networks_of(engine, "aa")) == ([], [])


async def test_who_is_down_is_told_to_the_names(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    _, cluster = node
    far = elsewhere(1, OV, service=WEB.id)
    await cluster.replica.set_peers(OV.id, [far, elsewhere(2, OV)], [])
    world.dns.peers.clear()
    cluster.replica.set_down({far.node})
    assert (world.dns.down, world.dns.peers) == ({far.node}, [(OV.id, {far.id})])
    cluster.replica.set_down({far.node})
    assert len(world.dns.peers) == 1
