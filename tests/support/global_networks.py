"""A cluster as control sees it, for an engine over fakes: it hands out blocks, and says what networks and endpoints
there are through the engine's replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from tests.support.engine import CONFIG, World
from towline.control.controller import Controller
from towline.model.cluster import Block, Peer, Underlay
from towline.model.errors import Conflict, Unavailable
from towline.model.network import Network, Pool
from towline.model.requests import Created, CreateNetwork
from towline.wire import Service, build

UNDERLAY = Underlay("192.0.2.1", mtu=1500)
NODE = "0node1aaaaaaaaaaaaaaaaaaa"
OVERLAY = "0zqk3v7n1mhx2u9f8c6d5e4ab"


def overlay(number: int = 0, name: str = "ov", **fields: object) -> Network:
    network = Network(
        id=f"{number}{OVERLAY[1:]}",
        name=name,
        created=1,
        driver="overlay",
        phase="ready",
        scope="swarm",
        attachable=True,
        pools=(Pool(f"10.{number}.0.0/24", gateway=f"10.{number}.0.1"),),
        options={"com.docker.network.driver.overlay.vxlanid_list": str(4097 + number)},
    )
    return replace(network, **fields)


def elsewhere(number: int, network: Network, **fields: object) -> Peer:
    peer = Peer(
        id=f"{number:064x}",
        network=network.id,
        node="0node2aaaaaaaaaaaaaaaaaaa",
        vtep="192.0.2.2",
        mac=f"02:00:00:00:01:{number:02x}",
        name=f"far{number}",
        ipv4=f"10.0.0.{200 + number}/24",
        dns_names=(f"far{number}",),
    )
    return replace(peer, **fields)


class FakeGlobals:
    """`GlobalNetworks` of one node. size: prefix length of a block. taken: prefixes that other nodes have. away: no
    manager answers. Logs what was `asked`: ("block", subnet, address), ("unused", prefix), ("prepare", network id)."""

    def __init__(self, service: Service, *, size: int = 28) -> None:
        self.replica = service.replica
        self.data_path = service.data_path
        self.size = size
        self.active = self.manager = True
        self.fenced = self.away = False
        self.taken: set[str] = set()
        self.leased: set[str] = set()
        self.asked: list[tuple[str, ...]] = []
        self.created: list[CreateNetwork] = []
        self.removed: list[str] = []

    async def create(self, request: CreateNetwork) -> Created:
        self.created.append(request)
        return Created("made-by-the-cluster")

    async def remove(self, network: Network) -> None:
        self.removed.append(network.name)
        await self.replica.set_networks([], [network.id])

    async def prepare(self, network_id: str) -> None:
        self.asked.append(("prepare", network_id))

    async def need_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        self.asked.append(("block", subnet, address))
        if self.away:
            raise Unavailable("no manager answers")
        for part in ip_network(subnet).subnets(new_prefix=self.size):
            if address and ip_address(address) not in part:
                continue
            if str(part) in self.taken:
                if address:
                    raise Conflict(f"{address} is in {part} of node far")
                continue
            if address or str(part) not in self.leased:
                self.leased.add(str(part))
                block = Block(network=network_id, subnet=subnet, prefix=str(part), node=NODE)
                await self.replica.set_blocks([block], [])
                return block
        raise Unavailable(f"all blocks of {subnet} are taken: 16 of node far")

    async def unused(self, block: Block) -> None:
        self.asked.append(("unused", block.prefix))
        await self.replica.set_blocks([], [block.id])
        self.leased.discard(block.prefix)


@asynccontextmanager
async def clustered(
    world: World, *networks: Network, size: int = 28, before: Callable[[Service], None] | None = None
) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    """An engine whose node is in a cluster that has these networks."""
    world.store.close = lambda: None  # type: ignore[method-assign]
    roots = {"exec_root": str(world.roots / "run"), "data_root": str(world.roots / "data")}
    service = build(replace(CONFIG, **roots), world.parts())
    globals_ = FakeGlobals(service, size=size)
    globals_.leased = {block.prefix for block in service.replica.blocks()}
    service.seat.cluster = globals_
    service.replica.node.id, service.replica.node.vtep = NODE, UNDERLAY.local
    if before is not None:
        before(service)
    await service.start()
    try:
        await service.data_path.set(UNDERLAY, [UNDERLAY.local, "192.0.2.2"])
        if networks:
            await service.replica.set_networks(networks, [])
        yield service.engine, globals_
    finally:
        await service.stop()
