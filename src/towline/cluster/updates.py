"""Collects what one revision, or several of them, changed, as Updates per scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec.structs import replace

from towline.cluster.contract import Update
from towline.model.cluster import Alive, Cluster, Node, Peer
from towline.model.network import Network
from towline.model.service import Service

T = TypeVar("T")

RECORDS = (
    "nodes",
    "alive",
    "networks",
    "services",
    "peers",
    "gone_nodes",
    "gone_alive",
    "gone_networks",
    "gone_services",
    "gone_peers",
)
"""Fields of an Update that hold records, or ids of such that are gone."""


class Changes:
    """Per kind: id -> the record, or None for one that is gone. The last word on an id counts."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.cluster: Cluster | None = None
        self.nodes: dict[str, Node | None] = {}
        self.alive: dict[str, Alive | None] = {}
        self.networks: dict[str, Network | None] = {}
        self.services: dict[str, Service | None] = {}
        self._peers: dict[str, dict[str, Peer | None]] = {}

    def put_peer(self, peer: Peer) -> None:
        self._peers.setdefault(peer.network, {})[peer.id] = peer

    def drop_peer(self, network_id: str, peer_id: str) -> None:
        self._peers.setdefault(network_id, {})[peer_id] = None

    def updates(self) -> dict[str, Update]:
        """By scope; scopes without a change are left out."""
        found = {
            network_id: Update(self.revision, scope=network_id, peers=_present(peers), gone_peers=_gone(peers))
            for network_id, peers in self._peers.items()
        }
        if self.cluster or self.nodes or self.alive or self.networks or self.services:
            found["base"] = self._base()
        return found

    def _base(self) -> Update:
        return Update(
            self.revision,
            cluster=self.cluster,
            nodes=_present(self.nodes),
            alive=_present(self.alive),
            networks=_present(self.networks),
            services=_present(self.services),
            gone_nodes=_gone(self.nodes),
            gone_alive=_gone(self.alive),
            gone_networks=_gone(self.networks),
            gone_services=_gone(self.services),
        )


def merge(updates: Iterable[Update]) -> Update:
    """Several Updates of one scope, in their order, as one (at least one): a snapshot if one of them is."""
    merged = Changes(0)
    peers: dict[str, Peer | None] = {}
    scope, snapshot, ended = "", False, False
    for update in updates:
        if update.snapshot:
            merged, peers, snapshot = Changes(0), {}, True
        scope, ended = update.scope, update.ended
        merged.revision = update.revision
        merged.cluster = update.cluster or merged.cluster
        for record in update.nodes:
            merged.nodes[record.id] = record
        for alive in update.alive:
            merged.alive[alive.node] = alive
        for network in update.networks:
            merged.networks[network.id] = network
        for service in update.services:
            merged.services[service.id] = service
        for peer in update.peers:
            peers[peer.id] = peer
        merged.nodes.update(dict.fromkeys(update.gone_nodes))
        merged.alive.update(dict.fromkeys(update.gone_alive))
        merged.networks.update(dict.fromkeys(update.gone_networks))
        merged.services.update(dict.fromkeys(update.gone_services))
        peers.update(dict.fromkeys(update.gone_peers))
    fields = {
        "scope": scope,
        "snapshot": snapshot,
        "ended": ended,
        "peers": _present(peers),
        "gone_peers": _gone(peers),
    }
    if snapshot:
        fields.update((name, ()) for name in RECORDS if name.startswith("gone_"))
    return replace(merged._base(), **fields)


def size_of(update: Update) -> int:
    """How many records."""
    return sum(len(getattr(update, name)) for name in RECORDS)


def _present(records: Mapping[str, T | None]) -> tuple[T, ...]:
    return tuple(record for record in records.values() if record is not None)


def _gone(records: Mapping[str, T | None]) -> tuple[str, ...]:
    return tuple(key for key, record in records.items() if record is None)
