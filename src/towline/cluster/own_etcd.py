"""A manager's own member of etcd: its place among the others', its certificate, and what is left of members that are
gone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from towline.cluster import pki
from towline.cluster.backing import MemberRemoved
from towline.cluster.client import RemoteLink
from towline.cluster.etcd import EtcdClient
from towline.cluster.gate import issue_member
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.manager import Manager
from towline.cluster.member import Member, MemberState
from towline.cluster.member_certificate import MemberCertificate
from towline.cluster.member_flags import MemberConfig, Tls
from towline.cluster.member_ports import check_host
from towline.cluster.member_room import MemberRoom
from towline.cluster.member_sweep import MemberSweep
from towline.cluster.member_verbs import Members
from towline.cluster.node_api import MemberGrant, MemberRequest
from towline.model.cluster import Secrets
from towline.model.errors import Conflict, NotFound, Unavailable

log = logging.getLogger(__name__)

_PROMOTION = 30.0
"""Seconds until a member knows that it counts."""


def _told(state: MemberState) -> None:
    if state.problem and state.phase != "starting":
        log.warning("this manager's etcd has a problem", extra={"fields": {"phase": state.phase, "why": state.problem}})


class OwnEtcd:
    """`backing.Backing`. clock: nanoseconds since the epoch."""

    def __init__(self, identity: Identity, files: IdentityFiles, *, clock: Callable[[], int]) -> None:
        self._identity = identity
        self._files = files
        self._config = MemberConfig(
            name=identity.node,
            root=str(files.root),
            advertise=identity.advertise,
            peer_port=identity.port + 1,
            client_port=identity.port + 2,
            tls=Tls(*(str(files.etcd_tls / name) for name in ("ca.pem", "member.pem", "member.key"))),
        )
        self._member = Member(self._config, _told)
        self._certificate = MemberCertificate(
            files, identity.node, identity.advertise, renewed=self._member.renew, clock=clock
        )
        self._members: Members | None = None
        self._manager: Manager | None = None
        self._sweep: MemberSweep | None = None
        self._room: MemberRoom | None = None

    @property
    def has_data(self) -> bool:
        return self._member.has_data

    async def begin(self, secrets: Secrets, seconds: float) -> EtcdClient:
        self._check_host()
        root = pki.KeyPair(secrets.etcd_ca, secrets.etcd_ca_key)
        pair = issue_member(root, self._identity.node, [self._identity.advertise], seconds=seconds)
        self._files.save_member_tls(secrets.etcd_ca, pair.certificate, pair.key)
        await self._member.start("new")
        return self._connect()

    async def enlist(self, link: RemoteLink) -> EtcdClient:
        self._check_host()
        grant = await self._granted(link)
        self._files.save_member_tls(grant.ca, grant.certificate, grant.key)
        if self._member.has_data:
            await self._member.start("resume")
        else:
            await self._member.start("join", grant.others)
        await link.promote_member(grant.member)
        await self._member.wait_promoted(_PROMOTION)
        return self._connect()

    async def _granted(self, link: RemoteLink) -> MemberGrant:
        if self._member.has_data:
            request = MemberRequest((self._identity.advertise,), self._config.peer_url, fresh=False)
            try:
                return await link.grant_member(request)
            except NotFound:
                self._files.erase_member()
        return await link.grant_member(MemberRequest((self._identity.advertise,), self._config.peer_url))

    async def resume(self, *, alone: bool) -> EtcdClient:
        self._certificate.mend()
        try:
            await self._member.start("force-new" if alone else "resume")
        except Unavailable as error:
            raise MemberRemoved(str(error)) if self._member.state.phase == "removed" else error from None
        return self._connect()

    def accompany(self, manager: Manager, well: Callable[[], bool]) -> None:
        assert self._members is not None
        self._manager = manager
        self._sweep = MemberSweep(
            self._members,
            manager.nodes,
            manager.leader,
            lambda: manager.state if well() else None,
            own=self._identity.node,
        )
        self._sweep.start()
        self._room = MemberRoom(self._member, self._members)
        self._room.start()
        self._certificate.start(lambda: manager.state)

    async def make_room(self, node_id: str, peer: str, fresh: bool) -> tuple[int, dict[str, str]]:
        """What an earlier node at this address has left in etcd makes room, unless it is a manager."""
        assert self._members is not None
        for member in await self._members.list():
            if not member.name or peer not in member.peer_urls:
                continue
            if member.name == node_id and not fresh:
                return member.id, {}
            if member.name != node_id and self._is_manager(member.name):
                raise Conflict(f"the manager {member.name} has its etcd at {peer}: let it leave, or remove it first")
            await self._members.remove(member.id)
        if not fresh:
            raise NotFound(f"etcd has no member of node {node_id}")
        added = await self._members.add(peer)
        return added.id, dict(added.others)

    def _is_manager(self, node_id: str) -> bool:
        return self._manager is not None and node_id in self._manager.state.managers

    async def promote(self, member: int) -> None:
        assert self._members is not None
        await self._members.promote(member)

    async def withdraw(self) -> None:
        if self._members is None:
            return
        members = await self._members.list()
        for member in members if len(members) > 1 else ():
            if member.name == self._identity.node:
                await self._members.remove(member.id)

    async def wait_removed(self) -> str:
        while self._member.state.phase != "removed":
            await self._member.wait_change()
        return self._member.state.problem

    async def close(self) -> None:
        await self._certificate.close()
        for part in (self._sweep, self._room):
            if part is not None:
                await part.close()
        await self._member.stop()

    def _check_host(self) -> None:
        check_host(self._config, self._identity.listen, self._identity.port)

    def _connect(self) -> EtcdClient:
        gateway = self._member.gateway()
        self._members = Members(gateway)
        return EtcdClient(gateway)
