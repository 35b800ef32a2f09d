"""Streams of updates to nodes: JSON lines, of the scopes that the node names in its request, which goes on as long as
the answer. Readers that are too slow are cut off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable

import msgspec
from aiohttp import web

from towline.cluster.contract import Update
from towline.cluster.node_api import refused
from towline.cluster.scopes import Scopes
from towline.cluster.stream_wire import Incoming
from towline.cluster.update_lines import lines_of
from towline.model.errors import Failure, TowlineError, Unavailable

log = logging.getLogger(__name__)

MOST = 8
"""Streams that one node may have open: it needs one, and may be back before the last one is found to be dead."""
SLOW = 30.0
"""Seconds that a reader may take for one line."""
_KEPT = 8 << 20
"""Bytes of encoded updates: what many nodes are told, they are told within a moment."""
_OVERHEAD = 1024
"""Bytes that an update takes besides."""
_encoder = msgspec.json.Encoder()

Watch = Callable[[Scopes], AsyncGenerator[Update, None]]


class Streams:
    """slow: seconds."""

    def __init__(self, *, slow: float = SLOW) -> None:
        self._slow = slow
        self._open: Counter[str] = Counter()
        self._streams: set[_Stream] = set()
        self._encoded = _Encoded()

    def end(self) -> None:
        """All end, after the line in hand."""
        for stream in tuple(self._streams):
            stream.stop(Unavailable("this manager stops"))

    async def serve(
        self, request: web.BaseRequest, node: str, watch: Watch, still: Callable[[], bool]
    ) -> web.StreamResponse:
        """still: whether the node may read on. Raises TowlineError before the first line; later ones are its last."""
        if self._open[node] >= MOST:
            raise Unavailable(f"node {node} has {MOST} streams open already")
        self._open[node] += 1
        stream = _Stream(request, node, self._encoded, self._slow)
        self._streams.add(stream)
        try:
            return await stream.serve(watch, still)
        finally:
            self._streams.discard(stream)
            self._open[node] -= 1
            if not self._open[node]:
                del self._open[node]


class _Stream:
    def __init__(self, request: web.BaseRequest, node: str, encoded: _Encoded, slow: float) -> None:
        self._request = request
        self._node = node
        self._encoded = encoded
        self._slow = slow
        self._response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._scopes = Scopes()
        self._task = asyncio.current_task()
        self._why: TowlineError | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    def stop(self, why: TowlineError) -> None:
        """Its last line says why."""
        if self._why is None and self._task is not None:
            self._why = why
            self._task.cancel()

    async def serve(self, watch: Watch, still: Callable[[], bool]) -> web.StreamResponse:
        asked = asyncio.ensure_future(self._read())
        self._look()
        try:
            async with contextlib.aclosing(watch(self._scopes)) as updates:
                async for update in updates:
                    if not still():
                        raise Unavailable("this node may not read on: ask again, and the answer says why")
                    if not self._response.prepared:
                        await self._response.prepare(self._request)
                    for line in self._encoded.lines(update):
                        await self._tell(line)
        except asyncio.CancelledError:
            if self._why is None:
                raise
            if self._task is not None:
                self._task.uncancel()
            await self._end_with(self._why)
        except TowlineError as error:
            await self._end_with(error)
        except ConnectionError:
            log.info("a node's stream was cut", extra={"fields": self._fields()})
        except Exception:
            log.exception("a node's stream failed", extra={"fields": self._fields()})
            await self._end_with(Failure("internal error: see the manager's log"))
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        return self._response

    async def _read(self) -> None:
        """What the node asks for, until it goes away."""
        incoming = Incoming(self._scopes)
        try:
            async for chunk in self._request.content.iter_any():
                incoming.feed(chunk)
            self.stop(Unavailable("the node has ended its request"))
        except TowlineError as error:
            self.stop(error)
        except (ConnectionError, web.RequestPayloadError):
            self.stop(Unavailable("the node's request was cut"))
        except Exception:
            log.exception("a node's request for a stream failed", extra={"fields": self._fields()})
            self.stop(Failure("internal error: see the manager's log"))

    async def _end_with(self, error: TowlineError) -> None:
        self._why = error
        if not self._response.prepared:
            raise error
        with contextlib.suppress(ConnectionError):
            await self._tell(_encoder.encode(refused(error)) + b"\n")

    async def _tell(self, line: bytes) -> None:
        self._since = self._loop.time()
        await self._response.write(line)
        self._since = 0.0

    def _look(self) -> None:
        """Has the line in hand taken too long? One timer for many lines: most are sent at once."""
        now = self._loop.time()
        if self._since and now - self._since >= self._slow:
            log.warning("a node reads too slowly: its stream is cut", extra={"fields": self._fields()})
            if self._request.transport is not None:
                self._request.transport.abort()
            self.stop(Unavailable("the node reads too slowly"))
            return
        self._timer = self._loop.call_at((self._since or now) + self._slow, self._look)

    def _fields(self) -> dict[str, str]:
        return {"node": self._node}


class _Encoded:
    """Lines of the last updates: watchers of a scope are told the same object, which is encoded once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[Update, list[bytes], int]] = OrderedDict()
        self._size = 0

    def lines(self, update: Update) -> list[bytes]:
        found = self._kept.get(id(update))
        if found is None:
            lines = list(lines_of(update))
            found = self._kept[id(update)] = update, lines, sum(map(len, lines)) + _OVERHEAD
            self._size += found[2]
            while self._size > _KEPT:
                self._size -= self._kept.popitem(last=False)[1][2]
        return found[1]
