"""What every node must have once nothing is under way."""

from __future__ import annotations

from collections.abc import Iterable

from scale.node import SimulatedNode
from towline.cluster.state import State
from towline.plan.rows import rows_of


def difference(state: State, nodes: Iterable[SimulatedNode]) -> str:
    """The first thing that differs between etcd's records, a node's records and its fake kernel; "" if nothing does.
    A node is compared on the networks that it has endpoints on; on others it has no records."""
    by_network = {network.id: {p.id: p for p in state.peers.of_network(network.id)} for network in state.networks.all()}
    for node in nodes:
        present = node.replica.present()
        if {network.id for network in node.replica.networks()} != by_network.keys():
            return f"node {node.at} knows other networks"
        for network_id in present:
            said = by_network[network_id]
            own = {peer.id: peer for peer in node.replica.own(network_id)}
            kept = {peer.id: peer for peer in node.replica.peers(network_id)}
            if own != {key: peer for key, peer in said.items() if peer.node == node.id}:
                return f"own endpoints of node {node.at} on {network_id}"
            if kept != {key: peer for key, peer in said.items() if peer.node != node.id}:
                return f"others' endpoints at node {node.at} on {network_id}"
            if wrong := _rows(node, network_id):
                return wrong
    return ""


def _rows(node: SimulatedNode, network_id: str) -> str:
    tunnel = node.tunnel(network_id)
    if tunnel is None:
        return f"node {node.at} has no tunnel for {network_id}"
    wanted = rows_of(node.replica.peers(network_id), tunnel.local)
    if {row.mac: row for row in wanted} != {row.mac: row for row in node.tunnels.rows(tunnel.name)}:
        return f"rows of node {node.at} on {network_id}"
    return ""
