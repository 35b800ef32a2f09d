"""Who may come in: nodes by token, managers by certificate; and what they get to begin with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from towline.cluster import pki
from towline.cluster.ids import new_id
from towline.cluster.manager import Manager
from towline.cluster.managing_nodes import the_cluster
from towline.cluster.node_api import Joined, JoinRequest, MemberGrant, MemberRequest
from towline.model.cluster import Node, NodeSpec, Role
from towline.model.errors import InvalidParameter
from towline.policy.swarm_address import HostPort
from towline.policy.swarm_spec import cert_expiry

log = logging.getLogger(__name__)

_MOST_ADDRESSES = 16

Enlist = Callable[[str, str, bool], Awaitable[tuple[int, dict[str, str]]]]
"""Adds a member of etcd: (node's id, its peers' URL, whether it has no data) -> its number, and the other members' URLs
by their names."""
Promote = Callable[[int], Awaitable[None]]
"""Lets a member of this number count, when it has caught up."""


class Gate:
    """`node_api.Gate` on a manager. clock: nanoseconds since the epoch."""

    def __init__(self, manager: Manager, enlist: Enlist, promote: Promote, *, clock: Callable[[], int]) -> None:
        self._manager = manager
        self._enlist = enlist
        self._promote = promote
        self._clock = clock

    async def join(self, request: JoinRequest, address: str) -> Joined:
        role = self._manager.role_of(request.token)
        cluster, _ = the_cluster(self._manager.state)
        seen = bare(request.address or address)
        node_id = new_id()
        certificate = await self.sign(request.request.encode(), node_id, role)
        now = self._clock()
        node = Node(
            id=node_id,
            created=now,
            updated=now,
            spec=NodeSpec(role=role, availability=request.availability),
            description=request.description,
            address=seen,
            data_path=bare(request.data_path) if request.data_path else seen,
        )
        await self._manager.nodes.admit(node)
        log.info("a node has joined", extra={"fields": {"node": node_id, "role": role, "address": seen}})
        return Joined(
            node=node_id,
            cluster=cluster.id,
            role=role,
            certificate=certificate.decode(),
            address=seen,
            data_path_port=cluster.data_path_port,
            managers=self.managers(),
        )

    def managers(self) -> tuple[str, ...]:
        nodes = self._manager.state.nodes.values()
        return tuple(sorted(node.manager_address for node in nodes if node.manager_address))

    async def sign(self, request: bytes, node_id: str, role: Role) -> bytes:
        """A node's certificate, PEM. InvalidParameter for a request that is none."""
        cluster, secrets = the_cluster(self._manager.state)
        root = pki.KeyPair(cluster.ca, secrets.ca_key)
        subject = pki.Subject(node_id, role, cluster.id)
        text = request.decode("ascii", "replace")
        return pki.issue_node(root, text, subject, seconds=cert_expiry(cluster.spec)).encode()

    async def grant_member(self, node_id: str, request: MemberRequest) -> MemberGrant:
        cluster, secrets = the_cluster(self._manager.state)
        root = pki.KeyPair(secrets.etcd_ca, secrets.etcd_ca_key)
        pair = issue_member(root, node_id, request.addresses, seconds=cert_expiry(cluster.spec))
        member, others = await self._enlist(node_id, request.peer, request.fresh)
        log.info("a manager gets a place in etcd", extra={"fields": {"node": node_id, "peer": request.peer}})
        return MemberGrant(secrets.etcd_ca, pair.certificate, pair.key, member, others)

    async def promote_member(self, node_id: str, member: int) -> None:
        await self._promote(member)

    async def manager_ready(self, node_id: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        await self._manager.nodes.set_manager(node_id, str(HostPort(bare(host.strip("[]")), int(port))))


def issue_member(root: pki.KeyPair, node_id: str, addresses: Sequence[str], *, seconds: float) -> pki.KeyPair:
    """For an etcd member that is reached at these bare addresses, and on the loopback. InvalidParameter."""
    if len(addresses) > _MOST_ADDRESSES:
        raise InvalidParameter(f"a member of etcd has at most {_MOST_ADDRESSES} addresses")
    known = dict.fromkeys([*(bare(text) for text in addresses), "127.0.0.1"])
    return pki.issue_member(root, node_id, list(known), seconds=seconds)


def bare(text: str) -> str:
    """An IP address, without a scope. InvalidParameter."""
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        raise InvalidParameter(f"{text[:64]!r} is not an IP address") from None
