"""What a manager runs besides its agent: a member of etcd, its copy of the cluster, and the node API."""

from __future__ import annotations

import logging
from collections.abc import Callable

from towline.cluster import pki
from towline.cluster.bootstrap import bootstrap
from towline.cluster.client import RemoteLink
from towline.cluster.etcd import EtcdClient
from towline.cluster.feed import Feed
from towline.cluster.gate import Gate, issue_member
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.ids import new_id
from towline.cluster.manager import Manager
from towline.cluster.member import Member
from towline.cluster.member_flags import MemberConfig, Tls
from towline.cluster.member_ports import check_host
from towline.cluster.member_sweep import MemberSweep
from towline.cluster.member_verbs import Members
from towline.cluster.node_api import MemberGrant, MemberRequest
from towline.cluster.server import NodeApi
from towline.model.cluster import Cluster, Node, Role, Secrets
from towline.model.errors import Conflict, NotFound, Unavailable
from towline.policy.swarm_address import HostPort

log = logging.getLogger(__name__)

_READ = 30.0
"""Seconds until a manager has read the cluster's records for the first time."""


class MemberRemoved(Unavailable):
    """The cluster has taken this manager's member out of etcd: its data is of no use any more."""


class Stack:
    """One of `found`, `enlist` and `resume`, then `close`. ready: the records have been read. well: etcd is heard."""

    def __init__(self, identity: Identity, files: IdentityFiles, *, clock: Callable[[], int]) -> None:
        self.ready = False
        self._identity = identity
        self._files = files
        self._clock = clock
        self._config = MemberConfig(
            name=identity.node,
            root=str(files.root),
            advertise=identity.advertise,
            peer_port=identity.port + 1,
            client_port=identity.port + 2,
            tls=Tls(*(str(files.etcd_tls / name) for name in ("ca.pem", "member.pem", "member.key"))),
        )
        self._member = Member(self._config)
        self._etcd: EtcdClient | None = None
        self._members: Members | None = None
        self._feed: Feed | None = None
        self._manager: Manager | None = None
        self._gate: Gate | None = None
        self._api: NodeApi | None = None
        self._sweep: MemberSweep | None = None

    @property
    def has_data(self) -> bool:
        return self._member.has_data

    @property
    def well(self) -> bool:
        return self.ready and self._feed is not None and not self._feed.trouble

    @property
    def manager(self) -> Manager:
        assert self._manager is not None
        return self._manager

    # beginnings

    async def found(self, cluster: Cluster, secrets: Secrets, node: Node) -> None:
        """etcd's first member, and the cluster's first records."""
        check_host(self._config, self._identity.listen, self._identity.port)
        root = pki.KeyPair(secrets.etcd_ca, secrets.etcd_ca_key)
        pair = issue_member(root, self._identity.node, [self._identity.advertise])
        self._files.save_member_tls(secrets.etcd_ca, pair.certificate, pair.key)
        await self._member.start("new")
        etcd = self._connect()
        await bootstrap(etcd, cluster, secrets, node, ingress_id=new_id(), now=self._clock())
        await self._run(etcd)

    async def enlist(self, link: RemoteLink) -> None:
        """One more member of etcd; the other managers make room for it. Goes on where an earlier one was cut short."""
        check_host(self._config, self._identity.listen, self._identity.port)
        grant = await self._granted(link)
        self._files.save_member_tls(grant.ca, grant.certificate, grant.key)
        if self._member.has_data:
            await self._member.start("resume")
        else:
            await self._member.start("join", grant.others)
        await link.promote_member(grant.member)
        await self._member.wait_promoted(_READ)
        await self._run(self._connect())
        await link.manager_ready(str(HostPort(self._identity.advertise, self._identity.port)))

    async def _granted(self, link: RemoteLink) -> MemberGrant:
        if self._member.has_data:
            request = MemberRequest((self._identity.advertise,), self._config.peer_url, fresh=False)
            try:
                return await link.grant_member(request)
            except NotFound:
                self._files.erase_member()
        return await link.grant_member(MemberRequest((self._identity.advertise,), self._config.peer_url))

    async def resume(self, *, alone: bool = False) -> None:
        """With the data that is there. alone: this member is the whole cluster from now on, for a lost quorum."""
        try:
            await self._member.start("force-new" if alone else "resume")
        except Unavailable as error:
            raise MemberRemoved(str(error)) if self._member.state.phase == "removed" else error from None
        await self._run(self._connect())
        address = str(HostPort(self._identity.advertise, self._identity.port))
        await self.manager.nodes.set_manager(self._identity.node, address)
        for node in list(self.manager.state.nodes.values()) if alone else ():
            if node.manager_address and node.id != self._identity.node:
                await self.manager.nodes.set_manager(node.id, "")

    def _connect(self) -> EtcdClient:
        gateway = self._member.gateway()
        self._members = Members(gateway)
        self._etcd = EtcdClient(gateway)
        return self._etcd

    async def _run(self, etcd: EtcdClient) -> None:
        self._feed = Feed(etcd)
        self._manager = Manager(self._identity.node, etcd, self._feed, sign=self._sign, new_id=new_id)
        self._gate = Gate(self._manager, self._enlist_other, self._promote_other, clock=self._clock)
        self._api = NodeApi(
            self._manager,
            self._gate,
            cluster=self._identity.cluster,
            ca=self._files.credentials().ca,
            proof=self._files.proof,
        )
        self._feed.start()
        await self._feed.until(lambda state: state.cluster is not None, _READ)
        self._manager.start()
        assert self._members is not None
        self._sweep = MemberSweep(
            self._members,
            self._manager.nodes,
            self._manager.leader,
            lambda: self.manager.state if self.well else None,
            own=self._identity.node,
        )
        self._sweep.start()
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
        if self._members is None:
            return
        members = await self._members.list()
        for member in members if len(members) > 1 else ():
            if member.name == self._identity.node:
                await self._members.remove(member.id)

    async def close(self) -> None:
        """All of it, whatever fails."""
        self.ready = False
        for part in (self._api, self._sweep, self._manager, self._feed, self._etcd):
            if part is not None:
                try:
                    await part.close()
                except Exception:
                    log.exception("a part of a manager does not end well")
        await self._member.stop()

    async def wait_removed(self) -> str:
        """Until the cluster has taken this manager's member out of etcd; why."""
        while self._member.state.phase != "removed":
            await self._member.wait_change()
        return self._member.state.problem

    def reload(self) -> None:
        """The node's certificate was renewed."""
        if self._api is not None:
            self._api.reload()

    # for others

    async def _sign(self, request: bytes, node_id: str, role: Role) -> bytes:
        assert self._gate is not None
        return await self._gate.sign(request, node_id, role)

    async def _enlist_other(self, node_id: str, peer: str, fresh: bool) -> tuple[int, dict[str, str]]:
        """What an earlier node at this address has left in etcd makes room, unless it is a manager."""
        assert self._members is not None
        for member in await self._members.list():
            if not member.name or peer not in member.peer_urls:
                continue
            if member.name == node_id and not fresh:
                return member.id, {}
            node = self.manager.state.nodes.get(member.name)
            if member.name != node_id and node is not None and node.manager_address:
                raise Conflict(f"the manager {member.name} has its etcd at {peer}: let it leave, or remove it first")
            await self._members.remove(member.id)
        if not fresh:
            raise NotFound(f"etcd has no member of node {node_id}")
        added = await self._members.add(peer)
        return added.id, dict(added.others)

    async def _promote_other(self, member: int) -> None:
        assert self._members is not None
        await self._members.promote(member)
