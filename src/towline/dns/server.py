"""The DNS servers of all sandboxes: what control opens, tells of changes, and closes."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Collection
from weakref import WeakValueDictionary

from towline.dns.config import ServerConfig
from towline.dns.names import Directory, DnsView
from towline.dns.server_forward import DnsCounters, Forwarder
from towline.dns.server_sandbox import SandboxServer
from towline.dns.server_sockets import Enter, Inside, open_sockets, redirected_ports, remove_redirect
from towline.model.errors import KernelError, NamespaceGone, NotANamespace, TowlineError

_log = logging.getLogger(__name__)


class DnsServers:
    """All calls from the event loop's thread. Between open and close a sandbox's sockets keep its namespace alive.

    view: read when a question comes after a change. upstream_port, capacity: see `Forwarder`.
    """

    def __init__(
        self,
        view: DnsView,
        *,
        upstream_port: int = 53,
        capacity: int = 0,
    ) -> None:
        self.counters = DnsCounters()
        self._directory = Directory(view)
        self._forwarder = Forwarder(self.counters, port=upstream_port, capacity=capacity)
        self._enter = Enter()
        self._clean = Enter()
        self._servers: dict[str, SandboxServer] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, sandbox_id: str, netns: str, config: ServerConfig) -> None:
        """Serve 127.0.0.11 in the namespace at this path, where lo must be up; the same ports as before a restart.

        A sandbox that is open in the same namespace is only configured; in another one it is closed there first.
        Raises KernelError (EADDRNOTAVAIL: lo was never up), NamespaceGone or NotANamespace; then nothing is left.
        """
        async with self._lock_of(sandbox_id):
            server = self._servers.get(sandbox_id)
            if server is not None and server.netns != netns:
                await self._close(sandbox_id, gone=False)
                server = None
            if server is None:
                server = await self._open(sandbox_id, netns)
            server.configure(config)

    async def close(self, sandbox_id: str, *, gone: bool = False) -> None:
        """Stop serving and remove the table from the namespace. Not open is no error.

        The kernel takes some 16 ms to take a table's hooks away; only the caller waits for it. gone: the namespace
        ends with the sandbox, so that its table need not be removed.
        """
        async with self._lock_of(sandbox_id):
            await self._close(sandbox_id, gone=gone)

    def set_down(self, nodes: Collection[str]) -> None:
        """Ids of nodes that are down: members of services there are not named. `names_changed` is told of them too."""
        self._directory.set_down(nodes)

    def names_changed(self, network_id: str, peers: Collection[str] = ()) -> None:
        """After the commit of a change to the network or one of its endpoints here, or to these elsewhere."""
        self._directory.changed(network_id, peers)

    def opened(self) -> tuple[str, ...]:
        """Ids of the sandboxes that are served."""
        return tuple(self._servers)

    async def intact(self, sandbox_id: str) -> bool:
        """Whether the table in the namespace still leads to the server; False if it is not open. KernelError. Of a
        namespace that is gone nothing is said: True."""
        server = self._servers.get(sandbox_id)
        if server is None:
            return False
        try:
            return await self._enter(server.netns, redirected_ports) == server.ports
        except (NamespaceGone, NotANamespace):
            return True

    async def stop(self) -> None:
        """For the end of the daemon: tables stay, so that the next one takes the same ports."""
        servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            await server.close()
        await self._forwarder.close()
        self._enter.close()
        self._clean.close()

    def _lock_of(self, sandbox_id: str) -> asyncio.Lock:
        return self._locks.setdefault(sandbox_id, asyncio.Lock())

    async def _open(self, sandbox_id: str, netns: str) -> SandboxServer:
        try:
            opened = await self._enter(netns, open_sockets)
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, f"open the DNS sockets of sandbox {sandbox_id[:12]}") from error
        inside = Inside(self._enter, netns)
        server = SandboxServer(sandbox_id, netns, inside, self._forwarder, self._directory)
        try:
            await server.start(opened)
        except BaseException:
            opened.close()
            raise
        self._servers[sandbox_id] = server
        return server

    async def _close(self, sandbox_id: str, *, gone: bool) -> None:
        server = self._servers.pop(sandbox_id, None)
        if server is None:
            return
        await server.close()
        self._directory.forget(sandbox_id)
        if not gone:
            await self._remove(server.netns, f"sandbox {sandbox_id[:12]}")

    async def _remove(self, netns: str, what: str) -> None:
        try:
            await self._clean(netns, remove_redirect)
        except NamespaceGone:
            return
        except (TowlineError, OSError) as error:
            _log.warning("%s: its DNS redirect stays: %s", what, error)
