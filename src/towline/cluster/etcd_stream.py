"""An answer of etcd that comes in lines, over hours."""

from __future__ import annotations

import socket
from collections import deque

import aiohttp

from towline.model.errors import Unavailable

LARGEST = 64 << 20  # bytes of one line
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class Stream:
    """Owns the response. `close` wakes who waits for a line."""

    def __init__(self, response: aiohttp.ClientResponse, endpoint: str) -> None:
        self._response = response
        self._endpoint = endpoint
        self._lines: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        _watch_peer(response)

    async def line(self) -> bytes:
        """The next one; Unavailable at the end, whether it was meant or not."""
        while not self._lines:
            try:
                chunk = await self._response.content.readany()
            except BROKEN as error:
                raise Unavailable(f"etcd: {self._endpoint} went away: {reason(error)}") from error
            if not chunk:
                raise Unavailable(f"etcd: {self._endpoint} ended its answer")
            self._take(chunk)
        return self._lines.popleft()

    def close(self) -> None:
        # aiohttp does not wake who reads from a response that is closed.
        self._response.content.set_exception(aiohttp.ClientConnectionError("the connection is closed"))
        self._response.close()

    def _take(self, chunk: bytes) -> None:
        first, *more = chunk.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        for part in more:
            self._lines.append(b"".join(self._parts))
            self._parts, self._size = [part], len(part)
        if self._size > LARGEST:
            raise Unavailable(f"etcd: {self._endpoint} sent a line of more than {LARGEST} bytes")


def reason(error: BaseException) -> str:
    """In words, for messages."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    return str(error) or type(error).__name__


def _watch_peer(response: aiohttp.ClientResponse) -> None:
    """A peer that vanishes without a word (power, a cable) is noticed by the kernel after about 10 s."""
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 4), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
            found.setsockopt(socket.IPPROTO_TCP, option, value)
