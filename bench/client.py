"""The load: HTTP/1.1 with keep-alive over a unix socket, no more work per request than both engines need.

One class for one connection, one function for many connections at once. Both engines get byte for byte the same
requests. The process that runs this never enters an engine's namespaces: the socket file is enough.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable, Iterator

import msgspec

_CHUNK = 256 * 1024


class Reply(msgspec.Struct, frozen=True):
    """seconds: from the first byte sent to the last byte received. body: without transfer coding."""

    status: int
    body: bytes
    seconds: float = 0.0


class BadReply(Exception):
    """The engine closed the connection or sent something that is not HTTP."""


def request_bytes(method: str, target: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: bench\r\n"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    elif method == "POST":
        head += "Content-Length: 0\r\n"
    return head.encode() + b"\r\n" + body


def create_request(name: str) -> bytes:
    body = msgspec.json.encode({"Name": name, "CheckDuplicate": True, "Driver": "bridge"})
    return request_bytes("POST", "/networks/create", body)


def parse_reply(data: bytes | bytearray) -> Reply | None:
    """The reply that `data` holds, or None while it is incomplete. One reply at a time: nothing is pipelined."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    status = int(lines[0].split(" ", 2)[1])
    start = end + 4
    if status in (204, 304):
        return Reply(status, b"")
    if fields.get("transfer-encoding") == "chunked":
        return Reply(status, _dechunk(data, start)) if data.endswith(b"0\r\n\r\n") else None
    length = int(fields.get("content-length", "0"))
    return Reply(status, bytes(data[start : start + length])) if len(data) >= start + length else None


def _dechunk(data: bytes | bytearray, at: int) -> bytes:
    body = bytearray()
    while True:
        eol = data.find(b"\r\n", at)
        size = int(data[at:eol], 16)
        if size == 0:
            return bytes(body)
        body += data[eol + 2 : eol + 2 + size]
        at = eol + 2 + size + 2


class Client:
    """One kept connection. OSError if there is no socket yet; BadReply if the engine hangs up."""

    def __init__(self, path: str, timeout: float = 120.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def send(self, request: bytes) -> Reply:
        data = bytearray()
        started = time.perf_counter()
        self._socket.sendall(request)
        while True:
            part = self._socket.recv(_CHUNK)
            if not part:
                raise BadReply("connection closed before the reply was complete")
            data += part
            reply = parse_reply(data)
            if reply is not None:
                return Reply(reply.status, reply.body, time.perf_counter() - started)

    def expect(self, status: int, request: bytes) -> Reply:
        """`send`, and BadReply with the engine's words unless it answers `status`."""
        reply = self.send(request)
        if reply.status != status:
            raise BadReply(f"{reply.status} instead of {status}: {reply.body[:200].decode(errors='replace')}")
        return reply

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def send_all(path: str, requests: Iterable[bytes], clients: int, timeout: float = 120.0) -> list[Reply]:
    """Send `requests` over `clients` connections, each with one request under way at any time, from one thread."""
    waiting = iter(requests)
    replies: list[Reply] = []
    with selectors.DefaultSelector() as selector:
        busy = sum(_start(selector, path, waiting) for _ in range(clients))
        while busy:
            ready = selector.select(timeout)
            if not ready:
                raise BadReply(f"no reply from {path} for {timeout:.0f} s")
            for key, _ in ready:
                busy -= _advance(selector, key, waiting, replies)
    return replies


def _start(selector: selectors.BaseSelector, path: str, waiting: Iterator[bytes]) -> int:
    request = next(waiting, None)
    if request is None:
        return 0
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(request)
    selector.register(connection, selectors.EVENT_READ, bytearray())
    return 1


def _advance(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, waiting: Iterator[bytes], replies: list[Reply]
) -> int:
    """Read what came; answers 1 when this connection has nothing left to do."""
    connection, data = key.fileobj, key.data
    assert isinstance(connection, socket.socket)
    part = connection.recv(_CHUNK)
    if not part:
        raise BadReply("connection closed before the reply was complete")
    data += part
    reply = parse_reply(data)
    if reply is None:
        return 0
    replies.append(reply)
    data.clear()
    request = next(waiting, None)
    if request is not None:
        connection.sendall(request)
        return 0
    selector.unregister(connection)
    connection.close()
    return 1
