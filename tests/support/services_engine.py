"""Services on one node over fakes: records, and what its namespaces hold."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from tests.support.engine import World
from tests.support.engine_sandboxes import sandbox, until
from tests.support.global_networks import FakeGlobals, elsewhere, overlay
from towline.control.controller import Controller
from towline.firewall.balance import MESH as MESH_TABLE
from towline.firewall.balance import SERVICES
from towline.kernel.fake_nft import FakeTable
from towline.model.ruleset import TableId
from towline.model.sandbox import MESH
from towline.model.service import Service, ServicePort, VirtualIP

OV = overlay()
INGRESS = overlay(1, "ingress", ingress=True, attachable=False)
SERVICE = "0serviceaaaaaaaaaaaaaaaa0"
WEB = Service(SERVICE, "web", created=1, networks=(OV.id,), vips=(VirtualIP(OV.id, "10.0.0.100/24"),))
PUBLISHED = replace(WEB, ports=(ServicePort(80, 8080), ServicePort(53, 5353, "udp")))
M1, M2 = (elsewhere(number, OV, service=SERVICE) for number in (1, 2))
I1 = elsewhere(3, INGRESS, service=SERVICE, ipv4="10.1.0.203/24")
PRESENT = {("tcp", "0.0.0.0", 8080), ("udp", "0.0.0.0", 5353)}


def table(world: World, path: str, name: TableId) -> FakeTable | None:
    return world.inner.nft(path).tables.get(name)


def slots(world: World, path: str, name: TableId = SERVICES) -> set[str]:
    """IPv4 addresses that connections are sent to."""
    found = table(world, path, name)
    maps = [members for key, members in found.elements.items() if key.startswith("slots")] if found else []
    return {".".join(map(str, data[:4])) for members in maps for data in members.values()}


def netns(engine: Controller, name: str) -> str:
    return sandbox(engine, name).netns


async def settled(engine: Controller) -> None:
    """Until nothing differs: events are gathered for a moment."""
    async with asyncio.timeout(5):
        while await engine.diagnose():
            await asyncio.sleep(0.01)


def mesh(world: World) -> str:
    return f"{world.roots}/run/netns/{MESH}"


async def published(world: World, cluster: FakeGlobals) -> None:
    await cluster.replica.set_services([PUBLISHED], [])
    await cluster.replica.set_peers(INGRESS.id, [I1], [])
    await until(lambda: mesh(world) in world.sandboxes.namespaces and bool(slots(world, mesh(world), MESH_TABLE)))
