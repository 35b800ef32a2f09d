"""Streams of updates to nodes: JSON lines, an empty one when there is no news, readers that are too slow cut off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import web

from towline.cluster.contract import Update
from towline.cluster.node_api import PROGRESS, refused
from towline.cluster.update_lines import lines_of
from towline.model.errors import Failure, TowlineError, Unavailable

log = logging.getLogger(__name__)

MOST = 512
"""Streams that one node may have open: one for each network that it has endpoints on."""
_FIRST = 10.0
"""Seconds until the first update of a stream."""
SLOW = 30.0
"""Seconds that a reader may take for one line."""
_encoder = msgspec.json.Encoder()


class Streams:
    """progress, slow: seconds."""

    def __init__(self, *, progress: float = PROGRESS, slow: float = SLOW) -> None:
        self._progress = progress
        self._slow = slow
        self._open: Counter[str] = Counter()
        self._ending = asyncio.Event()
        self._last: tuple[Update | None, list[bytes]] = (None, [])

    def end(self) -> None:
        """All end, after the line in hand."""
        self._ending.set()

    async def serve(
        self, request: web.BaseRequest, node: str, updates: AsyncIterator[Update], still: Callable[[], bool]
    ) -> web.StreamResponse:
        """still: whether the node may read on. Raises TowlineError before the first line; later ones are its last."""
        if self._open[node] >= MOST:
            raise Unavailable(f"node {node} has {MOST} streams open already")
        self._open[node] += 1
        reader = _Reader(updates, self._ending)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            first = await reader.next(_FIRST)
            if first is None:
                raise Unavailable("the manager has nothing to tell yet")
            await response.prepare(request)
            await self._tell(request, response, self._lines(first))
            while True:
                update = await reader.next(self._progress)
                if not still():
                    raise Unavailable("this node may not read on: ask again, and the answer says why")
                await self._tell(request, response, [b"\n"] if update is None else self._lines(update))
        except TowlineError as error:
            await self._end_with(request, response, error)
        except ConnectionError:
            log.info("a node's stream was cut", extra={"fields": {"node": node}})
        except TimeoutError:
            log.warning("a node reads too slowly: its stream is cut", extra={"fields": {"node": node}})
        except Exception:
            log.exception("a node's stream failed", extra={"fields": {"node": node}})
            await self._end_with(request, response, Failure("internal error: see the manager's log"))
        finally:
            await reader.close()
            self._open[node] -= 1
            if not self._open[node]:
                del self._open[node]
        return response

    async def _end_with(self, request: web.BaseRequest, response: web.StreamResponse, error: TowlineError) -> None:
        if not response.prepared:
            raise error
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._tell(request, response, [_encoder.encode(refused(error)) + b"\n"])

    async def _tell(self, request: web.BaseRequest, response: web.StreamResponse, lines: list[bytes]) -> None:
        for line in lines:
            try:
                async with asyncio.timeout(self._slow):
                    await response.write(line)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                raise

    def _lines(self, update: Update) -> list[bytes]:
        """Watchers of a scope are told the same object one after the other: it is encoded once."""
        if self._last[0] is not update:
            self._last = (update, list(lines_of(update)))
        return self._last[1]


class _Reader:
    """Waits for updates with a time limit, without ending the iterator when it is over."""

    def __init__(self, updates: AsyncIterator[Update], ending: asyncio.Event) -> None:
        self._updates = updates
        self._ending: asyncio.Future[object] = asyncio.ensure_future(ending.wait())
        self._next: asyncio.Future[Update] | None = None

    async def next(self, seconds: float) -> Update | None:
        """None: no news. Unavailable at the end."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._updates))
        waiting: set[asyncio.Future[Any]] = {self._next, self._ending}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            raise Unavailable("this manager stops")
        if not self._next.done():
            return None
        read, self._next = self._next, None
        try:
            return read.result()
        except StopAsyncIteration:
            raise Unavailable("the stream has ended") from None

    async def close(self) -> None:
        waiting: list[asyncio.Future[Any]] = [self._ending]
        if self._next is not None:
            waiting.append(self._next)
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        close = getattr(self._updates, "aclose", None)
        if close is not None:
            await close()
