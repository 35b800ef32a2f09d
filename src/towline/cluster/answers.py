"""What a node in a cluster answers of it: how it is, and what only a manager can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from towline.cluster.agent import Agent
from towline.cluster.contract import Replica
from towline.cluster.kept_identity import KeptIdentity
from towline.cluster.managership import Managership
from towline.cluster.service_verbs import ServiceVerbs
from towline.model.cluster import (
    ClusterStatus,
    NetworkPeer,
    NodeSpec,
    NodeStatus,
    RemoteManager,
    Role,
    Swarm,
    SwarmState,
)
from towline.model.errors import Unavailable
from towline.model.network import Network, SubnetStatus
from towline.model.requests import CreateNetwork, UpdateSwarm
from towline.policy.swarm import PREPARING

_SEEN = 2.0
"""Seconds that a change of networks waits at most for the word of it to come back to this node."""


class Answers:
    """What needs a manager that works raises Unavailable where this node is none. role: by its certificate."""

    def __init__(
        self, identity: KeptIdentity, role: Callable[[], Role], managing: Managership, agent: Agent, replica: Replica
    ) -> None:
        self._identity = identity
        self._role = role
        self._managing = managing
        self._agent = agent
        self._replica = replica
        self.services = ServiceVerbs(managing, agent)

    # on any node

    def state(self) -> SwarmState:
        control = self._managing.works
        nodes = self.statuses() if control else []
        known = self._agent.copy.nodes or {}
        managers = tuple(
            RemoteManager(node.id, node.manager_address) for node in known.values() if node.manager_address
        )
        return SwarmState(
            state="active" if self._agent.informed else "pending",
            node_id=self._identity.value.node,
            address=self._identity.value.advertise,
            manager=self._role() == "manager",
            control=control,
            error=self._managing.problem or self._agent.trouble,
            managers=managers,
            nodes=len(nodes),
            manager_count=sum(status.node.spec.role == "manager" for status in nodes),
            cluster=self._managing.stack.manager.state.cluster if control else None,
        )

    def status(self) -> ClusterStatus:
        copy = self._agent.copy
        statuses = self.statuses() if self._managing.works else copy.statuses()
        cluster = self._identity.value.cluster
        return ClusterStatus(copy.revision, tuple(statuses), self._agent.silence, cluster=cluster)

    def peers(self, network_id: str) -> list[NetworkPeer]:
        """Docker's Peers: the nodes with endpoints on a network that has some here."""
        if not self._replica.is_present(network_id):
            return []
        found = {self._identity.value.node: self._identity.value.data_path}
        found.update((peer.node, peer.vtep) for peer in self._replica.peers(network_id))
        return [NetworkPeer(node[:12], address) for node, address in sorted(found.items())]

    def statuses(self) -> list[NodeStatus]:
        """Empty where this node is no manager."""
        running = self._managing.running
        return running.manager.nodes.statuses() if running is not None else []

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        running = self._managing.running
        return running.manager.networks.statuses(network_id) if running is not None else {}

    # on a manager

    def swarm(self) -> Swarm:
        state = self._managing.stack.manager.state
        if state.cluster is None or state.secrets is None:
            raise Unavailable(PREPARING)
        return Swarm(state.cluster, state.secrets.worker_token, state.secrets.manager_token)

    async def backup(self) -> bytes:
        return await self._managing.stack.backup()

    async def update_cluster(self, request: UpdateSwarm) -> None:
        await self._managing.stack.manager.nodes.update_cluster(request)

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        await self._managing.stack.manager.nodes.update(node_id, version, spec)

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        await self._managing.stack.manager.nodes.remove(node_id, force=force)

    async def create_network(self, request: CreateNetwork) -> Network:
        """Known on this node, and told as an event, when it returns."""
        network = await self._managing.stack.manager.networks.create(request)
        if not await self._agent.seen(lambda copy: network.id in copy.networks, _SEEN):
            await self._replica.set_networks([network], [])
        return network

    async def remove_network(self, network_id: str) -> None:
        await self._agent.publish_now(network_id)
        await self._managing.stack.manager.networks.remove(network_id)
        if not await self._agent.seen(lambda copy: network_id not in copy.networks, _SEEN):
            await self._replica.set_networks([], [network_id])
