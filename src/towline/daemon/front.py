"""Attaches HTTP applications to the daemon's listeners, and detaches them without dropping requests."""

from __future__ import annotations

from collections.abc import Sequence
from ssl import SSLContext

from aiohttp import web

from towline.daemon.listeners import BACKLOG, Listener


class Front:
    """One aiohttp application on many sockets. grace: seconds that running requests get when it stops."""

    def __init__(self, app: web.Application, *, grace: float) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace, handler_cancellation=False)

    async def serve(self, listeners: Sequence[Listener], tls: SSLContext | None) -> None:
        await self._runner.setup()
        for listener in listeners:
            context = tls if listener.encrypted else None
            await web.SockSite(self._runner, listener.socket, ssl_context=context, backlog=BACKLOG).start()

    async def stop(self) -> None:
        """Accept nothing more, let running requests end, then cut what is left (the application ends its streams
        in its on_shutdown)."""
        await self._runner.cleanup()
