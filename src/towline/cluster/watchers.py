"""One watcher of a scope: what it is due, bounded however slow it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from towline.cluster.contract import Update
from towline.cluster.updates import RECORDS, merge

MOST_WAITING = 4096
"""Records that wait for one watcher; past that it gets a snapshot instead."""


class Watcher:
    """snapshot: makes one of the scope now. idle: seconds without a change after which the revision is told."""

    def __init__(self, snapshot: Callable[[], Update], idle: float, most: int = MOST_WAITING) -> None:
        self._snapshot = snapshot
        self._idle = idle
        self._most = most
        self._waiting: deque[Update] = deque()
        self._records = 0
        self._behind = True
        self._ended: Exception | None = None
        self._woken = asyncio.Event()

    def push(self, update: Update) -> None:
        if not self._behind:
            self._waiting.append(update)
            self._records += _size(update)
            if self._records > self._most:
                self.start_over()
        self._woken.set()

    def start_over(self) -> None:
        """What waited is void: the next thing told is a snapshot."""
        self._waiting.clear()
        self._records = 0
        self._behind = True
        self._woken.set()

    def end(self, error: Exception) -> None:
        """After what waits, the stream ends with this error."""
        self._ended = error
        self._woken.set()

    async def updates(self, revision: Callable[[], int]) -> AsyncIterator[Update]:
        """Without end. revision: of the copy, told now and then: a silent stream counts as cut."""
        while True:
            if (update := self._next()) is not None:
                yield update
            elif self._ended is not None:
                raise self._ended
            elif not await self._woken_in_time() and not self._woken.is_set():
                yield Update(revision())

    async def _woken_in_time(self) -> bool:
        try:
            async with asyncio.timeout(self._idle):  # `wait_for` loses a cancellation that comes with the event
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def _next(self) -> Update | None:
        """A single change is passed on as the object that all watchers get; several become one."""
        self._woken.clear()
        if self._behind and self._ended is None:
            self._behind = False
            return self._snapshot()
        if not self._waiting:
            return None
        waiting = list(self._waiting)
        self._waiting.clear()
        self._records = 0
        return waiting[0] if len(waiting) == 1 else merge(waiting)


def _size(update: Update) -> int:
    return sum(len(getattr(update, name)) for name in RECORDS)
