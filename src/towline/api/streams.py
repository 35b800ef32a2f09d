"""Answers that go on until somebody ends them: the server must be able to, when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Streams:
    """Those that are open now."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._ended = False

    @asynccontextmanager
    async def until(self, seconds: float | None) -> AsyncIterator[None]:
        """Runs the block until it ends, the time is up, or `end` is called; the last two end it quietly."""
        try:
            async with asyncio.timeout(0 if self._ended else seconds) as limit:
                self._open.add(limit)
                try:
                    yield
                finally:
                    self._open.discard(limit)
        except TimeoutError:
            return

    def end(self) -> None:
        """End all that are open and all that will be."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for limit in tuple(self._open):
            limit.reschedule(now)
