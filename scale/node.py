"""One simulated node: the real agent and the real replica over a store in memory and a fake kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

from msgspec.structs import replace

from scale.digests import digest_of_names
from scale.inline import Inline
from scale.link import MeteredLink
from scale.recorder import Recorder
from scale.wire import Holding
from towline.cluster.agent import Agent
from towline.control.collaborators import NameServers
from towline.control.membership import Membership
from towline.control.mesh import Mesh
from towline.control.replica import Replica
from towline.control.replica_networks import Mirror
from towline.control.work import Work
from towline.control.writer import Writer
from towline.drivers.overlay import UnderlayHolder
from towline.drivers.registry import builtin_drivers
from towline.ipam.blocks import reserved_addresses
from towline.ipam.prefix import format_address, parse_prefix
from towline.ipam.registry import builtin_drivers as builtin_ipams
from towline.kernel.contract import Kernel
from towline.kernel.fake import FakeLinks
from towline.kernel.fake_tunnels import FakeTunnels
from towline.model.cluster import Description, Node, Peer, Underlay
from towline.model.desired import Row, Vxlan
from towline.model.endpoint import Endpoint
from towline.model.errors import KernelError, TowlineError
from towline.model.info import Counters
from towline.model.network import Network
from towline.plan.presence import desired_now
from towline.plan.rows import rows_of
from towline.store.contract import Delete, Put
from towline.store.memory import MemoryStore


class WatchedTunnels(FakeTunnels):
    """Tells the recorder of every row that was put."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(FakeLinks())
        self._recorder = recorder

    def set_rows(self, name: str, puts: Sequence[Row], gone: Sequence[Row]) -> KernelError | None:
        error = super().set_rows(name, puts, gone)
        if error is None:
            self._recorder.programmed(puts)
        return error

    def announce(self, bridge: str, rows: Sequence[Row]) -> KernelError | None:
        """Not kept: there are millions."""
        return None


class _NoNames:
    def names_changed(self, network_id: str, peers: object = ()) -> None: ...
    def set_down(self, nodes: object) -> None: ...


class _NoMesh:
    def changed(self) -> None: ...


class _Applier:
    """Commits; makes a network's tunnel with its first endpoint and takes it away with the last. Writer thread."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def apply(self, works: Sequence[Work]) -> list[TowlineError | None]:
        changes = [change for work in works for change in work.changes]
        gone = (change.id for change in changes if isinstance(change, Delete) and change.kind is Endpoint)
        left = {endpoint.network for endpoint in map(self._node.view.endpoint, gone) if endpoint is not None}
        tunnels = {network_id: self._node.tunnel(network_id) for network_id in left}
        self._node.store.update(changes)
        for network_id, tunnel in tunnels.items():
            if tunnel is not None and self._node.tunnel(network_id) is None:
                self._node.unmake(tunnel)
        for change in changes:
            if isinstance(change, Put) and isinstance(change.record, Endpoint):
                self._node.make(change.record.network)
        return [None] * len(works)


class SimulatedNode:
    """record: the node as the cluster knows it. Call on the event loop; `start`, then `close`."""

    def __init__(self, at: int, record: Node, link: MeteredLink, recorder: Recorder) -> None:
        self.at = at
        self.id = record.id
        self.link = link
        self.store = MemoryStore()
        self.view = self.store.view()
        self.tunnels = WatchedTunnels(recorder)
        self._record = record
        self._drivers = builtin_drivers(UnderlayHolder(Underlay(record.data_path)))
        ipams = builtin_ipams((), record.id)
        self._writer = Writer(self.view, cast(Any, _Applier(self)), Counters(), thread=Inline())
        self.replica = Replica(
            store=self.store,
            writer=self._writer,
            kernel=cast(Kernel, SimpleNamespace(tunnels=self.tunnels)),
            drivers=self._drivers,
            mirror=Mirror(self._drivers, ipams),
            membership=cast(Membership, None),
            names=cast(NameServers, _NoNames()),
            mesh=cast(Mesh, _NoMesh()),
            need_repair=lambda: None,
        )
        self.replica.node.become(record.id, record.data_path)
        self.agent = self._agent()
        self._recorder = recorder
        self._made = 0
        self._free: dict[str, list[str]] = {}

    def _agent(self) -> Agent:
        agent = Agent(self.id, self.link, self.replica, data_path=self._record.data_path, describe=self._describe)
        self.replica.on_local_change = agent.local_change
        return agent

    def _describe(self) -> Description:
        return self._record.description

    async def start(self) -> None:
        self._writer.start()
        self.agent.start()

    async def restart(self, seconds: float) -> bool:
        """The daemon ends and starts with what it kept. Whether it has caught up within that time."""
        await self.agent.close()
        self.agent = self._agent()
        self.agent.start()
        if not await self.agent.known(seconds):
            return False
        for network_id in self.replica.present():
            await self.agent.prepare(network_id)
        return True

    async def close(self) -> None:
        await self.agent.close()
        await self.replica.close()
        await self._writer.close()
        await self.link.close()

    def holding(self) -> Holding:
        return Holding(self.at, sum(len(table.fdb) for table in self.tunnels.tables.values()))

    def whole(self, digest: Callable[[Peer], int]) -> Holding:
        """With digests of everything, and its rows compared with its records."""
        present = {}
        wrong = ""
        for network_id in self.replica.present():
            others = self.replica.peers(network_id)
            present[network_id] = str(sum(map(digest, (*others, *self.replica.own(network_id)))))
            tunnel = self.tunnel(network_id)
            if tunnel is None or set(self.tunnels.rows(tunnel.name)) != set(rows_of(others, tunnel.local)):
                wrong = wrong or f"rows of node {self.at} on {network_id}"
        networks = digest_of_names(network.id for network in self.replica.networks())
        return replace(self.holding(), present=present, networks=networks, wrong=wrong)

    # endpoints

    async def join(self, network: Network, count: int = 1, *, tracked: bool = False) -> None:
        await self.agent.prepare(network.id)
        endpoints = []
        for _ in range(count):
            address = await self._address(network)
            self._made += 1
            digits = sha256(f"{self.id} {self._made}".encode()).hexdigest()
            mac = ":".join(("02", *(digits[i : i + 2] for i in range(0, 10, 2))))
            if tracked:
                self._recorder.expect(mac)
            name = f"box-{self.at}-{self._made}"
            endpoints.append(
                Endpoint(
                    digits, name, network.id, sandbox=digits, mac=mac, ipv4=address, ifname="eth0", dns_names=(name,)
                )
            )
        await self._writer.submit(lambda view: Work(changes=[Put(endpoint) for endpoint in endpoints]))
        self.replica.local_change(network.id)

    async def leave_one(self, network_id: str) -> None:
        endpoint = self.view.endpoints_of(network_id)[-1]
        await self._writer.submit(lambda view: Work(changes=[Delete(Endpoint, endpoint.id)]))
        self.replica.local_change(network_id)

    async def rejoin(self, network: Network) -> None:
        """One more endpoint, of an address that is leased already if there is one; else none: a node that is cut off
        gets no block."""
        if self._free.get(network.id):
            await self.join(network)

    async def _address(self, network: Network) -> str:
        """CIDR, of a block of this node; leases one where that is needed."""
        free = self._free.setdefault(network.id, [])
        pool = network.pools[0]
        while not free:
            block = parse_prefix((await self.agent.lease(network.id, pool.subnet)).prefix)
            reserved = reserved_addresses(pool)
            size = pool.subnet.partition("/")[2]
            free += [
                f"{format_address(at, False)}/{size}"
                for at in range(block.end, block.start - 1, -1)
                if at not in reserved
            ]
        return free.pop()

    def make(self, network_id: str) -> None:
        """Writer thread: bridge, tunnel and rows, if they are not there."""
        tunnel = self.tunnel(network_id)
        if tunnel is not None and tunnel.name not in self.tunnels.tables:
            self.tunnels.links.add_foreign(tunnel.bridge, "bridge")
            error = self.tunnels.create([tunnel])[0]
            if error is not None:
                raise error
            self.tunnels.set_rows(tunnel.name, rows_of(self.view.peers_of(network_id), tunnel.local), ())

    def unmake(self, tunnel: Vxlan) -> None:
        self.tunnels.links.remove([tunnel.name, tunnel.bridge])
        self.tunnels.tables.pop(tunnel.name, None)

    def tunnel(self, network_id: str) -> Vxlan | None:
        network = self.view.network(network_id)
        return desired_now(network, self.view, self._drivers).tunnel if network is not None else None
