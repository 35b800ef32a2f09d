"""A client that sends raw bytes, shuts down its sending side, and reads what comes until the server closes."""

from __future__ import annotations

import re
import socket as sockets

PATIENCE = 10.0


class Said:
    """text: all that the server sent."""

    def __init__(self, data: bytes) -> None:
        self.text = data.decode()

    @property
    def statuses(self) -> list[int]:
        return [int(code) for code in re.findall(r"HTTP/1\.[01] (\d{3}) ", self.text)]


def request(method: str, path: str, body: bytes | None = None, *, length: int | None = None) -> bytes:
    """An HTTP/1.1 request; `length` is what Content-Length says, if not the truth."""
    head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


def say(socket: str, *parts: bytes) -> Said:
    """Each part is sent by itself. TimeoutError if the server keeps the connection open."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(socket)
        for part in parts:
            client.sendall(part)
        client.shutdown(sockets.SHUT_WR)
        received = bytearray()
        while data := client.recv(65536):
            received += data
    return Said(bytes(received))
