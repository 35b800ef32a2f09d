"""HTTP/1.1 from the client's side, over anything with `sendall` and `recv`: one request a connection.

The daemon's answer is not trusted: every length is bounded, and what is malformed or cut ends in Unreachable.
"""

from __future__ import annotations

from towline import __version__
from towline.cli.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Channel(Protocol):
        """What is needed of a connected socket."""

        def sendall(self, data: bytes, /) -> object: ...
        def recv(self, size: int, /) -> bytes: ...
        def close(self) -> object: ...


MAX_LINE = 16 * 1024
MAX_HEADERS = 200
MAX_INTERIM = 8
MAX_BODY = 256 * 1024 * 1024
_BLOCK = 64 * 1024


def encode_request(method: str, target: str, host: str, body: bytes | None, kind: str = "application/json") -> bytes:
    """target: path and query, percent-encoded already. kind: media type of the body."""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: towline/{__version__}\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    elif method == "POST":
        head += "Content-Length: 0\r\n"
    return head.encode("ascii") + b"\r\n" + (body or b"")


class Reader:
    """Reads lines and counted bytes from a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = b""

    def some(self) -> bytes:
        """What has arrived, waiting for at least a byte; b"" at the end of the stream."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._channel.recv(_BLOCK)

    def line(self) -> bytes:
        """A line without its line end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise _malformed("a line is too long")
            self._fill()
        if end > MAX_LINE:
            raise _malformed("a line is too long")
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.removesuffix(b"\r")

    def counted(self, count: int) -> Iterator[bytes]:
        """Exactly `count` bytes, in the pieces they come in."""
        while count > 0:
            if not self._buffer:
                self._fill()
            piece, self._buffer = self._buffer[:count], self._buffer[count:]
            count -= len(piece)
            yield piece

    def _fill(self) -> None:
        data = self._channel.recv(_BLOCK)
        if not data:
            raise Unreachable("the daemon closed the connection in the middle of its answer")
        self._buffer += data


class Response:
    """Status and headers are read; the body is read as `pieces` are taken. Header names are in lower case."""

    def __init__(self, status: int, headers: dict[str, str], reader: Reader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    def pieces(self) -> Iterator[bytes]:
        """The body's bytes as they arrive, without chunk framing."""
        coding = self.headers.get("transfer-encoding", "").lower()
        if self.status in (204, 304):
            return iter(())
        if coding == "chunked":
            return _chunks(self._reader)
        if coding:
            raise _malformed(f"transfer encoding {coding!r} is not understood")
        if "content-length" in self.headers:
            return self._reader.counted(_length(self.headers["content-length"]))
        return iter(self._reader.some, b"")

    def lines(self) -> Iterator[bytes]:
        """The body's lines as they arrive, without their ends; for streams of JSON values."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > MAX_BODY:
                raise _malformed("a line is too long")
        if rest:
            yield rest

    def body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > MAX_BODY:
                raise _malformed(f"its body is longer than {MAX_BODY} bytes")
            parts.append(piece)
        return b"".join(parts)


def read_response(channel: Channel) -> Response:
    """Reads up to the end of the headers, passing over interim (1xx) answers."""
    reader = Reader(channel)
    for _ in range(MAX_INTERIM):
        status = _status(reader.line())
        headers = _headers(reader)
        if status >= 200:
            return Response(status, headers, reader)
    raise _malformed("too many interim answers")


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit() or rest[3:4] not in (b"", b" "):
        raise _malformed(f"it begins with {line[:60]!r}")
    return int(code)


def _headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = reader.line().decode("latin-1")
        if not line:
            return headers
        name, colon, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if not colon or not name or name != name.strip():
            raise _malformed(f"header line {line[:60]!r}")
        if name == "content-length" and headers.get(name, value) != value:
            raise _malformed("two content lengths")
        headers[name] = value
    raise _malformed("too many headers")


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _malformed(f"content length {text[:60]!r}")
    return int(text)


def _chunks(reader: Reader) -> Iterator[bytes]:
    while size := _chunk_size(reader.line()):
        yield from reader.counted(size)
        if reader.line():
            raise _malformed("a chunk does not end where it says")
    _headers(reader)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
        raise _malformed(f"chunk size {line[:60]!r}")
    return int(digits, 16)


def _malformed(why: str) -> Unreachable:
    return Unreachable(f"the daemon's answer is not HTTP as it should be: {why}")
