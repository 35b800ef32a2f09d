"""What a node has been told of one scope and not applied yet: bounded by what the scope holds, not by how much of it
changes."""

from __future__ import annotations

import asyncio

from towline.cluster.contract import Update
from towline.cluster.updates import merge

_MOST = 64
"""Updates that are kept one by one."""


class Inbox:
    """One task takes."""

    def __init__(self) -> None:
        self._waiting: list[Update] = []
        self._filled = asyncio.Event()

    def put(self, update: Update) -> None:
        self._waiting.append(update)
        if len(self._waiting) > _MOST:
            self._waiting = [merge(self._waiting)]
        self._filled.set()

    async def take(self) -> Update:
        """What waits, as one."""
        await self._filled.wait()
        self._filled.clear()
        waiting, self._waiting = self._waiting, []
        return waiting[0] if len(waiting) == 1 else merge(waiting)
