"""A daemon made of canned bytes on a unix socket, and the command line run against it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from towline.cli.main import main


def answer(value: object, status: str = "200 OK") -> bytes:
    body = json.dumps(value).encode() + b"\n"
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*pieces: bytes) -> bytes:
    framed = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


class Request:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.line, *headers = head.decode().split("\r\n")
        self.headers = dict(line.lower().split(": ", 1) for line in headers)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeDaemon:
    """Answers the n-th connection with the n-th of `answers`, then closes it."""

    def __init__(self, path: Path, answers: Sequence[bytes]) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for reply in self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if raw := _read_request(connection):
                    self.requests.append(Request(raw))
                try:
                    connection.sendall(reply)
                except BrokenPipeError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return data
        data += piece
    length = Request(data).headers.get("content-length", "0")
    while len(data.partition(b"\r\n\r\n")[2]) < int(length):
        data += connection.recv(65536)
    return data


@contextmanager
def serving(path: Path, *answers: bytes) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(path, answers)
    try:
        yield daemon
    finally:
        daemon.close()


def run(daemon: FakeDaemon, *args: str) -> int:
    return main(["-H", f"unix://{daemon.path}", *args])
