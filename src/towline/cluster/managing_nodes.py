"""Nodes and the cluster itself, as operators change them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, Etcd, PutKey
from towline.cluster.feed import Feed
from towline.cluster.liveness import member
from towline.cluster.reclaim import Reclaim
from towline.cluster.state import State
from towline.cluster.tokens import new_token
from towline.cluster.transactions import Commits, Transaction, unchanged
from towline.model.cluster import Cluster, Node, NodeSpec, NodeStatus, Secrets
from towline.model.errors import Conflict, Failure, NotFound, Unavailable
from towline.model.requests import UpdateSwarm
from towline.policy.swarm import OUT_OF_SEQUENCE
from towline.policy.swarm_nodes import check_removal, check_update
from towline.policy.swarm_spec import updated


class Nodes:
    """clock: nanoseconds since the epoch."""

    def __init__(self, feed: Feed, commits: Commits, reclaim: Reclaim, *, clock: Callable[[], int]) -> None:
        self._feed = feed
        self._commits = commits
        self._reclaim = reclaim
        self._clock = clock

    def statuses(self) -> list[NodeStatus]:
        return statuses(self._feed.state)

    async def admit(self, node: Node) -> Node:
        """A node that joins. Conflict if there is one of its id. Called again with the same node it changes nothing."""
        key = codec.node_key(node.id)

        def plan(state: State) -> Transaction | None:
            known = state.nodes.get(node.id)
            if known is not None and known.created != node.created:
                raise Conflict(f"there is a node {node.id} in the cluster: let it leave, and join again")
            return None if known else Transaction((Compare(key, 0),), (PutKey(key, codec.encode(node)),))

        await self._commits.run(plan, what=f"node {node.id} cannot join")
        return member(self._feed.state, node.id)

    async def update(self, node_id: str, version: int, spec: NodeSpec) -> None:
        """NotFound, Failure (out of sequence), InvalidParameter (`policy.swarm_nodes.check_update`)."""

        def change(state: State, node: Node) -> Node:
            if node.spec == spec and node.index > version:
                return node  # a lost answer: it has taken effect
            check_update(statuses(state), node_id, spec)
            if node.index != version:
                raise Failure(OUT_OF_SEQUENCE)
            return replace(node, spec=spec)

        await self._change(node_id, change)

    async def set_manager(self, node_id: str, address: str) -> None:
        """It serves the node API at host:port, or ("") does not any more."""
        await self._change(node_id, lambda _, node: replace(node, manager_address=address))

    async def begin_era(self, known: int, node_id: str, seconds: int, etcd: Etcd) -> None:
        """This manager alone goes on; the others are none any more, and nodes have that many seconds to say what they
        hold. known: the last era that this node has heard of."""
        lease = await etcd.grant(seconds)
        now = self._clock()
        era = max(now // 1_000_000_000, known + 1)

        def plan(state: State) -> Transaction:
            cluster, _ = the_cluster(state)
            new = replace(cluster, era=max(era, cluster.era + 1), updated=now, index=0)
            others = [node for node in state.managers.values() if node.id != node_id]
            return Transaction(
                (unchanged(state, codec.CLUSTER_KEY), *(unchanged(state, codec.node_key(n.id)) for n in others)),
                (
                    PutKey(codec.CLUSTER_KEY, codec.encode(new)),
                    PutKey(codec.SETTLING_KEY, codec.encode(codec.Settling(new.era)), lease),
                    DeleteKey(codec.SETTLED_PREFIX, prefix=True),
                    *(
                        PutKey(codec.node_key(n.id), codec.encode(replace(n, manager_address="", updated=now, index=0)))
                        for n in others
                    ),
                ),
            )

        await self._commits.run(
            plan,
            what="this manager cannot go on alone",
            proof=lambda state: state.cluster is not None and state.cluster.updated == now,
        )

    async def _change(self, node_id: str, change: Callable[[State, Node], Node]) -> None:
        key = codec.node_key(node_id)

        def plan(state: State) -> Transaction | None:
            node = state.nodes.get(node_id)
            if node is None:
                raise NotFound(f"node {node_id[:64]} not found")
            new = change(state, node)
            if new == node:
                return None
            new = replace(new, updated=self._clock(), index=0)
            return Transaction((unchanged(state, key),), (PutKey(key, codec.encode(new)),))

        await self._commits.run(plan, what=f"node {node_id[:64]} cannot be changed")

    async def remove(self, node_id: str, *, force: bool) -> None:
        """Its endpoints and addresses are taken back at once. `policy.swarm_nodes.check_removal`."""
        await self._commits.run(
            lambda state: _removal(state, node_id, force),
            what=f"node {node_id[:64]} cannot be removed",
            proof=lambda state: node_id not in state.nodes,
        )
        await self._reclaim.take_back(node_id)

    async def leave(self, node_id: str) -> None:
        """As `contract.Link.leave`: down from now on, without endpoints and addresses, until it is removed."""
        await self._commits.run(lambda state: _leave(state, node_id, self._clock()), what="this node cannot leave")
        await self._reclaim.take_back(node_id)

    async def update_cluster(self, request: UpdateSwarm) -> None:
        """A new spec, and new tokens where they are asked for. `policy.swarm_spec.updated`; Failure (out of
        sequence)."""
        wanted = updated(request.spec)
        now = self._clock()
        ca = the_cluster(self._feed.state)[0].ca
        fresh = (
            new_token(ca) if request.rotate_worker_token else "",
            new_token(ca) if request.rotate_manager_token else "",
        )
        await self._commits.run(
            lambda state: _cluster_update(state, request.version, wanted, fresh, now),
            what="the swarm cannot be updated",
            proof=lambda state: state.cluster is not None and state.cluster.updated == now,
        )


def statuses(state: State) -> list[NodeStatus]:
    """All nodes as they are now, in the order in which they joined."""
    return [_status(state, node) for node in sorted(state.nodes.values(), key=lambda node: (node.created, node.id))]


def _status(state: State, node: Node) -> NodeStatus:
    alive = state.alive.get(node.id)
    seen = bool(node.description.hostname) or state.version(codec.node_guard(node.id)).modified > 0
    return NodeStatus(
        node=node,
        state="ready" if alive else "down" if seen else "unknown",
        message="" if alive or not seen else "heartbeat failure",
        leader=state.leader == node.id,
        reachable=bool(node.manager_address) and alive is not None,
        alive=alive,
    )


def _removal(state: State, node_id: str, force: bool) -> Transaction:
    check_removal(statuses(state), node_id, force=force)
    key, alive = codec.node_key(node_id), codec.alive_key(node_id)
    return Transaction(
        when=(unchanged(state, key), *(() if force else (Compare(alive, 0),))),
        then=(DeleteKey(key), DeleteKey(alive)),
    )


def _leave(state: State, node_id: str, now: int) -> Transaction | None:
    node = member(state, node_id)
    key, alive = codec.node_key(node_id), codec.alive_key(node_id)
    if node_id not in state.alive and not node.manager_address:
        return None
    new = replace(node, manager_address="", updated=now, index=0)
    return Transaction((unchanged(state, key),), (DeleteKey(alive), PutKey(key, codec.encode(new))))


def _cluster_update(
    state: State, version: int, spec: dict[str, object], fresh: tuple[str, str], now: int
) -> Transaction:
    cluster, secrets = the_cluster(state)
    if cluster.index != version:
        raise Failure(OUT_OF_SEQUENCE)
    worker, manager = fresh
    new = replace(cluster, spec=spec, updated=now, index=0)
    kept = replace(secrets, worker_token=worker or secrets.worker_token, manager_token=manager or secrets.manager_token)
    return Transaction(
        when=(unchanged(state, codec.CLUSTER_KEY), unchanged(state, codec.SECRETS_KEY)),
        then=(
            PutKey(codec.CLUSTER_KEY, codec.encode(new)),
            *([PutKey(codec.SECRETS_KEY, codec.encode(kept))] if kept != secrets else ()),
        ),
    )


def the_cluster(state: State) -> tuple[Cluster, Secrets]:
    if state.cluster is None or state.secrets is None:
        raise Unavailable("this manager does not know its cluster yet; try again")
    return state.cluster, state.secrets
