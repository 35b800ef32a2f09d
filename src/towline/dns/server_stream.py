"""DNS over TCP inside a sandbox: frames with a two-byte length, one question after the other (RFC 7766).

Bounded: connections per sandbox, time for a frame, time for the client to take an answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

Handler = Callable[[bytes], Awaitable[bytes | None]]

_CONNECTIONS = 32
_FRAME_SECONDS = 10.0
_BUFFER = 16384


class StreamServer:
    """handler: the answer to one message; None ends the connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Takes the listening socket over."""
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=_BUFFER)

    async def close(self) -> None:
        """Connections end at once."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= _CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (message := await _frame(reader)) is not None:
                answer = await self._handler(message)
                if answer is None:
                    break
                async with asyncio.timeout(_FRAME_SECONDS):
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
            writer.close()
        except (OSError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """None at the end of the stream, also in the middle of a frame."""
    async with asyncio.timeout(_FRAME_SECONDS):
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            return await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
