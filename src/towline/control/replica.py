"""This node's copy of what the cluster says (`cluster.contract.Replica`): in the store, in the kernel, in the names.

What the cluster says need not be durable change by change: it is noted, and written with the next commit, or a second
later. So a daemon that starts while its node is cut off goes on with what it knew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from towline.control.collaborators import NameServers
from towline.control.membership import Membership
from towline.control.mesh import Mesh
from towline.control.replica_networks import Mirror
from towline.control.writer import Writer
from towline.drivers.registry import Drivers
from towline.kernel.contract import Kernel
from towline.model.cluster import Block, Peer
from towline.model.desired import Row, Vxlan
from towline.model.errors import TowlineError
from towline.model.network import SWARM, Network
from towline.model.sandbox import MESH
from towline.model.service import Service, places_of
from towline.plan.presence import desired_now
from towline.plan.rows import rows_of
from towline.policy.peers import what_is_wrong_with_block, what_is_wrong_with_peer
from towline.store.contract import Change, Delete, Put, Store

log = logging.getLogger(__name__)

AGAIN = 1.2
"""Seconds until what is new is announced a second time."""
FLUSH = 1.0
"""Seconds that what the cluster says waits at most for a commit to go along with."""


class NodeIdentity:
    """Who this node is for the others: its id, and the bare address of its VTEP. Set by whoever builds the cluster."""

    def __init__(self) -> None:
        self.become("", "")

    def become(self, node_id: str, vtep: str) -> None:
        """Empty: in no cluster."""
        self.id = node_id
        self.vtep = vtep


class Replica:
    """Calls on the event loop. on_local_change: told the id of a global network when an endpoint of this node on it
    came, changed or went. on_members: of ids of networks on which members of services came, changed or went, here or
    elsewhere, or services did. on_service_change: told the id of a service that came, changed or went. need_repair: see
    `Applier`. down: ids of nodes whose lease has ended. meet: of (network id, nodes), before rows lead there."""

    def __init__(
        self,
        *,
        store: Store,
        writer: Writer,
        kernel: Kernel,
        drivers: Drivers,
        mirror: Mirror,
        membership: Membership,
        mesh: Mesh,
        names: NameServers,
        need_repair: Callable[[], None],
        meet: Callable[[str, Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        self._meet = meet
        self.node = NodeIdentity()
        self._mesh = mesh
        self.down: frozenset[str] = frozenset()
        self.on_local_change: Callable[[str], None] = lambda _: None
        self.on_members: Callable[[Collection[str]], None] = lambda _: None
        self.on_service_change: Callable[[str], None] = lambda _: None
        self._store = store
        self._view = store.view()
        self._writer = writer
        self._kernel = kernel
        self._drivers = drivers
        self._mirror = mirror
        self._membership = membership
        self._names = names
        self._need_repair = need_repair
        self._repeats: set[asyncio.Task[None]] = set()
        self._closed = False
        self._flush: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    # what is known

    def networks(self) -> list[Network]:
        return [network for network in list(self._view.networks()) if network.scope == SWARM]

    def peers(self, network_id: str) -> list[Peer]:
        return list(self._view.peers_of(network_id))

    def blocks(self) -> list[Block]:
        return list(self._view.blocks())

    def own(self, network_id: str) -> list[Peer]:
        """Names only where others can reach them: the bridges of several hosts are no one wire."""
        network = self._view.network(network_id)
        told = network is not None and not (network.whole is not None and network.driver == "bridge")
        return [
            Peer(
                id=endpoint.id,
                network=network_id,
                node=self.node.id,
                vtep=self.node.vtep,
                mac=endpoint.mac,
                sandbox=endpoint.sandbox,
                name=endpoint.name,
                ipv4=endpoint.ipv4,
                ipv6=endpoint.ipv6,
                dns_names=endpoint.dns_names if told else (),
                service=endpoint.service,
            )
            for endpoint in self._view.endpoints_of(network_id)
            if endpoint.ifname
        ]

    def present(self) -> set[str]:
        return {network_id for network_id in self._view.plugged() if self.knows(network_id)}

    def knows(self, network_id: str) -> bool:
        network = self._view.network(network_id)
        return network is not None and network.scope == SWARM

    def is_present(self, network_id: str) -> bool:
        return self.knows(network_id) and self._view.is_plugged(network_id)

    def services(self) -> list[Service]:
        return list(self._view.services())

    def local_change(self, network_id: str) -> None:
        """An endpoint here came, changed or went, on any network."""
        if self.knows(network_id):
            self.on_local_change(network_id)
            self.on_members({network_id})

    # what the cluster says

    async def set_networks(self, puts: Sequence[Network], gone: Sequence[str]) -> None:
        for network_id in gone:
            await self._disconnect_all(network_id)
        if gone:  # first: a new one may have the subnets of one that is gone
            await self._writer.submit(lambda view: self._mirror.plan(view, (), gone))
        if puts:
            await self._writer.submit(lambda view: self._mirror.plan(view, puts, ()))
        for network_id in (*(network.id for network in puts), *gone):
            self._names.names_changed(network_id)
        self._mesh.changed()

    async def _remove_mesh(self) -> None:
        try:
            await self._mesh.remove()
        except TowlineError as error:
            log.error("the routing mesh has not left a network that is gone", extra={"fields": {"error": str(error)}})

    async def _disconnect_all(self, network_id: str) -> None:
        """So that what the sandboxes have of it goes in the order in which it always goes."""
        network = self._view.network(network_id)
        for endpoint in self._view.endpoints_of(network_id) if network is not None and network.scope == SWARM else ():
            if endpoint.sandbox == MESH:
                await self._remove_mesh()
                continue
            fields = {"sandbox": endpoint.name, "network": network.name if network else network_id}
            try:
                await self._membership.disconnect(network_id, endpoint.sandbox, force=False)
                log.warning("disconnected: the network is gone from the cluster", extra={"fields": fields})
            except TowlineError as error:
                log.error(
                    "not disconnected from a network that is gone", extra={"fields": {**fields, "error": str(error)}}
                )

    async def give_up(self, peer: Peer, why: str) -> None:
        fields = {"sandbox": peer.name, "network": peer.network, "ipv4": peer.ipv4, "ipv6": peer.ipv6, "why": why}
        if all(endpoint.id != peer.id for endpoint in self._view.endpoints_of(peer.network)):
            return
        try:
            await self._membership.disconnect(peer.network, peer.sandbox, force=False)
            log.error(
                "disconnected: its address was given to another while this node could not report; connect it again",
                extra={"fields": fields},
            )
        except TowlineError as error:
            log.error(
                "not disconnected, though its address is another's", extra={"fields": {**fields, "error": str(error)}}
            )

    async def set_peers(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> None:
        network = self._view.network(network_id)
        if network is None or network.scope != SWARM:
            puts = ()
        sound = [peer for peer in puts if self._is_sound(peer, network_id)]
        if self._meet is not None and sound:
            await self._meet(network_id, {peer.node for peer in sound})
        news = await self._writer.exclusive(lambda: self._write_peers(network_id, sound, gone))
        if news:
            told = [peer.id for peer in sound]
            asyncio.get_running_loop().call_later(AGAIN, self._announce_again, network_id, told, news)
        self._names.names_changed(network_id, {*(peer.id for peer in sound), *gone})
        self.on_members({network_id})
        self._flush_later()

    def _is_sound(self, peer: Peer, network_id: str) -> bool:
        if problem := what_is_wrong_with_peer(peer, network_id):
            fields = {"network": network_id, "node": peer.node[:64], "problem": problem}
            log.error("an endpoint of another node is ignored", extra={"fields": fields})
        return not problem

    def _write_peers(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> list[Row]:
        """Writer thread, no batch in flight: whether the network is here does not change meanwhile. The rows that are
        new, which have been announced to the endpoints here."""
        changed = [self._view.peer(peer_id) for peer_id in (*(peer.id for peer in puts), *gone)]
        before = self._with_rivals(peer for peer in changed if peer is not None)
        self._store.note([*map(Put, puts), *(Delete(Peer, peer_id) for peer_id in gone)])
        network = self._view.network(network_id)
        tunnel = desired_now(network, self._view, self._drivers).tunnel if network is not None else None
        if tunnel is None:
            return []
        known = (self._view.peer(peer.id) for peer in self._with_rivals([*puts, *before]))
        wanted = rows_of((peer for peer in known if peer is not None), tunnel.local, tunnel.secure)
        former = rows_of(before, tunnel.local, tunnel.secure)
        error = self._kernel.tunnels.set_rows(tunnel.name, wanted, former)
        if error is not None:
            fields = {"link": tunnel.name, "error": str(error)}
            log.error("rows of a tunnel could not be set", extra={"fields": fields})
            self._need_repair()
        known_rows = set(former)
        news = [row for row in wanted if row not in known_rows]
        self._announce(tunnel, news)
        return news

    def _announce(self, tunnel: Vxlan, rows: Sequence[Row]) -> None:
        """Writer thread. An endpoint here may remember an address by the MAC of whoever had it before."""
        error = self._kernel.tunnels.announce(tunnel.bridge, rows)
        if error is not None:
            log.warning("not announced", extra={"fields": {"link": tunnel.bridge, "error": str(error)}})

    def _announce_again(self, network_id: str, peers: Sequence[str], rows: Sequence[Row]) -> None:
        """A neighbour entry that was just renewed believes no announcement for a second (net.ipv4.neigh.*.locktime)."""

        if self._closed:
            return

        def again() -> None:
            network = self._view.network(network_id)
            tunnel = desired_now(network, self._view, self._drivers).tunnel if network is not None else None
            if tunnel is not None:
                known = (self._view.peer(peer_id) for peer_id in peers)
                rivals = self._with_rivals(peer for peer in known if peer is not None)
                wanted = set(rows_of(rivals, tunnel.local, tunnel.secure))
                self._announce(tunnel, [row for row in rows if row in wanted])

        task = asyncio.get_running_loop().create_task(self._writer.exclusive(again))
        self._repeats.add(task)
        task.add_done_callback(self._repeats.discard)

    def _with_rivals(self, peers: Iterable[Peer]) -> list[Peer]:
        """And those that contend with them for a MAC or an address, directly or by others: who has it is decided among
        all of them."""
        found = {peer.id: peer for peer in peers}
        waiting = list(found.values())
        while waiting:
            for rival in self._view.rivals_of(waiting.pop()):
                if rival.id not in found:
                    found[rival.id] = rival
                    waiting.append(rival)
        return list(found.values())

    async def set_blocks(self, puts: Sequence[Block], gone: Sequence[str]) -> None:
        changes: list[Change] = [Put(block) for block in puts if self._is_usable(block)]
        changes += [Delete(Block, block_id) for block_id in gone]
        await self._writer.exclusive(lambda: self._store.note(changes))
        self._flush_later()

    def _is_usable(self, block: Block) -> bool:
        network = self._view.network(block.network)
        problem = what_is_wrong_with_block(block, network) if network is not None else "its network is not known here"
        if problem:
            log.error("a block of addresses is ignored", extra={"fields": {"block": block.id, "problem": problem}})
        return not problem

    async def set_services(self, puts: Sequence[Service], gone: Sequence[str]) -> None:
        known = [self._view.service(service_id) for service_id in (*(service.id for service in puts), *gone)]
        changes: list[Change] = [*map(Put, puts), *(Delete(Service, service_id) for service_id in gone)]
        await self._writer.exclusive(lambda: self._store.note(changes))
        places = {n for s in (*puts, *known) if s is not None for n in places_of(s)}
        for network_id in places:
            self._names.names_changed(network_id)
        self.on_members(places | {network.id for network in self.networks() if network.ingress})
        self._mesh.changed()
        self._flush_later()
        for service_id in (*(service.id for service in puts), *gone):
            self.on_service_change(service_id)

    def set_down(self, nodes: Collection[str]) -> None:
        moved, self.down = self.down ^ set(nodes), frozenset(nodes)
        self._names.set_down(self.down)
        for network in self.networks() if moved and self.services() else ():
            members = {peer.id for peer in self._view.peers_of(network.id) if peer.service and peer.node in moved}
            if members:
                self._names.names_changed(network.id, members)
                self.on_members({network.id})

    async def forget(self) -> None:
        await self.set_services([], [service.id for service in self.services()])
        await self.set_networks([], [network.id for network in self.networks()])
        await self.set_blocks([], [block.id for block in self._view.blocks()])

    # writing

    def _flush_later(self) -> None:
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(FLUSH, self._begin_flush)

    def _begin_flush(self) -> None:
        self._flush = None
        self._flushing = asyncio.get_running_loop().create_task(self._write_notes())

    async def _write_notes(self) -> None:
        try:
            await self._writer.exclusive(lambda: self._store.update(()))
        except TowlineError as error:
            log.error("what the cluster says is not written yet", extra={"fields": {"error": str(error)}})

    async def close(self) -> None:
        """What was noted is written when the store is closed."""
        self._closed = True
        await asyncio.gather(*self._repeats, return_exceptions=True)
        if self._flush is not None:
            self._flush.cancel()
        if self._flushing is not None:
            await self._flushing
