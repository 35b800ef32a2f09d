"""Accepts connections for the node API and shakes hands, so that who fails at it is told in the log, and bounded.

asyncio's own server says nothing of a failed handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable

from towline.model.errors import Unavailable

log = logging.getLogger(__name__)

_BACKLOG = 512
_AT_ONCE = 256
"""Handshakes under way; more callers wait in the kernel."""
_HANDSHAKE = 10.0
_STRANGER = 30.0
"""Seconds that a connection without a certificate lives: long enough to join."""
_MOST_STRANGERS = 256
_UNHEARD = 20
"""Seconds after which a peer that acknowledges nothing is gone."""
_OUT_OF_DESCRIPTORS = 0.2
_REASONS = {
    "HTTP_REQUEST": "it speaks plain HTTP; the node API takes TLS 1.3 only",
    "WRONG_VERSION_NUMBER": "what it speaks is not TLS; the node API takes TLS 1.3 only",
    "UNSUPPORTED_PROTOCOL": "its TLS is older than 1.3",
}


class Sparing:
    """Whether to log once more, so that a caller who fails all the time does not fill the disk: `most` in `seconds`."""

    def __init__(self, most: int = 50, seconds: float = 60.0) -> None:
        self._most = most
        self._seconds = seconds
        self._since = float("-inf")
        self._said = 0

    def may_log(self) -> bool:
        now = time.monotonic()
        if now - self._since >= self._seconds:
            left_out, self._since, self._said = self._said - self._most, now, 0
            if left_out > 0:
                log.warning("refusals were left out of the log", extra={"fields": {"count": left_out}})
        self._said += 1
        return self._said <= self._most


class Handshakes:
    """context may be given a new certificate at any time. protocol: makes one for each connection."""

    def __init__(self, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol], sparing: Sparing) -> None:
        self._context = context
        self._protocol = protocol
        self._sparing = sparing
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._strangers: set[asyncio.Transport] = set()

    @property
    def port(self) -> int:
        """0 while it is not open."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def open(self, host: str, port: int) -> None:
        """host: a bare address; "::" takes IPv4 too, as Docker's. Unavailable, naming both, if they cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::")
        except OSError as error:
            raise Unavailable(f"listen for nodes on {host}:{port}: {error.strerror}") from error
        sock.setblocking(False)
        self._socket = sock
        self._accepting = asyncio.create_task(self._accept(sock))

    async def close(self) -> None:
        """Nobody new comes in. Connections that are there are their protocols'."""
        tasks = [*self._tasks, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._accepting = None

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                caller, address = await loop.sock_accept(sock)
            except OSError as error:
                self._room.release()
                log.error("a node cannot be let in", extra={"fields": {"why": error.strerror}})
                await asyncio.sleep(_OUT_OF_DESCRIPTORS)
                continue
            except asyncio.CancelledError:
                self._room.release()
                raise
            task = asyncio.create_task(self._shake(caller, str(address[0])))
            self._tasks.add(task)
            task.add_done_callback(self._shaken)

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def _shake(self, caller: socket.socket, address: str) -> None:
        try:
            with contextlib.suppress(OSError):
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD * 1000)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, caller, ssl=self._context, ssl_handshake_timeout=_HANDSHAKE
            )
        except OSError as error:
            self._refused(address, _reason(error))
        else:
            if not transport.get_extra_info("peercert"):
                self._bound(transport, address)

    def _bound(self, transport: asyncio.Transport, address: str) -> None:
        """A caller without a certificate may stay for a moment, and not with too many others."""
        self._strangers = {other for other in self._strangers if not other.is_closing()}
        if len(self._strangers) >= _MOST_STRANGERS:
            transport.abort()
            self._refused(address, f"{_MOST_STRANGERS} callers without a certificate are connected already")
            return
        self._strangers.add(transport)
        asyncio.get_running_loop().call_later(_STRANGER, self._end, transport)

    def _end(self, transport: asyncio.Transport) -> None:
        self._strangers.discard(transport)
        if not transport.is_closing():
            transport.abort()

    def _refused(self, address: str, why: str) -> None:
        if self._sparing.may_log():
            log.warning("a caller of the node API was refused", extra={"fields": {"from": address, "why": why}})


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", error.reason or str(error))
    return str(error) or type(error).__name__
