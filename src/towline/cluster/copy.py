"""What a node knows of the cluster itself: its nodes, who is alive, how far this copy is. In memory; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from towline.cluster.contract import Update
from towline.model.cluster import Alive, Cluster, Node, NodeStatus
from towline.model.service import Service


class ClusterCopy:
    """revision: of the cluster's store, up to which scope "base" has been applied here. networks: id -> name.
    down: ids of nodes that are not alive."""

    def __init__(self) -> None:
        self.revision = 0
        self.cluster: Cluster | None = None
        self.nodes: dict[str, Node] = {}
        self.alive: dict[str, Alive] = {}
        self.networks: dict[str, str] = {}
        self.down: set[str] = set()
        self.services: dict[str, Service] = {}

    def part(self, node_ids: Iterable[str]) -> ClusterCopy:
        """A copy of what is known of these nodes; O(these)."""
        other = ClusterCopy()
        for node_id in node_ids:
            if node_id in self.nodes:
                other.nodes[node_id] = self.nodes[node_id]
            if node_id in self.alive:
                other.alive[node_id] = self.alive[node_id]
        return other

    def status(self, node_id: str) -> NodeStatus | None:
        """As far as any node can tell: who leads, only managers know."""
        node = self.nodes.get(node_id)
        if node is None:
            return None
        alive = self.alive.get(node_id)
        reachable = bool(node.manager_address) and alive is not None
        return NodeStatus(node, "ready" if alive else "down", reachable=reachable, alive=alive)

    def statuses(self) -> list[NodeStatus]:
        return [status for status in map(self.status, list(self.nodes)) if status is not None]

    def apply(self, update: Update) -> None:
        if update.snapshot:
            self.nodes.clear()
            self.alive.clear()
            self.networks.clear()
            self.down.clear()
            self.services.clear()
        if update.cluster is not None:
            self.cluster = update.cluster
        self.nodes.update((node.id, node) for node in update.nodes)
        self.alive.update((alive.node, alive) for alive in update.alive)
        self.networks.update((network.id, network.name) for network in update.networks)
        self.services.update((service.id, service) for service in update.services)
        for service_id in update.gone_services:
            self.services.pop(service_id, None)
        for network_id in update.gone_networks:
            self.networks.pop(network_id, None)
        for node_id in update.gone_nodes:
            self.nodes.pop(node_id, None)
        for node_id in update.gone_alive:
            self.alive.pop(node_id, None)
        self._note_down({node.id for node in update.nodes}, update.gone_nodes, update.gone_alive)
        self.down -= {alive.node for alive in update.alive}
        self.revision = update.revision

    def _note_down(self, *changed: Collection[str]) -> None:
        """O(what changed)."""
        for node_id in (node_id for part in changed for node_id in part):
            if node_id in self.nodes and node_id not in self.alive:
                self.down.add(node_id)
            else:
                self.down.discard(node_id)
