"""This node and its cluster, as control and the API see it: begins, joins, leaves, and answers for both.

Everything that goes on while the node is in a cluster hangs on one `Membership`; there is none outside of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from towline.cluster import tokens
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.surroundings import Surroundings
from towline.model.cluster import (
    Block,
    ClusterStatus,
    NetworkPeer,
    NodeSpec,
    NodeStatus,
    Swarm,
    SwarmState,
)
from towline.model.errors import Conflict, InvalidParameter, TowlineError, Unavailable
from towline.model.network import Network, SubnetStatus
from towline.model.requests import (
    Created,
    CreateNetwork,
    CreateService,
    InitSwarm,
    JoinSwarm,
    RestoreCluster,
    UpdateService,
    UpdateSwarm,
)
from towline.model.service import Service, ServiceStatus
from towline.policy import swarm as policy
from towline.policy.swarm_address import remote_address

if TYPE_CHECKING:
    from towline.cluster.answers import Answers
    from towline.cluster.membership import Membership
    from towline.cluster.restoring import Restoration

log = logging.getLogger(__name__)

_JOIN_PATIENCE = 20.0
"""Seconds, as Docker's."""
_FIRST_REPORT = 5.0
"""Seconds that the answer waits at most until the node is shown as ready."""


class SwarmNode:
    """`control.cluster_contract.ClusterEngine` and `control.collaborators.GlobalNetworks`. Event loop only.

    Cryptography, HTTP clients and etcd are imported when there is a cluster, not before.
    """

    def __init__(self, files: IdentityFiles, surroundings: Surroundings) -> None:
        self._files = files
        self._around = surroundings
        self._membership: Membership | None = None
        self._error = self._late = ""
        self._unfinished = False
        self._one = asyncio.Lock()
        self._joining: asyncio.Task[None] | None = None

    # life

    def restore(self) -> None:
        """Before the engine compares store and kernel: who this node was. A damaged identity is told and left alone;
        the node's networks go on with what it knew."""
        if not self._files.exists():
            return
        try:
            identity = self._files.load()
        except TowlineError as error:
            self._error = str(error)
            log.error("this node cannot take part in its cluster", extra={"fields": {"error": str(error)}})
            return
        if identity is not None and not identity.complete:
            self._unfinished = True
        elif identity is not None:
            self._membership = self._made(identity)

    async def start(self) -> None:
        """After the engine. What waits for others goes on in the background."""
        if self._membership is not None:
            self._membership.start()
        elif self._unfinished:
            log.warning("the cluster that was being begun or joined when the daemon ended is forgotten")
            await self._vanish()
            self._files.erase()

    async def stop(self) -> None:
        """Networks and their traffic stay as they are."""
        await self._end_joining()
        if self._membership is not None:
            await self._membership.close()
        await self._around.encryption.close()

    async def _end_joining(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)

    def _made(self, identity: Identity) -> Membership:
        from towline.cluster.membership import Membership

        return Membership(identity, self._files, self._around)

    # ClusterEngine

    @property
    def state(self) -> SwarmState:
        if self._membership is not None:
            return self._membership.answers.state()
        if self._error:
            return SwarmState(state="error", error=self._error)
        if self._joining is not None and not self._joining.done():
            return SwarmState(state="pending")
        return SwarmState(error=self._late)

    async def init_swarm(self, request: InitSwarm) -> str:
        from towline.cluster.founding import founding

        async with self._one:
            if request.force_new_cluster and self._membership is not None and self._membership.role == "manager":
                return await self._membership.force_new_cluster()
            self._check_free()
            plan = policy.resolve_init(request, await self._around.interfaces(), self._around.default_advertise)
            begun = founding(plan, self._around.describe(), self._around.clock())
            self._files.begin(begun.identity, begun.credentials)
            await self._begin(begun.identity, lambda m: m.found(begun.cluster, begun.secrets, begun.node))
            return begun.identity.node

    async def join_swarm(self, request: JoinSwarm) -> None:
        async with self._one:
            self._check_free()
            plan = policy.resolve_join(request, await self._around.interfaces(), self._around.default_advertise)
            tokens.parse_token(plan.token)
            joining = self._joining = asyncio.create_task(self._join(plan), name="join")
        done, _ = await asyncio.wait([joining], timeout=_JOIN_PATIENCE)
        if not done:
            joining.add_done_callback(self._joined)
            raise Unavailable(policy.JOIN_TIMEOUT)
        if joining.cancelled():
            raise Unavailable("the join was given up: this node was told to leave, or its daemon ends")
        await joining

    def _joined(self, joining: asyncio.Task[None]) -> None:
        """A join that went on in the background has ended: `docker info` shows how."""
        if not joining.cancelled() and (error := joining.exception()) is not None:
            self._late = str(error)
            log.error("this node has not joined", extra={"fields": {"error": str(error)}})

    async def _join(self, plan: policy.JoinPlan) -> None:
        from towline.cluster.joining import join

        identity, credentials = await join(plan, self._around.describe())
        self._files.begin(identity, credentials)
        await self._begin(identity, lambda membership: membership.arrive())

    async def _begin(self, identity: Identity, first: Callable[[Membership], Awaitable[None]]) -> None:
        """All, or nothing is left of it."""
        membership: Membership | None = None
        try:
            membership = self._made(identity)
            await first(membership)
            membership.start()
        except BaseException:
            try:
                if membership is not None:
                    await membership.close()
                await self._vanish()
            finally:
                self._files.erase()
            raise
        self._membership = membership
        self._error = self._late = ""
        await self._around.ensure_gateway()
        await membership.agent.known(_FIRST_REPORT)
        log.info("in a cluster", extra={"fields": {"cluster": identity.cluster, "node": identity.node}})

    async def _vanish(self) -> None:
        """This node is in no cluster any more: what it had of it goes."""
        await self._around.replica.forget()
        self._around.identify("", "")
        await self._around.encryption.leave()
        await self._around.set_data_path(None, ())

    def _check_free(self) -> None:
        busy = self._joining is not None and not self._joining.done()
        if self._membership is not None or busy or self._files.exists():
            raise Unavailable(policy.SWARM_EXISTS)

    async def backup_cluster(self) -> bytes:
        return await self._manager().backup()

    async def restore_cluster(self, request: RestoreCluster, backup: bytes) -> str:
        from towline.cluster import restoring
        from towline.cluster.backup import read

        async with self._one:
            found = await asyncio.to_thread(read, backup)
            old, describe, now = self._membership, self._around.describe, self._around.clock()
            if old is None:
                self._check_free()
                asked = InitSwarm(request.listen_addr, request.advertise_addr, request.data_path_addr)
                plan = policy.resolve_init(asked, await self._around.interfaces(), self._around.default_advertise)
                what = restoring.for_new(found, plan, describe(), now)
                self._files.begin(what.identity, what.credentials)
                await self._begin(what.identity, lambda membership: membership.restored(what))
            else:
                what = restoring.for_member(found, old.identity, describe(), now)
                if old.answers.state().control and not request.force:
                    raise Conflict(policy.RESTORE_WORKS)
                await self._replace(old, what)
            log.warning("the cluster was restored from a backup", extra={"fields": {"cluster": what.cluster.id}})
            return what.identity.node

    async def set_managers(self, addresses: Sequence[str]) -> None:
        if self._membership is None:
            raise Unavailable(policy.NO_SWARM)
        if not addresses:
            raise InvalidParameter("at least one manager's address is needed: host[:port]")
        self._membership.look_for(tuple(str(remote_address(text)) for text in addresses))

    async def _replace(self, old: Membership, what: Restoration) -> None:
        """The cluster that is put back in place of what this node has of it; if that fails, all is as before."""
        held = self._files.credentials()
        await old.close()
        membership: Membership | None = None
        aside = False
        try:
            await self._around.encryption.close()
            self._files.put_member_aside()
            aside = True
            self._files.save(what.identity)
            self._files.save_certificate(what.credentials.certificate, what.credentials.key)
            membership = self._made(what.identity)
            await membership.restored(what)
            membership.start()
        except BaseException:
            if membership is not None:
                await membership.close()
                await self._around.encryption.close()
            if aside:
                self._files.take_member_back()
            self._files.save(old.identity)
            self._files.save_certificate(held.certificate, held.key)
            self._membership = self._made(old.identity)
            self._membership.start()
            raise
        self._membership = membership
        await membership.agent.known(_FIRST_REPORT)

    async def leave_swarm(self, *, force: bool) -> None:
        async with self._one:
            if self._joining is not None and not self._joining.done():
                await self._end_joining()
                if self._membership is None:
                    return
            if self._membership is None and not self._error:
                raise Unavailable(policy.NO_SWARM)
            if self._membership is not None:
                if not force:
                    policy.check_leave(self.state, self._membership.answers.statuses())
                await self._membership.leave()
            self._membership = None
            try:
                await self._vanish()
            finally:
                self._files.erase()
            self._error = ""
            log.info("left the cluster")

    async def swarm(self) -> Swarm:
        return self._manager().swarm()

    async def update_swarm(self, request: UpdateSwarm) -> None:
        await self._manager().update_cluster(request)

    async def unlock_swarm(self, key: str) -> None:
        self._manager()
        raise Conflict(policy.NOT_LOCKED)

    async def unlock_key(self) -> str:
        self._manager()
        return ""

    async def nodes(self) -> Sequence[NodeStatus]:
        return self._manager().statuses()

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        await self._manager().update_node(node_id, version, spec)

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        await self._manager().remove_node(node_id, force=force)

    async def services(self) -> Sequence[ServiceStatus]:
        return self._manager().services.statuses()

    async def create_service(self, request: CreateService) -> Service:
        return await self._manager().services.create(request)

    async def update_service(self, service_id: str, request: UpdateService) -> Service:
        return await self._manager().services.update(service_id, request)

    async def remove_service(self, service_id: str, *, force: bool) -> None:
        await self._manager().services.remove(service_id, force=force)

    async def cluster_status(self) -> ClusterStatus:
        if self._membership is None:
            raise Unavailable(policy.NO_SWARM)
        return self._membership.answers.status()

    async def rotate_key(self) -> None:
        if self._membership is None:
            raise Unavailable(policy.NO_SWARM)
        self._around.encryption.rotate()

    def _manager(self) -> Answers:
        state = self.state
        if self._membership is None or not state.control:
            raise policy.not_a_manager(state)
        return self._membership.answers

    def peers(self, network_id: str) -> Sequence[NetworkPeer]:
        return self._membership.answers.peers(network_id) if self._membership is not None else ()

    # GlobalNetworks

    def local_change(self, network_id: str) -> None:
        """An endpoint of this node on a global network came, changed or went."""
        if self._membership is not None:
            self._membership.agent.local_change(network_id)
            self._around.encryption.local_change(network_id)

    @property
    def active(self) -> bool:
        return self._membership is not None

    @property
    def manager(self) -> bool:
        return self._membership is not None and self._membership.manager

    @property
    def fenced(self) -> bool:
        return self._membership is not None and self._membership.agent.fenced

    async def create(self, request: CreateNetwork) -> Created:
        network = await self._manager().create_network(request)
        return Created(network.id)

    async def remove(self, network: Network) -> None:
        """What has just left the network here must not stand in its way."""
        await self._manager().remove_network(network.id)

    async def prepare(self, network_id: str) -> None:
        if self._membership is not None:
            await self._membership.agent.prepare(network_id)

    async def need_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        if self._membership is None:
            raise Unavailable(policy.NO_SWARM)
        return await self._membership.agent.lease(network_id, subnet, address)

    async def unused(self, block: Block) -> None:
        if self._membership is not None:
            await self._membership.agent.give_back(block)

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        """Docker's counters by subnet of a global network, where this node is a manager; else empty."""
        return self._membership.answers.subnet_status(network_id) if self._membership is not None else {}
