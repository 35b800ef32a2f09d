"""What the parts of this room, and control, ask of each other. docs/design/cluster.md has the whole picture."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from typing import Literal, Protocol

import msgspec

from towline.cluster.scopes import Scopes
from towline.model.cluster import Alive, Block, Cluster, Description, Node, Peer
from towline.model.network import Network
from towline.model.secure import SecureKey
from towline.model.service import Service

# etcd


class KeyValue(msgspec.Struct, frozen=True):
    """Revisions are etcd's: created and modified are 0 for an absent key, value is b"" then."""

    key: str
    value: bytes = b""
    created: int = 0
    modified: int = 0
    lease: int = 0


class Compare(msgspec.Struct, frozen=True):
    """A condition of a transaction. target: which number of the key must equal `revision` (0: the key is absent).
    prefix: of every key that begins with `key`; with revision 0 none may exist."""

    key: str
    revision: int
    target: Literal["modified", "created"] = "modified"
    prefix: bool = False


class PutKey(msgspec.Struct, frozen=True):
    """lease 0: none."""

    key: str
    value: bytes
    lease: int = 0


class DeleteKey(msgspec.Struct, frozen=True):
    """prefix: every key that begins with `key`."""

    key: str
    prefix: bool = False


class Range(msgspec.Struct, frozen=True):
    revision: int
    items: tuple[KeyValue, ...]


class Watched(msgspec.Struct, frozen=True):
    """Everything that happened at one revision under the prefix, in order; a deleted key has modified 0."""

    revision: int
    items: tuple[KeyValue, ...]


class Compacted(Exception):
    """The watch's start is older than what etcd keeps: read everything again."""


class Etcd(Protocol):
    """A connection to etcd's v3 API. Every call raises Unavailable when no member answers, or not in time; after a
    transaction the outcome is unknown then. `cluster.etcd` is the real one, `cluster.etcd_fake` the fake."""

    async def get(self, key: str) -> KeyValue: ...
    async def range(self, prefix: str) -> Range:
        """Every key that begins with `prefix`, at one revision, in order of keys; in pages where they are many."""
        ...

    async def transact(self, when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> int | None:
        """All of `then` if all of `when` holds; the revision, or None if a condition did not hold.

        NotFound if the lease of a put has ended. InvalidParameter for more than `etcd_limits.OPERATIONS` conditions or
        changes, more than `etcd_limits.REQUEST_BYTES`, or two changes of one key.
        """
        ...

    def watch(self, prefix: str, since: int) -> AsyncIterator[Watched]:
        """Changes from revision `since` on, without a gap. Goes on over lost connections by itself; Compacted, or
        Unavailable after 3 s without a member. An empty `items` now and then carries the revision (progress)."""
        ...

    async def grant(self, seconds: int) -> int:
        """A lease's id."""
        ...

    async def keep(self, lease: int) -> bool:
        """Prolong it once; False if it has ended."""
        ...

    async def revoke(self, lease: int) -> None: ...
    async def close(self) -> None: ...


# nodes and managers

BASE = "base"
"""The scope of what concerns every node."""


class Update(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed in a scope up to `revision`. snapshot: these are all records of the scope there are; else changes.

    Scope "base": cluster, nodes, alive, networks, services. Scope of a network id: peers of that network. gone: ids
    (of an Alive: the node's). ended: there is no such scope (any more). One of scope "base" without records says only
    that everything up to the revision has been told, of every scope of the stream.
    """

    revision: int
    scope: str = BASE
    snapshot: bool = False
    ended: bool = False
    cluster: Cluster | None = None
    nodes: tuple[Node, ...] = ()
    alive: tuple[Alive, ...] = ()
    networks: tuple[Network, ...] = ()
    peers: tuple[Peer, ...] = ()
    gone_nodes: tuple[str, ...] = ()
    gone_alive: tuple[str, ...] = ()
    gone_networks: tuple[str, ...] = ()
    gone_peers: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    gone_services: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's regular word to a manager. description, data_path, secure: sent when they changed, and first. era: of
    the cluster, as it was when this node compared its addresses with the managers' word, 0: it has not."""

    revision: int
    clock: int
    repairs: int = 0
    problem: str = ""
    description: Description | None = None
    data_path: str = ""
    secure: tuple[SecureKey, ...] | None = None
    era: int = 0


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The manager's answer. period: seconds until the next report; ttl: seconds after which a silent node is down."""

    period: float
    ttl: float
    clock: int
    role: Literal["worker", "manager"] = "worker"
    managers: tuple[str, ...] = ()


class Link(Protocol):
    """What a node's agent asks of the managers: over mutual TLS, or of the manager in the same process.

    Who asks is the node of the certificate. Raises Unavailable when no manager answers; Forbidden when this node may
    not; NotFound for a network that is gone.
    """

    def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        """Of each scope first a snapshot, then what changes, without a gap; an Update without records now and then
        carries the revision. The scopes may change meanwhile. Ends with Unavailable: watch again (another manager is
        asked), and each scope begins anew. To be closed (`aclose`) by a reader that leaves earlier."""
        ...

    async def beat(self, report: Report) -> Beat: ...
    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        """Endpoints of this node; the revision at which they are known. Only this node's own are touched."""
        ...

    async def published(self) -> list[Peer]:
        """All endpoints of this node that the cluster knows of, on any network."""
        ...

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block of the subnet for this node; with `address`, one that holds it, or exactly that part of the subnet
        (CIDR). Unavailable if none is left, or Conflict if another node has it: the text says who."""
        ...

    async def claim_block(self, block: Block) -> Block:
        """A block that this node holds by its own word and not by the cluster's: it was taken back while the node could
        not report, or the cluster has forgotten it. As it is known from now on; Conflict if it is another node's by a
        later lease, NotFound with its network."""
        ...

    async def return_block(self, block: Block) -> None: ...
    async def blocks(self) -> list[Block]:
        """All that this node holds by the cluster's word."""
        ...

    async def renew(self, request: bytes) -> bytes:
        """A new certificate (PEM chain) for a signing request (PEM), with the role that the node has now."""
        ...

    async def leave(self) -> None:
        """This node is going: its endpoints are withdrawn, it is shown as down."""
        ...


class Replica(Protocol):
    """This node's copy of what concerns it, in its store and its kernel. control implements it, the agent feeds it."""

    def networks(self) -> list[Network]:
        """Global networks that are known here."""
        ...

    def peers(self, network_id: str) -> list[Peer]: ...
    def blocks(self) -> list[Block]: ...
    def own(self, network_id: str) -> list[Peer]:
        """What the cluster must know of this node's endpoints on a network: those of running sandboxes."""
        ...

    def knows(self, network_id: str) -> bool:
        """Is it a global network that is known here? O(1), as `is_present`."""
        ...

    def present(self) -> set[str]:
        """Ids of global networks that have an endpoint on this node: O(what it answers)."""
        ...

    def is_present(self, network_id: str) -> bool:
        """Has this global network an endpoint on this node?"""
        ...

    async def set_networks(self, puts: Sequence[Network], gone: Sequence[str]) -> None:
        """gone: endpoints that are still there are disconnected first, with a log line each."""
        ...

    async def set_peers(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> None:
        """Records, names, and in the kernel one replace per row."""
        ...

    async def set_blocks(self, puts: Sequence[Block], gone: Sequence[str]) -> None: ...
    async def give_up(self, peer: Peer, why: str) -> None:
        """This endpoint of this node leaves its network, because its address is another's. Raises nothing."""
        ...

    def services(self) -> list[Service]:
        """Those that are known here."""
        ...

    async def set_services(self, puts: Sequence[Service], gone: Sequence[str]) -> None:
        """Records and names. Sandboxes of a service that is gone go on, and are members of nothing."""
        ...

    def set_down(self, nodes: Collection[str]) -> None:
        """Ids of the nodes whose lease has ended: members there are not named any more. Not kept over a restart."""
        ...

    async def forget(self) -> None:
        """The node has left the cluster: everything global goes."""
        ...
