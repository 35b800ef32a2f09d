"""What a manager runs besides its agent: its etcd, its copy of the cluster, and the node API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from towline.cluster import codec
from towline.cluster.backing import Backing, MemberRemoved
from towline.cluster.backup import write
from towline.cluster.bootstrap import bootstrap
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Etcd
from towline.cluster.feed import Feed
from towline.cluster.foreign_etcd import ForeignEtcd
from towline.cluster.gate import Gate
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.ids import new_id
from towline.cluster.manager import Manager
from towline.cluster.own_etcd import OwnEtcd
from towline.cluster.restoring import Restoration, put_back
from towline.cluster.server import NodeApi
from towline.cluster.settling import ALONE
from towline.model.cluster import Cluster, Node, Role, Secrets
from towline.policy.swarm_address import HostPort
from towline.policy.swarm_spec import cert_expiry

log = logging.getLogger(__name__)

_READ = 30.0
"""Seconds until a manager has read the cluster's records for the first time."""


class Stack:
    """One of `found`, `enlist` and `resume`, then `close`. ready: the records have been read. well: etcd is heard.

    store: URL of an etcd that is not ours, "" for a member of our own. clock: nanoseconds since the epoch.
    """

    def __init__(self, identity: Identity, files: IdentityFiles, *, store: str, clock: Callable[[], int]) -> None:
        self.ready = False
        self._identity = identity
        self._files = files
        self._clock = clock
        self._backing: Backing = ForeignEtcd(store, identity) if store else OwnEtcd(identity, files, clock=clock)
        self._etcd: Etcd | None = None
        self._feed: Feed | None = None
        self._manager: Manager | None = None
        self._gate: Gate | None = None
        self._api: NodeApi | None = None

    @property
    def has_data(self) -> bool:
        return self._backing.has_data

    @property
    def well(self) -> bool:
        return self.ready and self._feed is not None and not self._feed.trouble

    @property
    def trouble(self) -> str:
        """Why etcd is not heard now, "" if it is."""
        return self._feed.trouble if self._feed is not None else ""

    @property
    def manager(self) -> Manager:
        assert self._manager is not None
        return self._manager

    # beginnings

    async def found(self, cluster: Cluster, secrets: Secrets, node: Node) -> None:
        """A new cluster's first records."""
        etcd = self._etcd = await self._backing.begin(secrets, cert_expiry(cluster.spec))
        await bootstrap(etcd, cluster, secrets, node, ingress_id=new_id(), now=self._clock())
        await self._run(etcd)

    async def restored(self, what: Restoration) -> None:
        """A cluster of which there was a backup. Unavailable, Conflict."""
        etcd = self._etcd = await self._backing.begin(what.secrets, cert_expiry(what.cluster.spec))
        await put_back(etcd, what)
        await self._run(etcd)

    async def backup(self) -> bytes:
        """`cluster.backup`, read with a quorum. Unavailable."""
        assert self._etcd is not None
        found = await self._etcd.range(codec.PREFIX)
        return await asyncio.to_thread(write, found.items, revision=found.revision, now=self._clock())

    async def enlist(self, link: RemoteLink) -> None:
        """One more manager, for which the others make room. Goes on where an earlier one was cut short."""
        await self._run(await self._backing.enlist(link))
        await link.manager_ready(self._address)

    async def resume(self, *, alone: bool = False) -> None:
        """With what is there. alone: this manager is the only one from now on. MemberRemoved, Unavailable, Conflict."""
        await self._run(await self._backing.resume(alone=alone), alone=alone)
        await self.manager.nodes.set_manager(self._identity.node, self._address)

    @property
    def _address(self) -> str:
        return str(HostPort(self._identity.advertise, self._identity.port))

    async def _run(self, etcd: Etcd, *, alone: bool = False) -> None:
        self._etcd = etcd
        self._feed = Feed(etcd)
        self._manager = Manager(self._identity.node, etcd, self._feed, sign=self._sign, new_id=new_id)
        self._gate = Gate(self._manager, self._backing.make_room, self._backing.promote, clock=self._clock)
        self._api = NodeApi(
            self._manager,
            self._gate,
            cluster=self._identity.cluster,
            ca=self._files.credentials().ca,
            proof=self._files.proof,
        )
        self._feed.start()
        await self._feed.until(lambda state: state.cluster is not None, _READ)
        if alone:
            await self._manager.nodes.begin_era(self._identity.era, self._identity.node, ALONE, etcd)
        elif self._manager.era < self._identity.era:
            raise MemberRemoved("what this manager has of etcd is of before the cluster was restored, or begun anew")
        self._manager.start()
        self._backing.accompany(self._manager, lambda: self.well)
        await self._api.start(self._identity.listen, self._identity.port)
        self.ready = True

    # ends

    async def resign(self) -> None:
        """Out of etcd, and no manager any more for the others. Unavailable. One that does not work has nothing to ask:
        the other managers take it out of etcd."""
        if not self.ready:
            return
        await self.manager.nodes.set_manager(self._identity.node, "")
        await self.withdraw()

    async def withdraw(self) -> None:
        """Out of etcd. Unavailable, Conflict."""
        await self._backing.withdraw()

    async def close(self) -> None:
        """All of it, whatever fails."""
        self.ready = False
        for part in (self._api, self._manager, self._feed, self._backing, self._etcd):
            if part is not None:
                try:
                    await part.close()
                except Exception:
                    log.exception("a part of a manager does not end well")

    async def wait_removed(self) -> str:
        """As `Backing.wait_removed`."""
        return await self._backing.wait_removed()

    def reload(self) -> None:
        """The node's certificate was renewed."""
        if self._api is not None:
            self._api.reload()

    async def _sign(self, request: bytes, node_id: str, role: Role) -> bytes:
        assert self._gate is not None
        return await self._gate.sign(request, node_id, role)
