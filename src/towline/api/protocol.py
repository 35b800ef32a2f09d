"""A client's connection: what is not HTTP, and clients that have said all they will say (shutdown(SHUT_WR))."""

from __future__ import annotations

import asyncio
import logging
import select
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from towline.api import call as answers
from towline.api.body import MAX_BODY
from towline.api.streams import Streams

log = logging.getLogger(__name__)


class ClientProtocol(RequestHandler):
    """aiohttp's protocol with Docker-like answers to what is not HTTP, and answers for clients that half-close.

    As in Go's net/http, what was asked before the half-close is answered, streams end then, and the connection is
    closed after the last answer. Over TLS the end of input is the end of the connection.
    """

    def __init__(self, manager: web.Server, streams: Streams, **options: Any) -> None:
        super().__init__(manager, **options)
        self._streams = streams
        self._half_closed = False
        self.body: StreamReader | None = None  # of the request in hand

    def eof_received(self) -> Any:
        """Whether the transport stays open for answers that are still to come: a bool, as asyncio wants it."""
        idle = not self._messages and (self._waiter is not None or self._request_count == 0)
        if idle or self.ssl_context is not None or self._gone():
            return False
        self._half_closed = True
        self._fail_truncated_body()
        self._streams.end_of(self)
        self._close_after_last()
        return True

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        if self._half_closed:
            self._close_after_last()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed. It is the client's fault and not logged as ours."""
        log.debug("bad request: %s", exc)
        if isinstance(exc, LineTooLong):
            response = answers.message("request header fields too large", 431, answers.UNKNOWN_HEADERS)
        else:
            response = answers.message("malformed HTTP request", status, answers.UNKNOWN_HEADERS)
        response.force_close()
        return response

    def _gone(self) -> bool:
        """Whether the client closed its socket altogether, which a unix socket tells and TCP does not."""
        if self.transport is None:
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), 0)
        return any(state & select.POLLHUP for _, state in poll.poll(0))

    def _close_after_last(self) -> None:
        if not self._messages:
            self.close()

    def _fail_truncated_body(self) -> None:
        """Only the last request can have one: what came before it was whole."""
        body = self._messages[-1][1] if self._messages else self.body
        if body is not None and not body.is_eof():
            body.set_exception(web.RequestPayloadError("the client ended its input before the end of the body"))
            body.feed_eof()


def make_request(
    parsed: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """aiohttp's request factory: the next of a connection's requests comes into hand."""
    if isinstance(protocol, ClientProtocol):
        protocol.body = payload
    loop = asyncio.get_running_loop()
    return web.BaseRequest(parsed, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
