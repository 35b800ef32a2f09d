"""Equal records of the nodes of one process are one object: hosts do not share memory, but this machine has not that
of a thousand hosts. What it saves is not counted as any node's."""

from __future__ import annotations

from msgspec.structs import replace

from towline.cluster.contract import Update
from towline.model.cluster import Alive, Node, Peer
from towline.model.network import Network


class Interner:
    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._networks: dict[str, Network] = {}
        self._nodes: dict[str, Node] = {}
        self._alive: dict[str, Alive] = {}

    def shared(self, update: Update) -> Update:
        if not (update.peers or update.networks or update.nodes or update.alive):
            return update
        return replace(
            update,
            peers=tuple(self.peer(peer) for peer in update.peers),
            networks=tuple(self._network(network) for network in update.networks),
            nodes=tuple(self._node(node) for node in update.nodes),
            alive=tuple(self._life(alive) for alive in update.alive),
        )

    def peer(self, new: Peer) -> Peer:
        known = self._peers.setdefault(new.id, new)
        if known != new:
            known = self._peers[new.id] = new
        return known

    def _network(self, new: Network) -> Network:
        known = self._networks.setdefault(new.id, new)
        if known != new:
            known = self._networks[new.id] = new
        return known

    def _node(self, new: Node) -> Node:
        known = self._nodes.setdefault(new.id, new)
        if known != new:
            known = self._nodes[new.id] = new
        return known

    def _life(self, new: Alive) -> Alive:
        known = self._alive.setdefault(new.node, new)
        if known != new:
            known = self._alive[new.node] = new
        return known
