"""The node API: what nodes ask of a manager over mutual TLS, as structs, and what a manager must do for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from towline.cluster.contract import Beat, Report, Update
from towline.cluster.scopes import Scopes
from towline.model import errors
from towline.model.cluster import Availability, Block, Description, Peer, Role
from towline.model.errors import Failure, TowlineError
from towline.model.masked import Masked

LARGEST_BODY = 1 << 20
"""Bytes of a request."""
LARGEST_JOIN = 64 << 10
"""Bytes of the request of a node that nobody knows yet."""
LARGEST_ANSWER = 64 << 20
"""Bytes of an answer: all endpoints of a node."""
LARGEST_LINE = 32 << 20
"""Bytes of one line of a stream."""
PART = 1 << 20
"""Bytes of a line above which an update is told in several."""
MORE = b"+"
"""A line that begins with it is a part: the next one goes on."""
PROGRESS = 5.0
"""Seconds without news after which a stream carries the revision."""
ERA = "Towline-Era"
"""Header of a request: `Cluster.era`, as far as the asking node knows it."""
SILENCE = 12.0
"""Seconds without a word after which a stream counts as cut: two revisions are missing."""


class JoinRequest(Masked, frozen=True, omit_defaults=True):
    """address: bare IP that the node advertises, "": as the manager sees it. port: of its node API."""

    secret = frozenset({"token"})

    token: str
    request: str
    port: int
    address: str = ""
    data_path: str = ""
    availability: Availability = "active"
    description: Description = Description()


class Joined(msgspec.Struct, frozen=True):
    """certificate: PEM. address: bare IP of the new node. managers: host:port."""

    node: str
    cluster: str
    role: Role
    certificate: str
    address: str
    data_path_port: int
    managers: tuple[str, ...]


class Publication(msgspec.Struct, frozen=True, omit_defaults=True):
    network: str
    puts: tuple[Peer, ...] = ()
    gone: tuple[str, ...] = ()


class BlockRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    network: str
    subnet: str
    address: str = ""


class MemberRequest(msgspec.Struct, frozen=True):
    """A manager to be, that wants to run a member of etcd. addresses: bare IPs for its certificate. peer: URL.
    fresh: it has no data of etcd, so that a member which was begun there for it is of no use any more."""

    addresses: tuple[str, ...]
    peer: str
    fresh: bool = True


class MemberGrant(Masked, frozen=True):
    """PEM: etcd's root, and a certificate and key for this member. member: its number in etcd. others: the other
    members' URLs by their names."""

    secret = frozenset({"key"})

    ca: str
    certificate: str
    key: str
    member: int
    others: dict[str, str]


class Text(msgspec.Struct, frozen=True):
    """A certificate, a signing request, an address: one text."""

    text: str


class Number(msgspec.Struct, frozen=True):
    number: int


class Refused(msgspec.Struct, frozen=True):
    """kind: class of the error in model.errors."""

    kind: str
    message: str


_KINDS = {
    kind.__name__: kind
    for kind in (
        errors.InvalidParameter,
        errors.NotFound,
        errors.Forbidden,
        errors.Conflict,
        errors.Unavailable,
        errors.Unsupported,
        errors.Failure,
    )
}


def refused(error: TowlineError) -> Refused:
    kind = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _KINDS), "Failure")
    return Refused(kind, str(error)[:4096])


def as_error(word: Refused) -> TowlineError:
    return _KINDS.get(word.kind, Failure)(word.message)


class Managing(Protocol):
    """A manager as the node API's server calls it. node_id: of the certificate by which the node was recognised.

    Raises what `contract.Link` says.
    """

    async def recognise(self, node_id: str) -> Role:
        """Which role the operator wants the node to have. Forbidden for one that is not, or no longer, of this cluster;
        Unavailable while that is not known."""
        ...

    @property
    def era(self) -> int:
        """`Cluster.era` as this manager knows it."""
        ...

    def is_member(self, node_id: str) -> bool:
        """Not removed from the cluster, as far as this manager's copy goes."""
        ...

    def watch(self, node_id: str, scopes: Scopes) -> AsyncGenerator[Update, None]:
        """Says something each PROGRESS seconds."""
        ...

    async def beat(self, node_id: str, report: Report, address: str = "") -> Beat: ...
    async def publish(self, node_id: str, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int: ...
    async def published(self, node_id: str) -> list[Peer]: ...
    async def lease_block(self, node_id: str, network_id: str, subnet: str, address: str = "") -> Block: ...
    async def claim_block(self, node_id: str, block: Block) -> Block: ...
    async def return_block(self, node_id: str, block: Block) -> None: ...
    async def blocks(self, node_id: str) -> list[Block]: ...
    async def renew(self, node_id: str, request: bytes) -> bytes: ...
    async def leave(self, node_id: str) -> None: ...


class Gate(Protocol):
    """What a manager decides of nodes that come, and of managers to be."""

    async def join(self, request: JoinRequest, address: str) -> Joined:
        """address: bare IP from which the request came. InvalidParameter for a token that is none of this cluster's."""
        ...

    async def grant_member(self, node_id: str, request: MemberRequest) -> MemberGrant:
        """A place in etcd for a manager to be; the same again for the same peer URL. NotFound for one that has data
        of a member that there is no more."""
        ...

    async def promote_member(self, node_id: str, member: int) -> None:
        """Wait until the member has caught up, and let it count."""
        ...

    async def manager_ready(self, node_id: str, address: str) -> None:
        """Its node API serves at host:port, and its member of etcd takes part."""
        ...
