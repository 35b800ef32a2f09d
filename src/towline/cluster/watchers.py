"""What one node's stream is due, of all its scopes: bounded however slow the node is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import NamedTuple

from towline.cluster.contract import Update
from towline.cluster.updates import size_of
from towline.model.errors import NotFound, Unavailable

MOST_WAITING = 4096
"""Records that wait for one watcher, of all its scopes; past that, the scope with the most gets a snapshot instead."""


class Source(NamedTuple):
    """What a watcher asks of the copy. snapshot: of a scope, now. merged: changes of one scope as one. revision: of the
    copy. confirm: NotFound for a scope that there is not, Unavailable while that cannot be told; waits for a scope that
    is newer than the copy."""

    snapshot: Callable[[str], Update]
    merged: Callable[[Sequence[Update]], Update]
    revision: Callable[[], int]
    confirm: Callable[[str], Awaitable[None]]


class _Waiting:
    """Of one scope. updates: changes in their order; None: a snapshot is due, which will have them all."""

    def __init__(self) -> None:
        self.updates: list[Update] | None = []
        self.records = 0


class Watcher:
    """idle: seconds after each of which the revision is told, once nothing else is due. most: records that may wait."""

    def __init__(self, source: Source, idle: float, most: int = MOST_WAITING) -> None:
        self._source = source
        self._idle = idle
        self._most = most
        self._due: dict[str, _Waiting] = {}
        self._records = 0
        self._doubtful: dict[str, None] = {}
        self._ended: Exception | None = None
        self._woken = asyncio.Event()
        self._quiet = False
        self._timer: asyncio.TimerHandle | None = None

    # what is due

    def begin(self, scope: str) -> None:
        """The next thing told of this scope is a snapshot; what waited is void."""
        self._clear(scope).updates = None
        self._woken.set()

    def begin_if_there(self, scope: str) -> None:
        """The same, once it is certain that there is this scope; else the scope's end is told."""
        self._drop(scope)
        self._doubtful[scope] = None
        self._woken.set()

    def forget(self, scope: str) -> None:
        """It is not carried any more."""
        self._drop(scope)
        self._doubtful.pop(scope, None)

    def push(self, update: Update) -> None:
        """A change of a scope that is carried."""
        if update.scope in self._doubtful:
            return
        waiting = self._due.get(update.scope)
        if waiting is None:
            waiting = self._due[update.scope] = _Waiting()
        if waiting.updates is not None:
            waiting.updates.append(update)
            records = size_of(update)
            waiting.records += records
            self._records += records
            while self._records > self._most:
                self.begin(max(self._due, key=lambda scope: self._due[scope].records))
        self._woken.set()

    def end_scope(self, scope: str) -> None:
        """There is no such scope any more: that is told, after which it is not carried."""
        self._clear(scope).updates = [Update(self._source.revision(), scope=scope, ended=True)]
        self._doubtful.pop(scope, None)
        self._woken.set()

    def end(self, error: Exception) -> None:
        """After what waits, the stream ends with this error."""
        self._ended = error
        self._woken.set()

    # what is told

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Without end; in each scope in order of revisions."""
        self._arm()
        try:
            while True:
                self._woken.clear()
                if self._doubtful:
                    await self._confirm()
                if self._due:
                    yield self._next()
                elif self._ended is not None:
                    raise self._ended
                elif self._quiet:
                    self._quiet = False
                    yield Update(self._source.revision())
                else:
                    await self._woken.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _arm(self) -> None:
        """One timer for each span, not one for each wait."""
        self._timer = asyncio.get_running_loop().call_later(self._idle, self._tick)

    def _tick(self) -> None:
        self._quiet = True
        self._woken.set()
        self._arm()

    async def _confirm(self) -> None:
        """One that cannot be told now is asked for again with the next news, or when there are none for a while."""
        for scope in tuple(self._doubtful):
            try:
                await self._source.confirm(scope)
            except NotFound:
                if scope in self._doubtful:
                    self.end_scope(scope)
            except Unavailable:
                return
            else:
                if scope in self._doubtful:
                    del self._doubtful[scope]
                    self.begin(scope)

    def _next(self) -> Update:
        scope = next(iter(self._due))
        waiting = self._due.pop(scope)
        self._records -= waiting.records
        if waiting.updates is None:
            return self._source.snapshot(scope)
        return self._source.merged(waiting.updates)

    def _clear(self, scope: str) -> _Waiting:
        self._drop(scope)
        self._due[scope] = _Waiting()
        return self._due[scope]

    def _drop(self, scope: str) -> None:
        waiting = self._due.pop(scope, None)
        if waiting is not None:
            self._records -= waiting.records
