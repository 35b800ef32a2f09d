"""Keeps a manager's copy of the cluster current, and tells many watchers what changes in it.

The copy only moves forward: a watch goes on where it was cut; where etcd has forgotten that place, everything is read
again and every watcher gets a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable

from towline.cluster import codec
from towline.cluster.contract import BASE, Compacted, Etcd, KeyValue, Update, Watched
from towline.cluster.node_api import PROGRESS
from towline.cluster.pauses import Pauses
from towline.cluster.scopes import Scopes
from towline.cluster.shared_updates import SharedUpdates
from towline.cluster.state import State
from towline.cluster.watchers import Source, Watcher
from towline.model.cluster import Alive
from towline.model.errors import NotFound, TowlineError, Unavailable

log = logging.getLogger(__name__)

_PATIENCE = 10.0
_LONGEST_ID = 64


class Feed:
    """state: replaced as a whole when everything is read again, so never kept by a caller across an await.

    trouble: why etcd is not heard now, "" if it is. heard: when it last was, on `monotonic`. idle: seconds after which
    a watcher without news is told the revision.
    """

    def __init__(self, etcd: Etcd, *, idle: float = PROGRESS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.state = State()
        self.trouble = "etcd has not been read yet"
        self.heard = 0.0
        self._etcd = etcd
        self._idle = idle
        self._monotonic = monotonic
        self._loaded = False
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._streams: set[Watcher] = set()
        self._shared = SharedUpdates(lambda scope: self.state.snapshot(scope), lambda: self.state.revision)
        self._source = Source(
            self._shared.snapshot, self._shared.merged, lambda: self.state.revision, lambda scope: self.confirm(scope)
        )
        self._moved = asyncio.Event()
        self._reported: Callable[[Alive], None] = lambda _: None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Open streams end with Unavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for watcher in self._streams:
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

    def listen(self, reported: Callable[[Alive], None]) -> None:
        """Called with each report of a node that was written, at the moment at which it arrives; one may listen."""
        self._reported = reported

    # for whoever follows

    async def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        """As `contract.Link.watch`."""
        await self.until(lambda _: True)
        watcher = Watcher(self._source, self._idle)
        carried: set[str] = set()

        def change(scope: str, carry: bool) -> None:
            if carry:
                carried.add(scope)
                self._attach(watcher, scope)
            else:
                carried.discard(scope)
                self._detach(watcher, scope)
                watcher.forget(scope)

        self._streams.add(watcher)
        stop = scopes.listen(change)
        try:
            for scope in scopes:
                change(scope, True)
            async for update in watcher.updates():
                yield update
                if update.ended:
                    carried.discard(update.scope)
                    self._detach(watcher, update.scope)
        finally:
            stop()
            self._streams.discard(watcher)
            for scope in carried:
                self._detach(watcher, scope)

    def _attach(self, watcher: Watcher, scope: str) -> None:
        self._watchers.setdefault(scope, {})[watcher] = None
        if scope == BASE or self.state.networks.get(scope) is not None:
            watcher.begin(scope)
        else:
            watcher.begin_if_there(scope)

    def _detach(self, watcher: Watcher, scope: str) -> None:
        watchers = self._watchers.get(scope, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(scope, None)

    async def confirm(self, network_id: str) -> None:
        """NotFound. A network that this copy does not know may be newer than the copy: etcd's word counts."""
        if self.state.networks.get(network_id) is None:
            known = len(network_id) <= _LONGEST_ID
            found = await self._etcd.get(codec.network_key(network_id)) if known else KeyValue("")
            if not found.modified:
                raise NotFound(f"network {network_id[:_LONGEST_ID]} not found")
            await self.wait(found.modified)

    async def catch_up(self) -> None:
        """Until the copy has all that etcd had when this was asked: other managers may have written it. Unavailable."""
        await self.wait((await self._etcd.range(codec.LEADER_KEY)).revision)

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
        self._shared.forget()
        self._loaded = True
        self._heard()
        for scope in list(self._watchers):
            if scope != BASE and self.state.networks.get(scope) is None:
                self._end(scope)
            for watcher in self._watchers.get(scope, ()):
                watcher.begin(scope)

    def _take(self, watched: Watched) -> None:
        """What is told twice is taken once."""
        if watched.revision > self.state.revision:
            self._tell(self.state.apply(watched.revision, watched.items))
            for item in watched.items:
                kind, node_id = codec.split_key(item.key)
                if kind == codec.ALIVE and (alive := self.state.alive.get(node_id)) is not None:
                    self._reported(alive)
        self._heard()

    def _tell(self, told: dict[str, Update]) -> None:
        for scope, update in told.items():
            for watcher in self._watchers.get(scope, ()):
                watcher.push(update)
        if base := told.get(BASE):
            for network_id in base.gone_networks:
                self._end(network_id)

    def _end(self, network_id: str) -> None:
        for watcher in self._watchers.pop(network_id, ()):
            watcher.end_scope(network_id)

    def _heard(self) -> None:
        self.trouble = ""
        self.heard = self._monotonic()
        self._moved.set()
