"""Attaches an HTTP server to the daemon's listeners, and detaches it without dropping requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from towline.daemon.listeners import BACKLOG, Listener

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import web


@asynccontextmanager
async def answering(
    runner: web.BaseRunner, listeners: Sequence[Listener], tls: SSLContext | None
) -> AsyncIterator[None]:
    """Serve on all listeners. In the end nothing more is accepted, running requests get the runner's time-out to end,
    and what is left then (streams) is cut."""
    from aiohttp.web import SockSite

    await runner.setup()
    try:
        for listener in listeners:
            context = tls if listener.encrypted else None
            await SockSite(runner, listener.socket, ssl_context=context, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
