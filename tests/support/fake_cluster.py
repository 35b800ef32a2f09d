"""The managers and a node's own side as the agent sees them: in memory, with faults that a test switches on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from ipaddress import ip_interface, ip_network

from msgspec.structs import replace

from towline.cluster.contract import Beat, Report, Update
from towline.cluster.scopes import Scopes
from towline.model.cluster import Alive, Block, Node, Peer
from towline.model.errors import Conflict, NotFound, Unavailable
from towline.model.network import Network
from towline.model.service import Service


class FakeManagers:
    """away: no call is answered, open streams end. refused: endpoints that cannot be published.
    refuses_blocks: none is taken back. whole: a lease is a /28 (else a single address). leases_fail: so many more
    times. deaf: no report is taken. slow_leases: their answers wait for it. Counts `beats`."""

    def __init__(self) -> None:
        self.revision = 1
        self.networks: dict[str, Network] = {}
        self.nodes: dict[str, Node] = {}
        self.peers: dict[str, Peer] = {}
        self.blocks: dict[str, Block] = {}
        self.services: dict[str, Service] = {}
        self.alive: dict[str, Alive] = {}
        self.beats: list[tuple[str, Report]] = []
        self.lose_answers = False
        self.refused: set[str] = set()
        self.refuses_blocks = False
        self.whole = True
        self.leases_fail = 0
        self.deaf = False
        self.slow_leases: asyncio.Event | None = None
        self._moved = asyncio.Event()
        self._away = False
        self._log: list[tuple[int, str, Update]] = []
        self._cut = asyncio.Event()

    @property
    def away(self) -> bool:
        return self._away

    def go_away(self) -> None:
        self._away = True
        self._cut.set()
        self._move()

    def come_back(self) -> None:
        self._away = False
        self._cut = asyncio.Event()

    def link(self, node_id: str) -> FakeLink:
        return FakeLink(self, node_id)

    async def tell(self, scope: str, update: Update) -> None:
        self.revision += 1
        self._log.append((self.revision, scope, update))
        self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def put_network(self, network: Network) -> None:
        self.networks[network.id] = network
        await self.tell("base", Update(0, networks=(network,)))

    async def drop_network(self, network_id: str) -> None:
        del self.networks[network_id]
        await self.tell("base", Update(0, gone_networks=(network_id,)))

    async def put_peer(self, peer: Peer) -> None:
        self.peers[peer.id] = peer
        await self.tell(peer.network, Update(0, peers=(peer,)))

    async def drop_peer(self, peer_id: str) -> None:
        peer = self.peers.pop(peer_id)
        await self.tell(peer.network, Update(0, gone_peers=(peer_id,)))

    def check(self) -> None:
        if self._away:
            raise Unavailable("no manager answers")

    def snapshot(self, scope: str) -> Update:
        if scope == "base":
            nodes, networks = tuple(self.nodes.values()), tuple(self.networks.values())
            alive, services = tuple(self.alive.values()), tuple(self.services.values())
            return Update(self.revision, snapshot=True, nodes=nodes, alive=alive, networks=networks, services=services)
        if scope not in self.networks:
            return Update(self.revision, scope=scope, ended=True)
        peers = tuple(peer for peer in self.peers.values() if peer.network == scope)
        return Update(self.revision, scope=scope, snapshot=True, peers=peers)

    async def stream(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        """A snapshot of each scope when it is subscribed, then what was told since then."""
        self.check()
        cut, told = self._cut, len(self._log)
        fresh = dict.fromkeys(scopes)

        def change(scope: str, carry: bool) -> None:
            fresh[scope] = None
            self._move()

        stop = scopes.listen(change)
        try:
            while True:
                moved = self._moved
                upto = len(self._log)
                for revision, scope, update in self._log[told:upto]:
                    if scope in scopes and scope not in fresh:
                        yield replace(update, revision=revision, scope=scope)
                told = upto
                for scope in list(fresh):
                    del fresh[scope]
                    if scope in scopes:
                        yield self.snapshot(scope)
                if told == len(self._log) and not fresh:
                    await moved.wait()
                if cut.is_set():
                    self.check()
                    raise Unavailable("the stream was cut")
        finally:
            stop()


class FakeLink:
    """`cluster.contract.Link` of one node."""

    def __init__(self, managers: FakeManagers, node_id: str) -> None:
        self._managers = managers
        self._node_id = node_id

    def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        return self._managers.stream(scopes)

    async def beat(self, report: Report) -> Beat:
        self._managers.check()
        if self._managers.deaf:
            raise Unavailable("etcd does not answer")
        self._managers.beats.append((self._node_id, report))
        return Beat(period=0.01, ttl=0.2, clock=report.clock)

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        self._managers.check()
        if network_id not in self._managers.networks:
            raise NotFound(f"network {network_id} not found")
        for peer in puts:
            assert peer.node == self._node_id
            if peer.id in self._managers.refused:
                raise Conflict(f"address {peer.ipv4} is another's")
            address = ip_interface(peer.ipv4).ip
            held = [b.node for b in self._managers.blocks.values() if address in ip_network(b.prefix, strict=False)]
            if self._node_id not in held and self._managers.networks[network_id].pools:
                raise Conflict(f"address {peer.ipv4} is in no block of node {self._node_id}")
        for peer in puts:
            await self._managers.put_peer(peer)
        for peer_id in gone:
            if peer_id in self._managers.peers:
                await self._managers.drop_peer(peer_id)
        if self._managers.lose_answers:
            raise Unavailable("the answer was lost")
        return self._managers.revision

    async def published(self) -> list[Peer]:
        self._managers.check()
        return [peer for peer in self._managers.peers.values() if peer.node == self._node_id]

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        self._managers.check()
        if self._managers.leases_fail:
            self._managers.leases_fail -= 1
            raise Unavailable("etcd does not answer")
        length = 28 if self._managers.whole else 32
        block = Block(
            network_id,
            subnet,
            address if "/" in address else f"{address or '10.0.0.0'}/{length}",
            self._node_id,
        )
        for other in self._managers.blocks.values() if "/" in address else ():
            if other.node != self._node_id and ip_network(other.prefix).overlaps(ip_network(block.prefix)):
                raise Conflict(f"{other.prefix} belongs to node {other.node}")
        holder = self._managers.blocks.get(block.id)
        if holder is not None and holder.node != self._node_id:
            raise Conflict(f"{block.prefix} belongs to node {holder.node}")
        self._managers.blocks[block.id] = block
        if self._managers.slow_leases is not None:
            await self._managers.slow_leases.wait()
        return block

    async def claim_block(self, block: Block) -> Block:
        self._managers.check()
        if self._managers.leases_fail:
            self._managers.leases_fail -= 1
            raise Unavailable("etcd does not answer")
        prefix = ip_network(block.prefix)
        for held in self._managers.blocks.values():
            if held.node != self._node_id and prefix.overlaps(ip_network(held.prefix, strict=False)):
                raise Conflict(f"{block.prefix} is node {held.node}'s by now")
        self._managers.blocks[block.id] = block
        return block

    async def return_block(self, block: Block) -> None:
        self._managers.check()
        if self._managers.refuses_blocks:
            raise Unavailable("etcd does not answer")
        prefix = ip_network(block.prefix, strict=False)
        for peer in await self.published():
            if peer.network == block.network and ip_interface(peer.ipv4).ip in prefix:
                raise Conflict(f"block {block.prefix} is in use: endpoint {peer.id}")
        self._managers.blocks.pop(block.id, None)

    async def blocks(self) -> list[Block]:
        self._managers.check()
        return [block for block in self._managers.blocks.values() if block.node == self._node_id]

    async def renew(self, request: bytes) -> bytes:
        raise Unavailable("no certificates here")

    async def leave(self) -> None:
        self._managers.check()


class FakeReplica:
    """`cluster.contract.Replica`: what a node has. `mine`: its own endpoints."""

    def __init__(self) -> None:
        self.known: dict[str, Network] = {}
        self.others: dict[str, Peer] = {}
        self.held: dict[str, Block] = {}
        self.mine: dict[str, Peer] = {}
        self.offered: dict[str, Service] = {}
        self.down: frozenset[str] = frozenset()
        self.given_up: list[str] = []

    def networks(self) -> list[Network]:
        return list(self.known.values())

    def peers(self, network_id: str) -> list[Peer]:
        return [peer for peer in self.others.values() if peer.network == network_id]

    def blocks(self) -> list[Block]:
        return list(self.held.values())

    def own(self, network_id: str) -> list[Peer]:
        return [peer for peer in self.mine.values() if peer.network == network_id]

    def present(self) -> set[str]:
        return {peer.network for peer in self.mine.values()}

    def knows(self, network_id: str) -> bool:
        return network_id in self.known

    def is_present(self, network_id: str) -> bool:
        return network_id in self.present()

    async def set_networks(self, puts: Sequence[Network], gone: Sequence[str]) -> None:
        self.known.update((network.id, network) for network in puts)
        for network_id in gone:
            self.known.pop(network_id, None)
            self.mine = {key: peer for key, peer in self.mine.items() if peer.network != network_id}

    async def set_peers(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> None:
        self.others.update((peer.id, peer) for peer in puts)
        for peer_id in gone:
            self.others.pop(peer_id, None)

    async def set_blocks(self, puts: Sequence[Block], gone: Sequence[str]) -> None:
        self.held.update((block.id, block) for block in puts)
        for block_id in gone:
            self.held.pop(block_id, None)

    async def give_up(self, peer: Peer, why: str) -> None:
        del self.mine[peer.id]
        self.given_up.append(peer.id)

    def services(self) -> list[Service]:
        return list(self.offered.values())

    async def set_services(self, puts: Sequence[Service], gone: Sequence[str]) -> None:
        self.offered.update((service.id, service) for service in puts)
        for service_id in gone:
            self.offered.pop(service_id, None)

    def set_down(self, nodes: Collection[str]) -> None:
        self.down = frozenset(nodes)

    async def forget(self) -> None:
        self.offered.clear()
        self.known.clear()
        self.others.clear()
        self.held.clear()
