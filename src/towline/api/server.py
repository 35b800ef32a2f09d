"""The HTTP server: one handler set behind any number of listeners, which the daemon makes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from towline.api import call as answers
from towline.api.call import Call, Handler, message
from towline.api.protocol import ClientProtocol, make_request
from towline.api.router import Match, clean
from towline.api.routes import router
from towline.api.streams import Streams
from towline.api.versions import TooOld, negotiate
from towline.api.wire_out import Fragments
from towline.control.contract import WholeEngine
from towline.model.errors import TowlineError
from towline.model.status import status_of

if TYPE_CHECKING:
    from towline.api.metrics import Metrics

MAX_REQUEST_LINE = 1024 * 1024 + 4096  # as Go; a path may hold a long name, a query long filters
MAX_HEADER = 64 * 1024
GRACE_SECONDS = 10.0
_PATH_SAFE = "/:@!$&'()*+,;=~"

log = logging.getLogger(__name__)


def make_runner(engine: WholeEngine) -> web.ServerRunner:
    """Needs a running event loop. `setup()` it, give it sites; `cleanup()` ends streams at once and lets other requests
    end within GRACE_SECONDS. With `metrics_addr` in the configuration, `setup()` also serves metrics there; Failure if
    it cannot.

    A client that goes away cancels its handler; the engine's writes run to their end all the same (its contract). One
    that only half-closes gets its answers.
    """
    if not engine.config.metrics_addr:
        return _Runner(engine, None)
    from towline.api.metrics import Metrics

    return _Runner(engine, Metrics(engine))


class _Runner(web.ServerRunner):
    def __init__(self, engine: WholeEngine, metrics: Metrics | None) -> None:
        streams = Streams()
        handle = _Handler(engine, streams)
        server = _Server(
            handle if metrics is None else metrics.watching(handle),
            streams,
            request_factory=make_request,
            handler_cancellation=True,
            access_log=None,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_HEADER,
        )
        super().__init__(server, handle_signals=False, shutdown_timeout=GRACE_SECONDS)
        self._metrics = metrics
        self._metrics_addr = engine.config.metrics_addr

    async def setup(self) -> None:
        await super().setup()
        if self._metrics is not None:
            await self._metrics.start(self._metrics_addr)

    async def cleanup(self) -> None:
        if self._metrics is not None:
            await self._metrics.stop()
        await super().cleanup()


class _Handler:
    def __init__(self, engine: WholeEngine, streams: Streams) -> None:
        self._engine = engine
        self._streams = streams
        self._fragments = Fragments()
        self._router = router()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path, query = split_target(request.raw_path)
        if (cleaned := clean(path)) != path:
            return _redirect(cleaned, query)
        match = self._router.find(request.method, path)
        if match is None:
            return message("page not found", 404, answers.UNKNOWN_HEADERS)
        return await self._answer(request, match, query)

    async def _answer(self, request: web.BaseRequest, match: Match[Handler], query: str) -> web.StreamResponse:
        try:
            version = negotiate(match.version)
        except TooOld as error:
            return web.Response(body=f"{error}\n".encode(), status=400, headers=answers.TOO_OLD_HEADERS)
        except TowlineError as error:
            return message(str(error), 400, answers.TOO_NEW_HEADERS)
        try:
            parsed = answers.parse_query(query)
            return await match.handler(
                Call(self._engine, self._fragments, self._streams, request, version, match.term, parsed)
            )
        except TowlineError as error:
            return message(str(error), status_of(error))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_path)
            return message("internal error: see the daemon's log", 500)


def split_target(target: str) -> tuple[str, str]:
    """The decoded path and the raw query of a request target; bytes that are no UTF-8 become U+FFFD."""
    path, _, query = target.partition("?")
    if not target.isascii():
        path, query = (part.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for part in (path, query))
    return (unquote(path) if "%" in path else path), query


def _redirect(path: str, query: str) -> web.Response:
    headers = CIMultiDict(answers.REDIRECT_HEADERS)
    headers["Location"] = quote(path, safe=_PATH_SAFE) + (f"?{quote(query, safe=_PATH_SAFE + '%?')}" if query else "")
    return web.Response(status=301, headers=headers)


class _Server(web.Server):
    """aiohttp's server with our protocol; it ends streams before it waits for requests to end."""

    def __init__(self, handle: Callable[[web.BaseRequest], Any], streams: Streams, **options: Any) -> None:
        super().__init__(handle, **options)
        self._streams = streams

    def pre_shutdown(self) -> None:
        self._streams.end()
        super().pre_shutdown()

    def __call__(self) -> RequestHandler:
        return ClientProtocol(self, self._streams, loop=self._loop, **self._kwargs)
