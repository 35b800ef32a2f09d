"""What goes on in a node while it is in a cluster: its agent, its certificate, its role; what a manager runs besides is
its `Managership`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine

from msgspec.structs import replace

from towline.cluster import pki
from towline.cluster.agent import Agent
from towline.cluster.answers import Answers
from towline.cluster.best_link import BestLink
from towline.cluster.contract import Update
from towline.cluster.copy import ClusterCopy
from towline.cluster.identity import Identity, IdentityFiles
from towline.cluster.kept_identity import KeptIdentity
from towline.cluster.managership import Managership
from towline.cluster.news import news
from towline.cluster.renewal import Renewal
from towline.cluster.restoring import Restoration
from towline.cluster.secure_file import SecureFile
from towline.cluster.surroundings import Surroundings
from towline.cluster.tasks import begin
from towline.model.cluster import Cluster, Node, Role, Secrets, Underlay
from towline.model.errors import TowlineError
from towline.model.secure import secure_prefix

log = logging.getLogger(__name__)

_GOODBYE = 5.0
"""Seconds that a leaving node waits at most for a manager to take note."""


class Membership:
    """`found` or `arrive` first when the node begins or joins; `start`, when the daemon starts; `close` at the end."""

    def __init__(self, identity: Identity, files: IdentityFiles, around: Surroundings) -> None:
        self.role: Role = pki.subject_of(files.credentials().certificate).role
        self._kept = KeptIdentity(identity, files)
        self._files = files
        self._around = around
        self._link = BestLink(files, identity.managers)
        self._link.remote.era = identity.era
        self._managing = Managership(
            self._kept,
            files,
            self._link,
            wanted=lambda: self.role == "manager",
            store=around.store,
            clock=around.clock,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal = Renewal(files, self._link.renew, self._renewed, clock=lambda: around.clock() / 1e9)
        self._stepping = False
        around.identify(identity.node, identity.data_path)
        self.agent = Agent(
            identity.node,
            self._link,
            around.replica,
            data_path=identity.data_path,
            describe=around.describe,
            repairs=around.repairs,
            secure=around.encryption.keys,
            problem=lambda: around.encryption.trouble,
            clock=around.clock,
            told=self._told,
            beaten=self._beaten,
            others=self._others,
        )
        around.encryption.restore(identity.node, identity.cluster, SecureFile(files), self.agent.report_soon)
        self.answers = Answers(self._kept, lambda: self.role, self._managing, self.agent, around.replica)

    @property
    def identity(self) -> Identity:
        return self._kept.value

    @property
    def manager(self) -> bool:
        """It is one, whether it works now or not; also while its role changes."""
        return self.role == "manager" or self._managing.works

    # life

    async def found(self, cluster: Cluster, secrets: Secrets, node: Node) -> None:
        """A new cluster, of which this is the first node."""
        await self._others(())
        await self._managing.build(lambda stack: stack.found(cluster, secrets, node))

    async def restored(self, what: Restoration) -> None:
        """A cluster that is put back, of which this is the first manager."""
        await self._others(())
        await self._managing.build(lambda stack: stack.restored(what))

    async def arrive(self) -> None:
        """A cluster that was joined: as a manager it runs what managers run. If that fails the cluster is told, if it
        can be; if the daemon ends meanwhile, its next start goes on, since etcd may count on this member already."""
        await self._others(())
        self._kept.note(complete=True, enlisting=self.role == "manager")
        if self.role == "manager":
            try:
                await self._managing.build(self._managing.enlist, last_words=True)
            except BaseException:
                await self._goodbye()
                raise

    def start(self) -> None:
        if not self.identity.complete:
            self._kept.note(complete=True)
        self.agent.start()
        self._around.encryption.start()
        self._renewal.start()
        if self.role == "manager":
            self._managing.come_back_later()
        else:
            self._files.erase_member()

    async def close(self) -> None:
        """Networks and their traffic stay as they are."""
        await self._quiet()
        await self._managing.end()
        await self._link.close()

    async def _quiet(self) -> None:
        """Nothing goes on by itself any more."""
        await self._renewal.close()
        await self.agent.close()
        await self._managing.quiet()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def leave(self) -> None:
        """The others take note if they can. Docker's `swarm leave`: whatever they answer, this node is gone.

        Out of etcd at the end, because the word of it goes by this manager's own member.
        """
        await self._quiet()
        await self._goodbye()
        await self._managing.withdraw()
        await self.close()

    async def _goodbye(self) -> None:
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._link.leave()
        except (TowlineError, TimeoutError) as error:
            log.warning("left without a manager taking note", extra={"fields": {"why": str(error)}})

    async def force_new_cluster(self) -> str:
        """As `Managership.alone`; this node's id."""
        await self._managing.alone()
        return self.identity.node

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = begin(work, "membership")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # the data path

    async def _follow_uplink(self) -> None:
        """Its MTU may have changed since the last report. Until the nodes are known, what the store says holds."""
        try:
            underlay = await self._underlay()
            if self.agent.informed:
                vteps = {node.data_path for node in self.agent.copy.nodes.values() if node.data_path}
                await self._around.set_data_path(underlay, vteps)
        except TowlineError as error:
            log.warning("the uplink cannot be read", extra={"fields": {"why": str(error)}})

    async def _others(self, vteps: Collection[str]) -> None:
        """Whose encapsulated packets are taken, and who encrypts with which keys."""
        await self._around.set_data_path(await self._underlay(), vteps)
        self._around.encryption.hear(self.agent.copy.nodes, self.agent.copy.alive)

    async def _underlay(self) -> Underlay:
        identity = self.identity
        underlay = await self._around.underlay(identity.data_path, identity.data_path_port)
        return replace(underlay, secure=secure_prefix(identity.cluster))

    # what managers say

    def _begin_era(self, era: int) -> None:
        """The cluster goes on from an earlier state, or from one manager's: those of before are not listened to."""
        log.warning("the cluster was restored, or begun anew by one manager", extra={"fields": {"era": era}})
        self._link.remote.era = era
        try:
            self._kept.note(era=era)
        except TowlineError as error:
            log.error("the cluster's era cannot be kept", extra={"fields": {"why": str(error)}})
        if self.manager and not self._managing.works:
            self._later(self._managing.begin_anew(era))

    def _told(self, update: Update, before: ClusterCopy) -> None:
        """Managers publish Docker's events of the swarm."""
        if update.cluster is not None and update.cluster.era > self.identity.era:
            self._begin_era(update.cluster.era)
        if self._managing.works:
            for event in news(update, before, self._around.clock()):
                self._around.publish(event)

    def _beaten(self, role: Role, managers: tuple[str, ...]) -> None:
        """A manager has answered a report: who the managers are, and what this node is to be."""
        if managers and managers != self.identity.managers:
            try:
                self._kept.note(managers=managers, complete=True)
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
        """Out of etcd before the certificate says so (`Managership.step_down`)."""
        try:
            async with self._managing.changing:
                await self._managing.step_down()
            self._ask("worker")
        except TowlineError as error:
            log.warning("this manager steps down later", extra={"fields": {"why": str(error)}})
        finally:
            self._stepping = False

    def look_for(self, managers: tuple[str, ...]) -> None:
        """host:port of those to ask from now on, until one of them names others. StoreError."""
        self._kept.note(managers=managers)
        self._link.remote.learn(managers)

    def _ask(self, role: Role) -> None:
        try:
            self._renewal.told_role(role)
        except (TowlineError, OSError) as error:
            log.error("this node's certificate cannot be read", extra={"fields": {"why": str(error)}})

    async def _renewed(self, role: Role) -> None:
        """There is a new certificate; perhaps it says another role."""
        async with self._managing.changing:
            await self._link.remote.reload()
            self._managing.reload()
            if role != self.role:
                await self._become(role)

    async def _become(self, role: Role) -> None:
        log.info("this node has another role now", extra={"fields": {"role": role}})
        if role == "manager":
            self._kept.note(enlisting=True)
            await self._managing.build(self._managing.enlist)
        else:
            await self._managing.step_down()
        self.role = role
