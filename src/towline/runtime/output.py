"""A detached command's output on disk: bounded, one entry a line, in the format of Kubernetes' container logs.

`2026-01-31T12:00:00.123456789Z stdout F text`: time (UTC), stream, F for a whole line or P for a part whose line goes
on in the stream's next entry. Bytes are kept as they are; only the newline ends an entry.
"""

from __future__ import annotations

import os
import time

LIMIT = 10 * 1024 * 1024
"""Bytes of one file. There are at most two: the current one and, with the suffix `.1`, the one before."""
PART = 16 * 1024
"""A line longer than this is kept in parts, as in Docker."""
OLDER = ".1"


class LogFile:
    """Appends, and rotates before a write would pass the limit. A full disk loses output, and says so when it can
    write again; it never stops the command."""

    __slots__ = ("_fd", "_limit", "_lost", "_path", "_size")

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._lost = 0
        self._open()

    def write(self, data: bytes) -> None:
        """Whole entries."""
        try:
            if self._size and self._size + len(data) > self._limit:
                self._rotate()
            if self._lost:
                self._append(entry(b"stderr", b"towline: %d bytes of log lost (disk full?)" % self._lost))
                self._lost = 0
            self._append(data)
        except OSError:
            self._lost += len(data)

    def close(self) -> None:
        os.close(self._fd)

    def _append(self, data: bytes) -> None:
        """All or nothing, so that a line is never cut: what a full disk took of it is taken back."""
        written = os.write(self._fd, data)
        if written < len(data):
            os.ftruncate(self._fd, self._size)
            raise OSError("short write")
        self._size += written

    def _rotate(self) -> None:
        """If it fails half way, the open file is still the old one, and the next write tries again."""
        if os.access(self._path, os.F_OK):  # else renamed before, and no new one could be made
            os.rename(self._path, self._path + OLDER)
        old = self._fd
        self._open()
        os.close(old)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size


class Stream:
    """Cuts one stream's bytes into entries."""

    __slots__ = ("_log", "_name", "_rest")

    def __init__(self, name: bytes, log: LogFile) -> None:
        self._name = name
        self._log = log
        self._rest = b""

    def feed(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        entries = [part for line in lines for part in self._parts(line)]
        while len(self._rest) >= PART:
            entries.append(entry(self._name, self._rest[:PART], whole=False))
            self._rest = self._rest[PART:]
        if entries:
            self._log.write(b"".join(entries))

    def end(self) -> None:
        """The command has closed the stream; a last line without newline is an entry too."""
        if self._rest:
            self._log.write(entry(self._name, self._rest))
        self._rest = b""

    def _parts(self, line: bytes) -> list[bytes]:
        parts = []
        while len(line) > PART:
            parts.append(entry(self._name, line[:PART], whole=False))
            line = line[PART:]
        return [*parts, entry(self._name, line)]


def entry(stream: bytes, text: bytes, *, whole: bool = True) -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
    return b"%s.%09dZ %s %s %s\n" % (moment, nanoseconds, stream, b"F" if whole else b"P", text)
