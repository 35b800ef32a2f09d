"""Sockets inside sandboxes' network namespaces. Worker threads enter them; the event loop's thread never does."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from towline.dns.config import RESOLVER
from towline.dns.redirect import TABLE, Ports, ports_of, redirect
from towline.kernel.netns import inside
from towline.kernel.nft import NfNetlinkNft
from towline.model.ruleset import AddTable, DeleteTable

T = TypeVar("T")

_BACKLOG = 128
_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 1 << 20
"""Bytes: a burst of some 1,500 queries waits there instead of being lost. The kernel's default holds 250."""


class Opened(NamedTuple):
    """What a sandbox's server listens on. fresh: the table was written; else everything was there from before."""

    udp: socket.socket
    tcp: socket.socket
    ports: Ports
    fresh: bool

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


class Enter:
    """Runs functions inside network namespaces, one at a time, without blocking the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dns-netns")

    def __call__(self, netns: str, function: Callable[[], T]) -> Awaitable[T]:
        """Raises what `kernel.netns.inside` or the function raises."""

        def work() -> T:
            with inside(netns):
                return function()

        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown()


def open_sockets() -> Opened:
    """In the calling thread's namespace: sockets on 127.0.0.11, and the table that leads port 53 to them.

    The ports of a table that is there already are taken again, so that a restart writes nothing; if somebody else has
    one of them now, new ones are chosen. Raises OSError (no lo up: EADDRNOTAVAIL) or KernelError; then nothing is left
    open.
    """
    nft = NfNetlinkNft()
    try:
        known = ports_of(nft.read(TABLE))
        udp, tcp = _bound(known)
        ports = Ports(udp.getsockname()[1], tcp.getsockname()[1])
        opened = Opened(udp, tcp, ports, fresh=ports != known)
        try:
            if opened.fresh:
                nft.commit([AddTable(redirect(ports))])
        except BaseException:
            opened.close()
            raise
        return opened
    finally:
        nft.close()


def redirected_ports() -> Ports | None:
    """In the calling thread's namespace: where the table leads, None if it is absent or not as we write it."""
    nft = NfNetlinkNft()
    try:
        return ports_of(nft.read(TABLE))
    finally:
        nft.close()


def remove_redirect() -> None:
    """In the calling thread's namespace."""
    nft = NfNetlinkNft()
    try:
        nft.commit([DeleteTable(TABLE)])
    finally:
        nft.close()


def _bound(known: Ports | None) -> tuple[socket.socket, socket.socket]:
    if known is not None:
        with suppress(OSError):
            return _pair(known)
    return _pair(Ports(0, 0))


def _pair(ports: Ports) -> tuple[socket.socket, socket.socket]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        udp.bind((RESOLVER, ports.udp))
        with suppress(OSError):
            udp.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _RECEIVE_BUFFER)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((RESOLVER, ports.tcp))
        tcp.listen(_BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


class Target(NamedTuple):
    """A non-blocking socket for one exchange, and where it is to connect."""

    socket: socket.socket
    address: tuple[str | int, ...]


def open_target(address: str, port: int, kind: socket.SocketKind) -> Target:
    """In the calling thread's namespace, where a scope (`%eth0`) has its meaning. OSError if there is no such scope."""
    bare, _, scope = address.partition("%")
    if ":" not in bare:
        return Target(_unconnected(socket.AF_INET, kind), (bare, port))
    index = _scope(scope) if scope else 0
    return Target(_unconnected(socket.AF_INET6, kind), (bare, port, 0, index))


def _unconnected(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(family, kind | socket.SOCK_NONBLOCK)


def _scope(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        return socket.if_nametoindex(text)
    except OSError as error:
        raise OSError(errno.ENODEV, f"no interface {text}") from error


class Inside:
    """Makes sockets in one sandbox's namespace. Requests that wait together are served by one entry into it."""

    def __init__(self, enter: Enter, netns: str) -> None:
        self._enter = enter
        self._netns = netns
        self._waiting: list[tuple[asyncio.Future[Target], Callable[[], Target]]] = []
        self._busy: asyncio.Task[None] | None = None

    async def make(self, function: Callable[[], Target]) -> Target:
        """The target that `function` makes inside; raises what it raises, or why the namespace cannot be entered."""
        future: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, function))
        if self._busy is None:
            self._busy = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                self._deliver(batch, await self._made([function for _, function in batch]))
        finally:
            self._busy = None

    async def _made(self, functions: list[Callable[[], Target]]) -> list[Target | Exception]:
        try:
            return await self._enter(self._netns, lambda: [_attempt(function) for function in functions])
        except Exception as error:
            return [error] * len(functions)

    def _deliver(
        self, batch: list[tuple[asyncio.Future[Target], Callable[[], Target]]], made: list[Target | Exception]
    ) -> None:
        for (future, _), result in zip(batch, made, strict=True):
            if isinstance(result, Exception):
                if not future.done():
                    future.set_exception(result)
            elif future.done():
                result.socket.close()
            else:
                future.set_result(result)


def _attempt(function: Callable[[], Target]) -> Target | Exception:
    try:
        return function()
    except OSError as error:
        return error
