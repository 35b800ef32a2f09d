"""Services on one node, over a fake kernel and a fake cluster: rules in sandboxes."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace

from tests.support.engine import World
from tests.support.engine_sandboxes import asking, sandbox, start, until
from tests.support.global_networks import FakeGlobals, clustered, elsewhere
from tests.support.services_engine import (
    INGRESS,
    M1,
    M2,
    OV,
    PRESENT,
    PUBLISHED,
    SERVICE,
    WEB,
    netns,
    settled,
    slots,
    table,
)
from towline.control.controller import Controller
from towline.firewall.balance import SERVICES
from towline.firewall.returns import EGRESS, RETURNS
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.inner import Detour
from towline.model.sandbox import MESH
from towline.model.service import Service, ServicePort, VirtualIP
from towline.store.contract import Put


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    async with clustered(world, OV, INGRESS) as pair:
        yield pair


async def test_a_sandbox_has_rules_for_the_services_of_its_networks_when_its_command_begins(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1, M2], [])
    await start(engine, asking("aa", "ov"))
    assert slots(world, netns(engine, "aa")) == {"10.0.0.201", "10.0.0.202"}
    assert await engine.diagnose() == []


async def test_without_services_nothing_is_ever_written_inside(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    await cluster.replica.set_peers(OV.id, [M1], [])
    await until(lambda: cluster.replica.peers(OV.id) == [M1])
    assert world.inner.nft(netns(engine, "aa")).commits == 0


async def test_members_come_and_go_by_elements_alone(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await start(engine, asking("aa", "ov"))
    path = netns(engine, "aa")
    assert slots(world, path) == set()
    before = table(world, path, SERVICES)
    await cluster.replica.set_peers(OV.id, [M1, M2], [])
    await until(lambda: slots(world, path) == {"10.0.0.201", "10.0.0.202"})
    await cluster.replica.set_peers(OV.id, [], [M1.id])
    await until(lambda: slots(world, path) == {"10.0.0.202"})
    assert table(world, path, SERVICES) is before, "the table was replaced"
    await until(lambda: (path, ("10.0.0.201",)) in world.inner.forgotten)


async def test_a_member_that_is_back_keeps_the_connections_that_began_since(
    world: World, node: tuple[Controller, FakeGlobals], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, cluster = node
    m4 = elsewhere(4, OV, service=SERVICE)
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1, M2, m4], [])
    await start(engine, asking("aa", "ov"))
    path, busy, forget = netns(engine, "aa"), threading.Event(), world.inner.forget

    def slowly(path: str, addresses: Sequence[str]) -> int:
        busy.wait(5)
        return forget(path, addresses)

    monkeypatch.setattr(world.inner, "forget", slowly)
    everybody = {"10.0.0.201", "10.0.0.202", "10.0.0.204"}
    for peer in (M1, M2):
        await cluster.replica.set_peers(OV.id, [], [peer.id])
        await until(lambda peer=peer: peer.ipv4.partition("/")[0] not in slots(world, path))  # type: ignore[misc]
    await cluster.replica.set_peers(OV.id, [M2], [])
    await until(lambda: slots(world, path) == everybody - {"10.0.0.201"})
    await cluster.replica.set_peers(OV.id, [], [m4.id])
    await until(lambda: slots(world, path) == {"10.0.0.202"})
    busy.set()
    await until(lambda: (path, ("10.0.0.204",)) in world.inner.forgotten)
    assert world.inner.forgotten == [(path, ("10.0.0.201",)), (path, ("10.0.0.204",))]


async def test_members_on_a_node_that_is_down_are_none(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1, replace(M2, node="0node3aaaaaaaaaaaaaaaaaaa")], [])
    await start(engine, asking("aa", "ov"))
    path = netns(engine, "aa")
    cluster.replica.set_down({M1.node})
    await until(lambda: slots(world, path) == {"10.0.0.202"})
    assert await engine.diagnose() == []
    cluster.replica.set_down(set())
    await until(lambda: slots(world, path) == {"10.0.0.201", "10.0.0.202"})


async def test_the_rules_go_with_the_service(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await start(engine, asking("aa", "ov"))
    await cluster.replica.set_services([], [SERVICE])
    await until(lambda: table(world, netns(engine, "aa"), SERVICES) is None)
    assert await engine.diagnose() == []


async def test_a_service_of_names_only_has_no_rules(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([replace(WEB, mode="dnsrr", vips=())], [])
    await cluster.replica.set_peers(OV.id, [M1], [])
    await start(engine, asking("aa", "ov"))
    assert world.inner.nft(netns(engine, "aa")).commits == 0


async def test_rules_that_somebody_deleted_are_found_and_made_again(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1], [])
    await start(engine, asking("aa", "ov"))
    path = netns(engine, "aa")
    world.inner.nft(path).flush()
    (finding,) = await engine.diagnose()
    assert finding.problem == "its rules for services are not as they should be"
    await engine.repair()
    assert slots(world, path) == {"10.0.0.201"}
    world.inner.nft(path).flush()
    await cluster.replica.set_peers(OV.id, [M2], [])
    await until(lambda: slots(world, path) == {"10.0.0.201", "10.0.0.202"})


async def test_what_the_kernel_refuses_is_tried_again(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1], [])
    world.inner.faults.fail("commit_rules", errno.ENOBUFS)
    await start(engine, asking("aa", "ov"))
    await until(lambda: slots(world, netns(engine, "aa")) == {"10.0.0.201"})


async def test_connecting_and_disconnecting_bring_and_take_the_rules(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await cluster.replica.set_peers(OV.id, [M1], [])
    await start(engine, asking("aa", "bridge"))
    path = netns(engine, "aa")
    assert table(world, path, SERVICES) is None
    await engine.connect("ov", "aa")
    await until(lambda: slots(world, path) == {"10.0.0.201"})
    await engine.disconnect("ov", "aa", force=False)
    await until(lambda: table(world, path, SERVICES) is None)
    assert await engine.diagnose() == []


async def test_a_namespace_that_was_attached_keeps_nothing(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    world.sandboxes.add_foreign("/run/other")
    await engine.create_sandbox(replace(asking("aa", "ov"), netns="/run/other", command=()))
    assert table(world, "/run/other", SERVICES) is not None
    await engine.stop_sandbox("aa", grace=0)
    assert table(world, "/run/other", SERVICES) is None


async def test_records_that_cannot_be_harm_no_others(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    vips = (VirtualIP(OV.id, "10.0.0.999/24", "fe80::1%eth0/64"),)
    wrong = Service(
        "1" + SERVICE[1:], "wrong", created=1, vips=vips, ports=(ServicePort(70000, 8081), ServicePort(80, -1))
    )
    await cluster.replica.set_services([wrong, PUBLISHED], [])
    await cluster.replica.set_peers(OV.id, [M1], [])
    await start(engine, asking("aa", "ov"))
    assert slots(world, netns(engine, "aa")) == {"10.0.0.201"}
    await until(lambda: set(world.ports.held) >= PRESENT)
    assert ("tcp", "0.0.0.0", 8081) not in world.ports.held


async def test_the_way_is_explained(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_services([WEB], [])
    await start(engine, asking("aa", "ov"))
    (path, _) = await engine.explain("aa")
    assert ("service", "web at 10.0.0.100: no member runs, so connections are refused", "") in [
        (step.object, step.text, step.problem) for step in path.steps
    ]
    await cluster.replica.set_peers(OV.id, [M1, M2], [])
    await until(lambda: bool(slots(world, netns(engine, "aa"))))
    await settled(engine)
    world.inner.nft(netns(engine, "aa")).flush()
    (path, _) = await engine.explain("aa")
    assert path.steps[-1].text == "web at 10.0.0.100 leads to 10.0.0.201, 10.0.0.202"
    assert path.steps[-1].problem == "its rules for services are not as they should be"


# members


async def test_a_member_sends_answers_back_through_the_mesh_of_each_node(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await cluster.replica.set_services([PUBLISHED], [])
    await start(engine, asking("aa", "ov"))
    member = _on_ingress(sandbox(engine, "aa").id)
    world.store.update([Put(member)])
    world.sandboxes.namespaces[netns(engine, "aa")].links["eth7"] = next(
        iter(world.sandboxes.namespaces[netns(engine, "aa")].links.values())
    )
    far = Peer(
        "f" * 64, INGRESS.id, "0node2aaaaaaaaaaaaaaaaaaa", "192.0.2.2", "02:00:00:00:09:09", MESH, ipv4="10.1.0.9/24"
    )
    await cluster.replica.set_peers(INGRESS.id, [far], [])
    path = netns(engine, "aa")
    await until(lambda: bytes.fromhex("020000000909") in ways_back(world, path))
    assert table(world, path, RETURNS) is not None
    assert world.inner.detour(path) == Detour("eth7", 0x74000000, 0xFF000000)


def ways_back(world: World, path: str) -> set[bytes]:
    found = table(world, path, EGRESS)
    return set(found.elements["meshes"].values()) if found is not None else set()


def _on_ingress(sandbox_id: str) -> Endpoint:
    return Endpoint(
        "e" * 64,
        "aa",
        INGRESS.id,
        sandbox=sandbox_id,
        mac="02:00:00:00:07:07",
        ipv4="10.1.0.7/24",
        ifname="eth7",
        host_link="ve-eeeeeeeeeeee",
        config=EndpointConfig(),
        service=SERVICE,
    )
