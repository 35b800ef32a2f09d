"""The cluster's records in memory, as one revision of etcd has them: indexed, pure, O(1) for every change.

`apply` tells what changed as the Updates that watchers of each scope are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from towline.cluster import codec
from towline.cluster.clocks import has_jumped
from towline.cluster.contract import BASE, KeyValue, Update
from towline.cluster.state_networks import NetworkIndex
from towline.cluster.state_peers import BlockIndex, PeerIndex
from towline.cluster.state_services import ServiceIndex
from towline.cluster.updates import Changes
from towline.model.cluster import Alive, Block, Cluster, Node, Peer, Secrets
from towline.model.errors import StoreError
from towline.model.network import Network
from towline.model.service import Service


class State:
    """revision: up to which every change has been applied. base_changed: that of the last change in scope "base".

    leader: id of the node that is it, or "". managers: nodes with a manager_address. settling, settled:
    `cluster.settling`. networks, peers, blocks, services:
    indexes. unreadable: key -> why, of records that this release cannot read: plans that need all of a kind refuse
    then. All may be read freely between two turns of the event loop.
    """

    def __init__(self, revision: int = 0, items: Iterable[KeyValue] = ()) -> None:
        self.revision = revision
        self.base_changed = 0
        self.cluster: Cluster | None = None
        self.secrets: Secrets | None = None
        self.nodes: dict[str, Node] = {}
        self.managers: dict[str, Node] = {}
        self.alive: dict[str, Alive] = {}
        self.networks = NetworkIndex()
        self.peers = PeerIndex()
        self.blocks = BlockIndex()
        self.services = ServiceIndex()
        self.last_vni = 0
        self.leader = ""
        self.settling: codec.Settling | None = None
        self.settled: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self._versions: dict[str, KeyValue] = {}
        self.apply(revision, tuple(items))

    def version(self, key: str) -> KeyValue:
        """created, modified and lease of a key (no value); zeros for an absent one."""
        return self._versions.get(key) or KeyValue(key)

    def nodes_with_remains(self) -> set[str]:
        """Ids of nodes that have endpoints or blocks, whether they are nodes of the cluster or not any more."""
        return {*self.peers.nodes(), *self.blocks.nodes()}

    def snapshot(self, scope: str) -> Update:
        if scope != BASE:
            return Update(self.revision, scope=scope, snapshot=True, peers=tuple(self.peers.of_network(scope)))
        return Update(
            self.revision,
            snapshot=True,
            cluster=self.cluster,
            nodes=tuple(self.nodes.values()),
            alive=tuple(self.alive.values()),
            networks=tuple(self.networks.all()),
            services=tuple(self.services.all()),
        )

    def apply(self, revision: int, items: Sequence[KeyValue]) -> dict[str, Update]:
        """Everything that happened at one revision (a deleted key has modified 0); what each scope is told."""
        changes = Changes(revision)
        for item in items:
            self._take(item, changes)
        self.revision = revision
        told = changes.updates()
        if BASE in told:
            self.base_changed = revision
        return told

    def _take(self, item: KeyValue, changes: Changes) -> None:
        kind, rest = codec.split_key(item.key)
        self.unreadable.pop(item.key, None)
        if not item.modified:
            self._versions.pop(item.key, None)
            self._delete(kind, rest, changes)
            return
        self._versions[item.key] = KeyValue(item.key, created=item.created, modified=item.modified, lease=item.lease)
        try:
            record = codec.decode(item.key, item.value)
            if record is not None:
                self._put(rest, record, item.modified, changes)
        except (StoreError, ValueError) as error:
            self.unreadable[item.key] = f"{item.key}: {error}"

    def _put(self, rest: str, record: codec.Record, modified: int, changes: Changes) -> None:
        match record:
            case Cluster():
                self.cluster = replace(record, index=modified)
                changes.cluster = self.cluster
            case Secrets():
                self.secrets = record
            case Node():
                self._put_node(replace(record, index=modified))
                changes.nodes[record.id] = self.nodes[record.id]
            case Alive():
                old = self.alive.get(record.node)
                self.alive[record.node] = record
                if old is None or old.problem != record.problem or has_jumped(old, record):
                    changes.alive[record.node] = record
            case Network():
                self.networks.put(record)
                changes.networks[record.id] = record
            case Peer():
                self.peers.put(record)
                changes.put_peer(record)
            case Block():
                self.blocks.put(record)
            case Service():
                record = replace(record, index=modified)
                self.services.put(record)
                changes.services[record.id] = record
            case codec.Guard():
                if rest == "networks":
                    self.last_vni = record.last_vni
            case codec.Leader():
                self.leader = record.node
            case codec.Settling():
                self.settling = record
            case codec.Settled():
                self.settled.add(record.node)

    def _put_node(self, node: Node) -> None:
        self.nodes[node.id] = node
        if node.manager_address:
            self.managers[node.id] = node
        else:
            self.managers.pop(node.id, None)

    def _delete(self, kind: str, rest: str, changes: Changes) -> None:
        match kind:
            case codec.NODE:
                self.nodes.pop(rest, None)
                self.managers.pop(rest, None)
                changes.nodes[rest] = None
            case codec.ALIVE:
                self.alive.pop(rest, None)
                changes.alive[rest] = None
            case codec.NETWORK:
                self.networks.discard(rest)
                changes.networks[rest] = None
            case codec.ENDPOINT:
                network, _, peer_id = rest.partition("/")
                self.peers.discard(network, peer_id)
                changes.drop_peer(network, peer_id)
            case codec.BLOCK:
                self.blocks.discard(rest)
            case codec.SERVICE:
                self.services.discard(rest)
                changes.services[rest] = None
            case codec.CLUSTER:
                self.cluster = None
            case codec.SECRETS:
                self.secrets = None
            case codec.LEADER:
                self.leader = ""
            case codec.SETTLING:
                self.settling = None
            case codec.SETTLED:
                self.settled.discard(rest)
