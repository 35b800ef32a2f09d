"""Several managers of one cluster on one etcd, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from towline.cluster.bootstrap import bootstrap
from towline.cluster.contract import Etcd
from towline.cluster.feed import Feed
from towline.cluster.manager import Manager
from towline.model.cluster import Cluster, Description, Node, NodeSpec, Peer, Secrets
from towline.policy.swarm_spec import default_spec

SECRETS = Secrets("key", "SWMTKN-1-worker", "SWMTKN-1-manager")


def cluster(**fields: object) -> Cluster:
    return Cluster(**{"id": "c" * 25, "created": 1, "spec": default_spec(), **fields})  # type: ignore[arg-type]


def node(at: int, **fields: object) -> Node:
    known: dict[str, object] = {
        "id": f"node{at:021}",
        "created": at + 1,
        "spec": NodeSpec(role="manager" if at == 0 else "worker"),
        "description": Description(hostname=f"host{at}"),
        "data_path": f"192.0.2.{at + 1}",
        "manager_address": f"192.0.2.{at + 1}:2377" if at == 0 else "",
    }
    return Node(**{**known, **fields})  # type: ignore[arg-type]


def peer(owner: Node, network_id: str, at: int, ipv4: str, **fields: object) -> Peer:
    known: dict[str, object] = {
        "id": f"{at:064x}",
        "network": network_id,
        "node": owner.id,
        "vtep": owner.data_path,
        "mac": f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}",
        "name": f"e{at}",
        "ipv4": ipv4,
    }
    return Peer(**{**known, **fields})  # type: ignore[arg-type]


class Clock:
    """Seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def ns(self) -> int:
        return int(self.now * 1e9)


@asynccontextmanager
async def managers(
    clients: Sequence[Etcd],
    *,
    of: Cluster | None = None,
    nodes: int = 1,
    idle: float = 0.05,
    new: Callable[..., Manager] = Manager,
    **settings: object,
) -> AsyncIterator[list[Manager]]:
    """One for each client, of a new cluster with that many nodes; running, and up to date."""
    first = node(0)
    await bootstrap(clients[0], of or cluster(), SECRETS, first, ingress_id="i" * 25, now=1)
    feeds = [Feed(client, idle=idle) for client in clients]
    found = [new(first.id, client, feed, **settings) for client, feed in zip(clients, feeds, strict=True)]
    for feed, manager in zip(feeds, found, strict=True):
        feed.start()
        manager.start()
    try:
        revision = 0
        for at in range(nodes):
            joined = await found[0].nodes.admit(node(at))
            revision = max(revision, joined.index)
        for feed in feeds:
            await feed.wait(revision)
        yield found
    finally:
        for feed, manager in zip(feeds, found, strict=True):
            await manager.close()
            await feed.close()
