"""One question to one upstream server, over UDP or TCP, in at most four seconds.

Each exchange has a socket of its own, connected, with a random port (the kernel's choice) and a random id: an answer
must come from the server's address and port, to ours, with our id and our question.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.dns import wire
from towline.dns.message import Reply, is_failure, parse_reply
from towline.dns.server_sockets import Target
from towline.dns.wire import Query
from towline.model.errors import TowlineError

TIMEOUT = 4.0
"""Seconds for one exchange, as Docker's."""
_READS = 16

Opener = Callable[[socket.SocketKind], Awaitable[Target]]


class _Question:
    """A client's query as it is sent on: same bytes, another id."""

    def __init__(self, query: Query, data: bytes) -> None:
        self.query = query
        self.ident = secrets.randbits(16)
        self.wire = self.ident.to_bytes(2, "big") + data[2 : query.size]
        self.question = data[12 : query.end]

    def judge(self, data: bytes) -> Reply | bool:
        """The reply; True: the server failed; False: this is no answer to us."""
        reply = parse_reply(data, self.query, self.question, self.ident)
        return reply if reply is not None else is_failure(data, self.ident)


async def ask_udp(opener: Opener, query: Query, data: bytes) -> Reply | None:
    """None if the server does not answer, cannot be reached, or says nothing that could be an answer."""
    question = _Question(query, data)
    try:
        target = await opener(socket.SOCK_DGRAM)
    except (OSError, TowlineError):
        return None
    with target.socket as sock:
        try:
            sock.connect(target.address)
            sock.send(question.wire)
        except OSError:
            return None
        return await _first_answer(sock, question)


async def _first_answer(sock: socket.socket, question: _Question) -> Reply | None:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Reply | None] = loop.create_future()

    def readable() -> None:
        for _ in range(_READS):
            try:
                verdict = question.judge(sock.recv(wire.MAX_MESSAGE))
            except BlockingIOError:
                return
            except OSError:
                verdict = True
            if verdict is not False:
                settle(None if verdict is True else verdict)
                return

    def settle(reply: Reply | None) -> None:
        if not answered.done():
            answered.set_result(reply)

    loop.add_reader(sock, readable)
    timer = loop.call_later(TIMEOUT, settle, None)
    try:
        return await answered
    finally:
        timer.cancel()
        loop.remove_reader(sock)


async def ask_tcp(opener: Opener, query: Query, data: bytes) -> Reply | None:
    """As `ask_udp`."""
    question = _Question(query, data)
    try:
        async with asyncio.timeout(TIMEOUT):
            target = await opener(socket.SOCK_STREAM)
            with target.socket as sock:
                verdict = question.judge(await _stream(sock, target.address, question.wire))
    except (OSError, TowlineError, TimeoutError):
        return None
    return None if isinstance(verdict, bool) else verdict


async def _stream(sock: socket.socket, address: tuple[str | int, ...], message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await _connect(sock, address)
    await loop.sock_sendall(sock, len(message).to_bytes(2, "big") + message)
    length = int.from_bytes(await _exactly(sock, 2), "big")
    return await _exactly(sock, length)


async def _connect(sock: socket.socket, address: tuple[str | int, ...]) -> None:
    """`loop.sock_connect` would resolve the address again; uvloop loses its scope."""
    with suppress(BlockingIOError):
        sock.connect(address)
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _settle, writable)
    try:
        await writable
    finally:
        loop.remove_writer(sock)
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _exactly(sock: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while length:
        part = await loop.sock_recv(sock, length)
        if not part:
            raise ConnectionResetError("the server closed the connection in the middle of an answer")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
