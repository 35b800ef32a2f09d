"""The HTTP server: one handler set behind any number of listeners, which the daemon makes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from towline.api import call as answers
from towline.api.body import MAX_BODY
from towline.api.call import Call, Handler, message
from towline.api.errors import status_of
from towline.api.router import Match, clean
from towline.api.routes import router
from towline.api.versions import TooOld, negotiate
from towline.api.wire_out import Fragments
from towline.control.contract import Engine
from towline.model.errors import TowlineError

MAX_REQUEST_LINE = 64 * 1024
MAX_HEADER = 16 * 1024
_PATH_SAFE = "/:@!$&'()*+,;=~"

Observe = Callable[[str, str, int, float], None]
"""Told of every answered request: method, route, status, seconds."""

log = logging.getLogger(__name__)


def make_runner(engine: Engine, observe: Observe | None = None) -> web.ServerRunner:
    """A runner to be set up with `await runner.setup()` and given sites; `await runner.cleanup()` ends everything.

    A client that goes away cancels its handler; the engine's writes run to their end all the same (its contract).
    """
    handle = _Handler(engine)
    return web.ServerRunner(
        _Server(
            handle if observe is None else _observed(handle, observe),
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_HEADER,
        ),
        handle_signals=False,
        shutdown_timeout=2.0,
    )


class _Handler:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
            return await match.handler(Call(self._engine, self._fragments, request, version, match.term, parsed))
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


def _observed(handle: _Handler, observe: Observe) -> Callable[[web.BaseRequest], Any]:
    async def observed(request: web.BaseRequest) -> web.StreamResponse:
        began = time.perf_counter()
        response = await handle(request)
        observe(request.method, route_label(request.raw_path), response.status, time.perf_counter() - began)
        return response

    return observed


def route_label(target: str) -> str:
    """A label of few values: the path without version, query and names."""
    parts = [part for part in target.partition("?")[0].split("/") if part]
    if parts and parts[0].startswith("v") and parts[0][1:2].isdigit():
        parts.pop(0)
    known = parts[0] if parts and parts[0] in _LABELS else "other"
    if known == "networks" and len(parts) > 1:
        return "networks/" + (parts[-1] if parts[-1] in _ACTIONS else "{id}")
    return known


_LABELS = frozenset({"_ping", "version", "info", "events", "containers", "networks", "towline"})
_ACTIONS = frozenset({"create", "prune", "connect", "disconnect"})


def _request(
    parsed: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(parsed, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)


class _Server(web.Server):
    """aiohttp's server with Docker-like answers to what is not HTTP."""

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed. It is the client's fault and not logged as ours."""
        log.debug("bad request: %s", exc)
        text = "request header fields too large" if "too long" in str(message).lower() else "malformed HTTP request"
        response = answers.message(text, status, answers.UNKNOWN_HEADERS)
        response.force_close()
        return response
