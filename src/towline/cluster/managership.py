"""What a node runs while it is a manager: begun, brought back when it fails, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from towline.cluster.backing import MemberRemoved
from towline.cluster.best_link import BestLink
from towline.cluster.identity import IdentityFiles
from towline.cluster.kept_identity import KeptIdentity
from towline.cluster.manager import LocalLink
from towline.cluster.pauses import Pauses
from towline.cluster.stack import Stack
from towline.cluster.tasks import begin
from towline.model.errors import TowlineError, Unavailable
from towline.policy.swarm import PREPARING

log = logging.getLogger(__name__)

_LAST_WORDS = 12.0
"""Seconds in which etcd lets a member go. It does so only when all have been connected for five."""


class Managership:
    """changing: held while the node's role or its stack changes. trouble: why it does not work, "" if nothing is known.

    link: uses the manager in this process while it works. wanted: whether this node is a manager by its certificate.
    store: as `Stack`.
    """

    def __init__(
        self,
        identity: KeptIdentity,
        files: IdentityFiles,
        link: BestLink,
        *,
        wanted: Callable[[], bool],
        store: str,
        clock: Callable[[], int],
    ) -> None:
        self.changing = asyncio.Lock()
        self.trouble = ""
        self._identity = identity
        self._files = files
        self._link = link
        self._wanted = wanted
        self._store = store
        self._clock = clock
        self._stack: Stack | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> Stack | None:
        """Its records have been read; perhaps etcd is not heard at the moment."""
        return self._stack if self._stack is not None and self._stack.ready else None

    @property
    def works(self) -> bool:
        return self._stack is not None and self._stack.well

    @property
    def problem(self) -> str:
        """Why it does not work now, "" if it does or nothing is known."""
        return self.trouble or (self._stack.trouble if self._stack is not None and self._stack.ready else "")

    @property
    def stack(self) -> Stack:
        """Unavailable if it does not work at the moment."""
        if self._stack is None or not self._stack.well:
            raise Unavailable(PREPARING)
        return self._stack

    async def build(self, first: Callable[[Stack], Awaitable[None]], *, last_words: bool = False) -> None:
        """A manager's part, from now on; or nothing of it goes on. first: how the stack begins. last_words: if that
        fails, the place that it may have got in etcd is given back."""
        stack = self._stack = Stack(self._identity.value, self._files, store=self._store, clock=self._clock)
        try:
            await first(stack)
        except BaseException:
            if last_words:
                await self._last_words(stack)
            await self.end()
            raise
        self._link.use(LocalLink(stack.manager, self._identity.value.node), lambda: stack.well)
        self.trouble = ""
        self._later(self._replace_removed(stack))

    async def enlist(self, stack: Stack) -> None:
        await stack.enlist(self._link.remote)
        self._identity.note(enlisting=False)

    def come_back_later(self) -> None:
        """With the data that is there, as often as it takes."""
        if self._stack is None:
            self._later(self._come_back())

    async def alone(self) -> None:
        """This manager alone is the cluster from now on: what others had since they were lost is lost."""
        async with self.changing:
            await self.end()
            try:
                await self.build(lambda stack: stack.resume(alone=True))
            except BaseException:
                self._later(self._come_back())
                raise
            era = self.running.manager.era if self.running is not None else 0
            self._link.remote.era = era
            self._identity.note(enlisting=False, era=era)

    async def begin_anew(self, era: int) -> None:
        """The cluster is in this era now. If what this manager has of etcd is of an earlier one, and another manager
        answers that is not, it comes as a new one: what it has is put away then, and never before."""
        pauses = Pauses()
        while True:
            async with self.changing:
                if not self._wanted() or (self.running is not None and self.running.manager.era >= era):
                    return
                try:
                    await self._link.remote.published()
                except TowlineError as error:
                    log.info("no other manager of this era answers yet", extra={"fields": {"why": str(error)}})
                else:
                    await self.end()
                    self._identity.note(enlisting=True)
                    self._files.erase_member()
                    break
            await pauses.wait()
        self.come_back_later()

    def reload(self) -> None:
        """The node's certificate was renewed."""
        if self._stack is not None:
            self._stack.reload()

    async def step_down(self) -> None:
        """Before the certificate says so: a daemon that ends in between is a manager still, and does this again."""
        if self._stack is not None:
            await self._stack.resign()
            await self.end()
        self._files.erase_member()
        self.trouble = ""

    async def withdraw(self) -> None:
        """Out of etcd, if it lets us; else the other managers do it later."""
        if self._stack is not None:
            await self._last_words(self._stack)

    async def end(self) -> None:
        stack, self._stack = self._stack, None
        self._link.drop()
        if stack is not None:
            await stack.close()

    async def quiet(self) -> None:
        """Nothing goes on by itself any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _last_words(self, stack: Stack) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await stack.withdraw()
        except (TowlineError, TimeoutError) as error:
            log.warning("this manager's etcd is left to the others", extra={"fields": {"why": str(error)}})

    async def _come_back(self) -> None:
        pauses = Pauses()
        while True:
            async with self.changing:
                if not self._wanted() or self._stack is not None:
                    return
                try:
                    await self.build(self._again)
                except MemberRemoved as error:
                    log.warning("this manager's etcd begins anew", extra={"fields": {"why": str(error)}})
                    self.trouble = str(error)
                    self._files.erase_member()
                except TowlineError as error:
                    self.trouble = str(error)
                    log.error("this manager does not work yet", extra={"fields": {"error": str(error)}})
                except Exception as error:
                    self.trouble = f"this manager does not work: {error!r}"
                    log.exception("this manager does not work")
                else:
                    return
            await pauses.wait()

    async def _again(self, stack: Stack) -> None:
        """Without data there is nothing to go on with: a new member takes the old one's place."""
        if self._identity.value.enlisting or not stack.has_data:
            await self.enlist(stack)
        else:
            await stack.resume()

    async def _replace_removed(self, stack: Stack) -> None:
        """When the cluster has taken this manager's member out of etcd, that one ends; while the node is a manager, a
        new one takes its place."""
        why = await stack.wait_removed()
        async with self.changing:
            if self._stack is not stack:
                return
            log.warning("this manager's etcd was removed", extra={"fields": {"why": why}})
            self.trouble = why
            await self.end()
            self._files.erase_member()
        await self._come_back()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = begin(work, "managership")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
