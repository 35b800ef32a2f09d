"""The DNS servers of all sandboxes: what control opens, tells of changes, and closes."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence

from towline.dns.config import ServerConfig
from towline.dns.names import Directory, DnsView
from towline.dns.server_forward import DnsCounters, Forwarder
from towline.dns.server_sandbox import SandboxServer
from towline.dns.server_sockets import Enter, Inside, open_sockets, remove_redirect
from towline.dns.zone import Service
from towline.model.errors import NamespaceGone, TowlineError

_log = logging.getLogger(__name__)


class DnsServers:
    """All calls from the event loop's thread. Between open and close a sandbox's sockets keep its namespace alive.

    view: read when a question comes after a change. upstream_port, capacity: see `Forwarder`.
    """

    def __init__(
        self,
        view: DnsView,
        *,
        services: Callable[[str], Sequence[Service]] = lambda network_id: (),
        upstream_port: int = 53,
        capacity: int = 0,
    ) -> None:
        self.counters = DnsCounters()
        self._directory = Directory(view, services)
        self._forwarder = Forwarder(self.counters, port=upstream_port, capacity=capacity)
        self._enter = Enter()
        self._servers: dict[str, SandboxServer] = {}
        self._lock = asyncio.Lock()

    async def open(self, sandbox_id: str, netns: str, config: ServerConfig) -> None:
        """Serve 127.0.0.11 in the namespace at this path, where lo must be up; the same ports as before a restart.

        A sandbox that is open in the same namespace is only configured; in another one it is closed there first.
        Raises OSError, KernelError, or what a namespace's path deserves; then nothing is left.
        """
        async with self._lock:
            server = self._servers.get(sandbox_id)
            if server is not None and server.netns != netns:
                await self._close(sandbox_id)
                server = None
            if server is None:
                server = await self._open(sandbox_id, netns)
            server.configure(config)

    async def close(self, sandbox_id: str) -> None:
        """Stop serving and remove the table from the namespace, if there still is one. Not open is no error."""
        async with self._lock:
            await self._close(sandbox_id)

    def configure(self, sandbox_id: str, config: ServerConfig) -> None:
        """Forward differently from now on; nothing happens if it is not open."""
        server = self._servers.get(sandbox_id)
        if server is not None:
            server.configure(config)

    def names_changed(self, network_id: str) -> None:
        """After the commit of a change to the network or one of its endpoints. O(1)."""
        self._directory.changed(network_id)

    def opened(self) -> tuple[str, ...]:
        """Ids of the sandboxes that are served."""
        return tuple(self._servers)

    def queries(self, sandbox_id: str) -> int:
        """How many came from this sandbox since it was opened."""
        server = self._servers.get(sandbox_id)
        return server.queries if server is not None else 0

    async def stop(self) -> None:
        """For the end of the daemon: tables stay, so that the next one takes the same ports."""
        async with self._lock:
            servers, self._servers = list(self._servers.values()), {}
            for server in servers:
                await server.close()
            await self._forwarder.close()
            self._enter.close()

    async def _open(self, sandbox_id: str, netns: str) -> SandboxServer:
        opened = await self._enter(netns, open_sockets)
        inside = Inside(self._enter, netns)
        names = functools.partial(self._directory.names, sandbox_id)
        server = SandboxServer(sandbox_id, netns, inside, self._forwarder, names)
        try:
            await server.start(opened)
        except BaseException:
            opened.close()
            raise
        self._servers[sandbox_id] = server
        return server

    async def _close(self, sandbox_id: str) -> None:
        server = self._servers.pop(sandbox_id, None)
        if server is None:
            return
        await server.close()
        self._directory.forget(sandbox_id)
        try:
            await self._enter(server.netns, remove_redirect)
        except NamespaceGone:
            return
        except (TowlineError, OSError) as error:
            _log.warning("sandbox %s: its DNS redirect stays: %s", sandbox_id[:12], error)
