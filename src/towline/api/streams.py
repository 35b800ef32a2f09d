"""Answers that go on until somebody ends them: the server when it stops, or a client that half-closes."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Streams:
    """Those that are open now."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Timeout, asyncio.BaseProtocol] = {}
        self._ended_clients: weakref.WeakSet[asyncio.BaseProtocol] = weakref.WeakSet()
        self._ended = False

    @asynccontextmanager
    async def until(self, seconds: float | None, client: asyncio.BaseProtocol) -> AsyncIterator[None]:
        """Runs the block until it ends, the time is up, or `end` or `end_of` is called; all but the first end it
        quietly. client: the connection that it goes to."""
        ended = self._ended or client in self._ended_clients
        try:
            async with asyncio.timeout(0 if ended else seconds) as limit:
                self._open[limit] = client
                try:
                    yield
                finally:
                    del self._open[limit]
        except TimeoutError:
            return

    def end(self) -> None:
        """End all that are open and all that will be."""
        self._ended = True
        _end_now(self._open)

    def end_of(self, client: asyncio.BaseProtocol) -> None:
        """The same for one connection."""
        self._ended_clients.add(client)
        _end_now(limit for limit, owner in self._open.items() if owner is client)


def _end_now(limits: Iterable[asyncio.Timeout]) -> None:
    now = asyncio.get_running_loop().time()
    for limit in tuple(limits):
        limit.reschedule(now)
