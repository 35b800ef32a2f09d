"""Keeps a manager's copy of the cluster current, and tells many watchers what changes in it.

The copy only moves forward: a watch goes on where it was cut; where etcd has forgotten that place, everything is read
again and every watcher gets a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from towline.cluster import codec
from towline.cluster.contract import Compacted, Etcd, KeyValue, Update, Watched
from towline.cluster.follower import Pauses
from towline.cluster.state import BASE, State
from towline.cluster.watchers import Watcher
from towline.model.errors import NotFound, TowlineError, Unavailable

log = logging.getLogger(__name__)

_IDLE = 5.0
_PATIENCE = 10.0
_LONGEST_ID = 64


class Feed:
    """state: replaced as a whole when everything is read again, so never kept by a caller across an await.

    trouble: why etcd is not heard now, "" if it is. heard: when it last was, on `monotonic`. idle: seconds after which
    a watcher without news is told the revision.
    """

    def __init__(self, etcd: Etcd, *, idle: float = _IDLE, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.state = State()
        self.trouble = "etcd has not been read yet"
        self.heard = 0.0
        self._etcd = etcd
        self._idle = idle
        self._monotonic = monotonic
        self._loaded = False
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Open streams end with Unavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(Unavailable("this manager stops"))

    # for whoever plans on the copy

    async def wait(self, revision: int, seconds: float = _PATIENCE) -> None:
        """Until the copy has this revision of ours. Unavailable if it does not come in time."""
        await self.until(lambda state: state.revision >= revision, seconds)

    async def until(self, holds: Callable[[State], bool], seconds: float = _PATIENCE) -> None:
        """Until the copy has been read and this holds of it. Unavailable if that does not come in time."""
        try:
            async with asyncio.timeout(seconds):
                while not (self._loaded and holds(self.state)):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            why = self.trouble or f"its copy of the cluster is at revision {self.state.revision}"
            raise Unavailable(f"this manager does not hear of changes in time: {why}") from None

    # for whoever follows

    async def watch(self, scope: str) -> AsyncIterator[Update]:
        """As `contract.Link.watch`."""
        await self.until(lambda _: True)
        if scope != BASE:
            await self.confirm(scope)
        watcher = Watcher(lambda: self.state.snapshot(scope), self._idle)
        self._watchers.setdefault(scope, {})[watcher] = None
        try:
            async for update in watcher.updates(lambda: self.state.revision):
                yield update
        finally:
            watchers = self._watchers[scope]
            del watchers[watcher]
            if not watchers:
                del self._watchers[scope]

    async def confirm(self, network_id: str) -> None:
        """NotFound. A network that this copy does not know may be newer than the copy: etcd's word counts."""
        if self.state.networks.get(network_id) is None:
            known = len(network_id) <= _LONGEST_ID
            found = await self._etcd.get(codec.network_key(network_id)) if known else KeyValue("")
            if not found.modified:
                raise NotFound(f"network {network_id[:_LONGEST_ID]} not found")
            await self.wait(found.modified)

    # what etcd tells

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            try:
                if not self._loaded:
                    await self._read()
                async for watched in self._etcd.watch(codec.PREFIX, self.state.revision + 1):
                    self._take(watched)
                    pauses.reset()
                self._note("etcd ended the watch")
            except Compacted:
                log.info("etcd has forgotten where this copy was: everything is read again")
                self._loaded = False
            except TowlineError as error:
                self._note(str(error))
            except Exception:
                log.exception("a change in etcd cannot be taken over: everything is read again")
                self._note("a change in etcd cannot be taken over")
                self._loaded = False
            await pauses.wait()

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("etcd is not heard", extra={"fields": {"why": trouble, "revision": self.state.revision}})
        self.trouble = trouble

    async def _read(self) -> None:
        found = await self._etcd.range(codec.PREFIX)
        self.state = State(found.revision, found.items)
        self._loaded = True
        self._heard()
        for network_id in [scope for scope in self._watchers if scope != BASE]:
            if self.state.networks.get(network_id) is None:
                self._end(network_id)
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.start_over()

    def _take(self, watched: Watched) -> None:
        """What is told twice is taken once."""
        if watched.revision > self.state.revision:
            self._tell(self.state.apply(watched.revision, watched.items))
        self._heard()

    def _tell(self, told: dict[str, Update]) -> None:
        for scope, update in told.items():
            for watcher in self._watchers.get(scope, ()):
                watcher.push(update)
        if base := told.get(BASE):
            for network_id in base.gone_networks:
                self._end(network_id)

    def _end(self, network_id: str) -> None:
        for watcher in self._watchers.get(network_id, ()):
            watcher.end(NotFound(f"network {network_id} not found"))

    def _heard(self) -> None:
        self.trouble = ""
        self.heard = self._monotonic()
        self._moved.set()
