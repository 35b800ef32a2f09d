"""A manager: what it does with the cluster's records in etcd, for operators and for nodes.

Every verb of `contract.Link` is here with the asking node's id before it; who asks has been found out already, from its
certificate. `LocalLink` is the Link of the agent in the same process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from towline.cluster import codec, ids, tokens
from towline.cluster.contract import Beat, Etcd, Report, Update
from towline.cluster.feed import Feed
from towline.cluster.leader import TERM, Leader
from towline.cluster.liveness import Liveness, member
from towline.cluster.managing_blocks import Blocks
from towline.cluster.managing_endpoints import Endpoints
from towline.cluster.managing_networks import Networks
from towline.cluster.managing_nodes import Nodes, the_cluster
from towline.cluster.managing_services import Services
from towline.cluster.reclaim import GRACE, Reclaim
from towline.cluster.scopes import Scopes
from towline.cluster.settling import Settling
from towline.cluster.state import State
from towline.cluster.transactions import Commits
from towline.model.cluster import Block, Peer, Role
from towline.model.errors import Unavailable
from towline.policy.rpc import refusal

Sign = Callable[[bytes, str, Role], Awaitable[bytes]]
"""(signing request in PEM, node's id, its role) -> certificate chain in PEM."""


class Manager:
    """networks, services, nodes, endpoints, leases: the verbs on each. clock: nanoseconds since the epoch.

    Seconds: grace: a node keeps what it has after its lease ended; term: a manager that is gone is still the leader;
    patience: a change is tried.
    """

    def __init__(
        self,
        node_id: str,
        etcd: Etcd,
        feed: Feed,
        *,
        sign: Sign | None = None,
        new_id: Callable[[], str] = ids.new_id,
        grace: float = GRACE,
        term: int = TERM,
        patience: float = 10.0,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node_id = node_id
        self.feed = feed
        self._sign = sign
        self._etcd = etcd
        commits = Commits(etcd, feed, patience=patience, monotonic=monotonic)
        self.leader = Leader(etcd, feed, node_id, term=term, monotonic=monotonic)
        self._reclaim = Reclaim(feed, commits, self.leader, grace=grace, monotonic=monotonic)
        self._settling = Settling(feed, commits, self.leader)
        self.liveness = Liveness(etcd, feed, commits, clock=clock, own=node_id)
        self.networks = Networks(feed, commits, new_id=new_id, clock=clock)
        self.services = Services(feed, commits, new_id=new_id, clock=clock)
        self.nodes = Nodes(feed, commits, self._reclaim, clock=clock)
        self.endpoints = Endpoints(feed, commits, self.liveness)
        self.leases = Blocks(feed, commits, self.liveness)

    @property
    def state(self) -> State:
        """The copy as it is now; do not keep it across an await."""
        return self.feed.state

    def start(self) -> None:
        """The feed is its owner's to start."""
        self.leader.start()
        self._reclaim.start()
        self._settling.start()

    async def close(self) -> None:
        await self._settling.close()
        await self._reclaim.close()
        await self.leader.close()

    def role_of(self, token: str) -> Role:
        """Which role a join token admits to; InvalidParameter (Docker's 400) if it is none of this cluster's."""
        kept = the_cluster(self.state)[1]
        given = token.encode("ascii", "replace").decode()
        role = tokens.role_of(given, worker=kept.worker_token, manager=kept.manager_token)
        if role is None:
            raise refusal("InvalidArgument", "A valid join token is necessary to join this cluster")
        return role

    async def recognise(self, node_id: str) -> Role:
        """As `node_api.Managing`. A node that this copy does not know may be newer than the copy; etcd knows."""
        await self.feed.until(lambda _: True)
        if node_id not in self.state.nodes:
            found = await self._etcd.get(codec.node_key(node_id))
            if found.modified:
                await self.feed.wait(found.modified)
        return member(self.state, node_id).spec.role

    @property
    def era(self) -> int:
        return self.state.cluster.era if self.state.cluster is not None else 0

    def is_member(self, node_id: str) -> bool:
        """Not removed from the cluster; False also while the copy has not been read."""
        return node_id in self.state.nodes

    # node_api.Managing: contract.Link, for the node that asks

    def watch(self, node_id: str, scopes: Scopes) -> AsyncGenerator[Update, None]:
        return self._watch(node_id, scopes)

    async def _watch(self, node_id: str, scopes: Scopes) -> AsyncGenerator[Update, None]:
        await self.feed.until(lambda _: True)
        member(self.state, node_id)
        async with aclosing(self.feed.watch(scopes)) as updates:
            async for update in updates:
                yield update

    async def beat(self, node_id: str, report: Report, address: str = "") -> Beat:
        return await self.liveness.beat(node_id, report, address)

    async def publish(self, node_id: str, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        return await self.endpoints.publish(node_id, network_id, puts, gone)

    async def published(self, node_id: str) -> list[Peer]:
        """What it published at another manager a moment ago is among it: else nobody would ever withdraw that."""
        await self.feed.catch_up()
        return self.endpoints.published(node_id)

    async def lease_block(self, node_id: str, network_id: str, subnet: str, address: str = "") -> Block:
        return await self.leases.lease(node_id, network_id, subnet, address)

    async def claim_block(self, node_id: str, block: Block) -> Block:
        return await self.leases.claim(node_id, block)

    async def return_block(self, node_id: str, block: Block) -> None:
        await self.leases.give_back(node_id, block)

    async def blocks(self, node_id: str) -> list[Block]:
        await self.feed.catch_up()
        return self.leases.of_node(node_id)

    async def renew(self, node_id: str, request: bytes) -> bytes:
        if self._sign is None:
            raise Unavailable("this manager cannot sign certificates")
        return await self._sign(request, node_id, member(self.state, node_id).spec.role)

    async def leave(self, node_id: str) -> None:
        await self.nodes.leave(node_id)


class LocalLink:
    """`contract.Link` of a manager's own agent."""

    def __init__(self, manager: Manager, node_id: str) -> None:
        self._manager = manager
        self._node_id = node_id

    def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        return self._manager.watch(self._node_id, scopes)

    async def beat(self, report: Report) -> Beat:
        return await self._manager.beat(self._node_id, report)

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        return await self._manager.publish(self._node_id, network_id, puts, gone)

    async def published(self) -> list[Peer]:
        return await self._manager.published(self._node_id)

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        return await self._manager.lease_block(self._node_id, network_id, subnet, address)

    async def claim_block(self, block: Block) -> Block:
        return await self._manager.claim_block(self._node_id, block)

    async def return_block(self, block: Block) -> None:
        await self._manager.return_block(self._node_id, block)

    async def blocks(self) -> list[Block]:
        return await self._manager.blocks(self._node_id)

    async def renew(self, request: bytes) -> bytes:
        return await self._manager.renew(self._node_id, request)

    async def leave(self) -> None:
        await self._manager.leave(self._node_id)
