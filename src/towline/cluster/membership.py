"""What goes on in a node while it is in a cluster: its agent, and what a manager runs besides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

from msgspec.structs import replace

from towline.cluster import pki
from towline.cluster.agent import Agent
from towline.cluster.best_link import BestLink
from towline.cluster.contract import Update
from towline.cluster.copy import ClusterCopy
from towline.cluster.follower import Pauses
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.manager import LocalLink
from towline.cluster.renewal import Renewal
from towline.cluster.stack import MemberRemoved, Stack
from towline.cluster.surroundings import Surroundings
from towline.cluster.tasks import begin
from towline.model.cluster import (
    Cluster,
    ClusterStatus,
    NetworkPeer,
    Node,
    NodeSpec,
    NodeStatus,
    RemoteManager,
    Role,
    Secrets,
    Swarm,
    SwarmState,
)
from towline.model.errors import TowlineError, Unavailable
from towline.model.network import Network, SubnetStatus
from towline.model.requests import CreateNetwork, UpdateSwarm
from towline.policy.swarm import PREPARING
from towline.policy.swarm_events import CREATED, network_event, node_event

log = logging.getLogger(__name__)

_SEEN = 2.0
"""Seconds that a change of networks waits at most for the word of it to come back to this node."""
_GOODBYE = 5.0
"""Seconds that a leaving node waits at most for a manager to take note."""
_LAST_WORDS = 12.0
"""Seconds in which etcd lets a member go. It does so only when all have been connected for five."""


class Membership:
    """`found` or `arrive` first when the node begins or joins; `start`, when the daemon starts; `close` at the end."""

    def __init__(self, identity: Identity, files: IdentityFiles, around: Surroundings) -> None:
        self.identity = identity
        self._files = files
        self._around = around
        self._link = BestLink(files, identity.managers)
        self._stack: Stack | None = None
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal = Renewal(files, self._link.renew, self._renewed, clock=lambda: around.clock() / 1e9)
        self._trouble = ""
        self._stepping = False
        self.role: Role = pki.subject_of(files.credentials().certificate).role
        around.identify(identity.node, identity.data_path)
        self.agent = Agent(
            identity.node,
            self._link,
            around.replica,
            data_path=identity.data_path,
            describe=around.describe,
            repairs=around.repairs,
            clock=around.clock,
            told=self._told,
            beaten=self._beaten,
            others=self._others,
        )

    # life

    async def found(self, cluster: Cluster, secrets: Secrets, node: Node) -> None:
        """A new cluster, of which this is the first node."""
        await self._others(())
        await self._build(lambda stack: stack.found(cluster, secrets, node))

    async def arrive(self) -> None:
        """A cluster that was joined: as a manager it runs what managers run. If that fails the cluster is told, if it
        can be; if the daemon ends meanwhile, its next start goes on, since etcd may count on this member already."""
        await self._others(())
        self._note(complete=True, enlisting=self.role == "manager")
        if self.role == "manager":
            try:
                await self._build(self._enlist, last_words=True)
            except BaseException:
                await self._goodbye()
                raise

    def start(self) -> None:
        self.agent.start()
        self._renewal.start()
        if self.role == "manager" and self._stack is None:
            self._later(self._resume())
        elif self.role == "worker":
            self._files.erase_member()

    async def close(self) -> None:
        """Networks and their traffic stay as they are."""
        await self._quiet()
        await self._end_stack()
        await self._link.close()

    async def _quiet(self) -> None:
        """Nothing goes on by itself any more."""
        await self._renewal.close()
        await self.agent.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow_uplink(self) -> None:
        """Its MTU may have changed since the last report. Until the nodes are known, what the store says holds."""
        try:
            underlay = await self._around.underlay(self.identity.data_path, self.identity.data_path_port)
            if self.agent.informed:
                vteps = {node.data_path for node in self.agent.copy.nodes.values() if node.data_path}
                await self._around.set_data_path(underlay, vteps)
        except TowlineError as error:
            log.warning("the uplink cannot be read", extra={"fields": {"why": str(error)}})

    async def _others(self, vteps: Collection[str]) -> None:
        """Whose encapsulated packets are taken."""
        underlay = await self._around.underlay(self.identity.data_path, self.identity.data_path_port)
        await self._around.set_data_path(underlay, vteps)

    async def leave(self) -> None:
        """The others take note if they can. Docker's `swarm leave`: whatever they answer, this node is gone.

        Out of etcd at the end, because the word of it goes by this manager's own member.
        """
        await self._quiet()
        await self._goodbye()
        if self._stack is not None:
            await self._last_words(self._stack)
        await self.close()

    async def _goodbye(self) -> None:
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._link.leave()
        except (TowlineError, TimeoutError) as error:
            log.warning("left without a manager taking note", extra={"fields": {"why": str(error)}})

    async def _last_words(self, stack: Stack) -> None:
        """If it cannot be, the other managers take it out of etcd later."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await stack.withdraw()
        except (TowlineError, TimeoutError) as error:
            log.warning("this manager's etcd is left to the others", extra={"fields": {"why": str(error)}})

    async def _build(self, first: Callable[[Stack], Awaitable[None]], *, last_words: bool = False) -> None:
        """A manager's part, from now on; or nothing of it goes on."""
        stack = self._new_stack()
        try:
            await first(stack)
        except BaseException:
            if last_words:
                await self._last_words(stack)
            await self._end_stack()
            raise
        self._works(stack)

    async def _come_back(self, stack: Stack) -> None:
        """Without data there is nothing to go on with: a new member takes the old one's place."""
        if self.identity.enlisting or not stack.has_data:
            await self._enlist(stack)
        else:
            await stack.resume()

    async def _enlist(self, stack: Stack) -> None:
        await stack.enlist(self._link.remote)
        self._note(enlisting=False)

    def _note(self, **changes: bool) -> None:
        self.identity = replace(self.identity, **changes)
        self._files.save(self.identity)

    def _new_stack(self) -> Stack:
        stack = Stack(self.identity, self._files, clock=self._around.clock)
        self._stack = stack
        return stack

    def _works(self, stack: Stack) -> None:
        self._link.use(LocalLink(stack.manager, self.identity.node), lambda: stack.well)
        self._trouble = ""

    async def _resume(self) -> None:
        pauses = Pauses()
        while True:
            async with self._changing:
                if self.role != "manager" or self._stack is not None:
                    return
                try:
                    await self._build(self._come_back)
                except MemberRemoved as error:
                    log.warning("this manager's etcd begins anew", extra={"fields": {"why": str(error)}})
                    self._trouble = str(error)
                    self._files.erase_member()
                except TowlineError as error:
                    self._trouble = str(error)
                    log.error("this manager does not work yet", extra={"fields": {"error": str(error)}})
                except Exception as error:
                    self._trouble = f"this manager does not work: {error!r}"
                    log.exception("this manager does not work")
                else:
                    return
            await pauses.wait()

    async def force_new_cluster(self) -> str:
        """This manager alone is the cluster from now on: what others had since they were lost is lost."""
        async with self._changing:
            await self._end_stack()
            try:
                await self._build(lambda stack: stack.resume(alone=True))
            except BaseException:
                self._later(self._resume())
                raise
            self._note(enlisting=False)
        return self.identity.node

    async def _end_stack(self) -> None:
        stack, self._stack = self._stack, None
        self._link.drop()
        if stack is not None:
            await stack.close()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = begin(work, "membership")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # roles

    def _beaten(self, role: Role, managers: tuple[str, ...]) -> None:
        """A manager has answered a report: who the managers are, and what this node is to be."""
        if managers and managers != self.identity.managers:
            self.identity = replace(self.identity, managers=managers, complete=True)
            try:
                self._files.save(self.identity)
            except TowlineError as error:
                log.error("the managers' addresses cannot be kept", extra={"fields": {"why": str(error)}})
        self._later(self._follow_uplink())
        if role == "worker" and self.role == "manager":
            if not self._stepping:
                self._stepping = True
                self._later(self._demoted())
        else:
            self._ask(role)

    async def _demoted(self) -> None:
        """Out of etcd before the certificate says so (`_step_down`)."""
        try:
            async with self._changing:
                await self._step_down()
            self._ask("worker")
        except TowlineError as error:
            log.warning("this manager steps down later", extra={"fields": {"why": str(error)}})
        finally:
            self._stepping = False

    def _ask(self, role: Role) -> None:
        try:
            self._renewal.told_role(role)
        except (TowlineError, OSError) as error:
            log.error("this node's certificate cannot be read", extra={"fields": {"why": str(error)}})

    async def _renewed(self, role: Role) -> None:
        """There is a new certificate; perhaps it says another role."""
        async with self._changing:
            await self._link.remote.reload()
            if self._stack is not None:
                self._stack.reload()
            if role != self.role:
                await self._become(role)

    async def _become(self, role: Role) -> None:
        log.info("this node has another role now", extra={"fields": {"role": role}})
        if role == "manager":
            self._note(enlisting=True)
            await self._build(self._enlist)
        else:
            await self._step_down()
        self.role = role

    async def _step_down(self) -> None:
        """Before the certificate says so: a daemon that ends in between is a manager still, and does this again."""
        if self._stack is not None:
            await self._stack.resign()
            await self._end_stack()
        self._files.erase_member()
        self._trouble = ""

    # what goes on in the cluster

    def _told(self, update: Update, before: ClusterCopy) -> None:
        """Docker's events of the swarm, which managers publish. A snapshot is no news."""
        if update.snapshot or not self.control:
            return
        now, publish = self._around.clock(), self._around.publish
        for network in update.networks:
            for action in CREATED if network.id not in before.networks else CREATED[1:]:
                publish(network_event(action, network.id, network.name, now))
        for network_id in update.gone_networks:
            publish(network_event("remove", network_id, before.networks.get(network_id, ""), now))
        after = before.clone()
        after.apply(update)
        concerned = [node.id for node in update.nodes] + [alive.node for alive in update.alive]
        for node_id in dict.fromkeys([*concerned, *update.gone_nodes, *update.gone_alive]):
            event = node_event(before.status(node_id), after.status(node_id), now)
            if event is not None:
                publish(event)

    # what a manager answers

    @property
    def control(self) -> bool:
        """This node is a manager that works."""
        return self._stack is not None and self._stack.well

    @property
    def stack(self) -> Stack:
        if self._stack is None or not self._stack.well:
            raise Unavailable(PREPARING)
        return self._stack

    def state(self) -> SwarmState:
        nodes = self.statuses() if self.control else []
        known = self.agent.copy.nodes or {}
        managers = tuple(
            RemoteManager(node.id, node.manager_address) for node in known.values() if node.manager_address
        )
        return SwarmState(
            state="active" if self.agent.informed else "pending",
            node_id=self.identity.node,
            address=self.identity.advertise,
            manager=self.role == "manager",
            control=self.control,
            error=self._trouble or self.agent.trouble,
            managers=managers,
            nodes=len(nodes),
            manager_count=sum(status.node.spec.role == "manager" for status in nodes),
            cluster=self.stack.manager.state.cluster if self.control else None,
        )

    def status(self) -> ClusterStatus:
        statuses = self.statuses() if self.control else self.agent.copy.statuses()
        return ClusterStatus(
            self.agent.copy.revision, tuple(statuses), self.agent.silence, cluster=self.identity.cluster
        )

    def peers(self, network_id: str) -> list[NetworkPeer]:
        """Docker's Peers: the nodes with endpoints on a network that has some here."""
        replica = self._around.replica
        if not replica.is_present(network_id):
            return []
        found = {self.identity.node: self.identity.data_path}
        found.update((peer.node, peer.vtep) for peer in replica.peers(network_id))
        return [NetworkPeer(node[:12], address) for node, address in sorted(found.items())]

    def statuses(self) -> list[NodeStatus]:
        return self._stack.manager.nodes.statuses() if self._stack is not None and self._stack.ready else []

    def _managers(self) -> list[NodeStatus]:
        return [status for status in self.statuses() if status.node.manager_address]

    def swarm(self) -> Swarm:
        state = self.stack.manager.state
        if state.cluster is None or state.secrets is None:
            raise Unavailable(PREPARING)
        return Swarm(state.cluster, state.secrets.worker_token, state.secrets.manager_token)

    async def update_cluster(self, request: UpdateSwarm) -> None:
        await self.stack.manager.nodes.update_cluster(request)

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        await self.stack.manager.nodes.update(node_id, version, spec)

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        await self.stack.manager.nodes.remove(node_id, force=force)

    async def create_network(self, request: CreateNetwork) -> Network:
        """Known on this node, and told as an event, when it returns."""
        network = await self.stack.manager.networks.create(request)
        if not await self.agent.seen(lambda copy: network.id in copy.networks, _SEEN):
            await self._around.replica.set_networks([network], [])
        return network

    async def remove_network(self, network_id: str) -> None:
        await self.stack.manager.networks.remove(network_id)
        if not await self.agent.seen(lambda copy: network_id not in copy.networks, _SEEN):
            await self._around.replica.set_networks([], [network_id])

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        stack = self._stack
        return stack.manager.networks.statuses(network_id) if stack is not None and stack.ready else {}
