"""An etcd that is somebody else's to run (`--cluster-store`): managers are its clients and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towline.cluster import codec
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Compare, DeleteKey
from towline.cluster.etcd import EtcdClient
from towline.cluster.etcd_url import EtcdUrl, parse_etcd_url
from towline.cluster.identity import Identity
from towline.cluster.manager import Manager
from towline.cluster.member_ports import check_ports
from towline.cluster.state import State
from towline.model.cluster import Cluster, Node, Secrets
from towline.model.errors import ConfigError, Conflict, StoreError, Unavailable


class ForeignEtcd:
    """`backing.Backing`. store: as the flag's value."""

    has_data = True

    def __init__(self, store: str, identity: Identity) -> None:
        self._url: EtcdUrl = parse_etcd_url(store)
        self._identity = identity
        self._etcd: EtcdClient | None = None
        self._manager: Manager | None = None

    async def begin(self, secrets: Secrets, seconds: float) -> EtcdClient:
        check_ports([(self._identity.listen, self._identity.port)])
        etcd = self._connect()
        if (held := await self._held(etcd)) and held != self._identity.cluster:
            raise Conflict(
                f"the etcd of --cluster-store holds the cluster {held} already: join that one, or give this one "
                f"another etcd. If that cluster is no more: etcdctl del --prefix {codec.PREFIX}"
            )
        return etcd

    async def enlist(self, link: RemoteLink) -> EtcdClient:
        check_ports([(self._identity.listen, self._identity.port)])
        return await self.resume(alone=False)

    async def resume(self, *, alone: bool) -> EtcdClient:
        etcd = self._connect()
        if (held := await self._held(etcd)) != self._identity.cluster:
            raise Conflict(
                f"the etcd of --cluster-store holds {f'the cluster {held}' if held else 'no cluster'}, and this node "
                f"is of {self._identity.cluster}: all its managers need the same --cluster-store"
            )
        return etcd

    def accompany(self, manager: Manager, well: Callable[[], bool]) -> None:
        self._manager = manager

    async def make_room(self, node_id: str, peer: str, fresh: bool) -> tuple[int, dict[str, str]]:
        raise Conflict(
            "the managers of this cluster use an etcd of their own: start the daemon of this node with the same "
            "--cluster-store as theirs, to be one"
        )

    async def promote(self, member: int) -> None:
        """Nothing counts here."""

    async def withdraw(self) -> None:
        """With the last manager goes all that the cluster knew, as it does with a member of our own."""
        if self._etcd is None or self._manager is None:
            return
        state = self._manager.state
        others = [n for n in state.nodes.values() if n.id != self._identity.node and _manages(n, state)]
        cluster = state.version(codec.CLUSTER_KEY)
        if not others and cluster.created:
            when = [Compare(codec.CLUSTER_KEY, cluster.created, target="created")]
            await self._etcd.transact(when, [DeleteKey(codec.PREFIX, prefix=True)])

    async def wait_removed(self) -> str:
        """Nobody takes a client out."""
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        """The connection is its user's to close."""
        if self._etcd is not None:
            await self._etcd.close()

    def _connect(self) -> EtcdClient:
        try:
            self._etcd = EtcdClient(self._url.gateway())
        except ConfigError as error:
            raise Unavailable(str(error)) from None
        return self._etcd

    async def _held(self, etcd: EtcdClient) -> str:
        """Id of the cluster that it holds, or ""."""
        found = await etcd.get(codec.CLUSTER_KEY)
        if not found.modified:
            return ""
        try:
            known = codec.decode(codec.CLUSTER_KEY, found.value)
        except StoreError:
            known = None
        return known.id if isinstance(known, Cluster) else "that this release cannot read"


def _manages(node: Node, state: State) -> bool:
    """Now, or soon: it is being promoted."""
    return bool(node.manager_address) or (node.spec.role == "manager" and node.id in state.alive)
