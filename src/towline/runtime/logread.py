"""Reading a sandbox's log: all of it, its last lines, what comes. `output` writes it and describes the format."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any, BinaryIO

import msgspec

from towline.runtime.inotify import watch_directory
from towline.runtime.output import OLDER, PART
from towline.runtime.watch import readable

_CHUNK = 65536
_LONGEST = PART + 256  # bytes of an entry


class Entry(msgspec.Struct, frozen=True):
    """time: RFC 3339, UTC, nanoseconds, "Z": compares as text. stream: "stdout" or "stderr". text: with its newline, or
    without it if the line goes on in the stream's next entry."""

    time: str
    stream: str
    text: bytes


def read_log(path: str, *, tail: int | None = None, since: str = "") -> Iterator[Entry]:
    """What the log holds now, oldest first; nothing if there is none. tail: only so many entries, the newest. since:
    a time as in Entry; only that and later. A line that is no entry is left out. OSError if it cannot be read."""
    with _Snapshot(path) as snapshot:
        for line in snapshot.history(tail):
            entry = parse_entry(line)
            if entry is not None and entry.time >= since:
                yield entry


async def follow_log(
    path: str, ended: asyncio.Future[Any], *, tail: int | None = None, since: str = ""
) -> AsyncIterator[Entry]:
    """As `read_log`, and then what is written until `ended` is done and everything is read. The directory must exist.
    A reader slower than a whole file's worth of output misses some."""
    changes = watch_directory(os.path.dirname(path))
    try:
        with _Snapshot(path) as snapshot:
            for line in snapshot.history(tail):
                entry = parse_entry(line)
                if entry is not None and entry.time >= since:
                    yield entry
            last = False
            while not last:
                last = ended.done()
                for entry in filter(None, map(parse_entry, snapshot.news())):
                    yield entry
                if not last:
                    await _either(changes, ended)
    finally:
        os.close(changes)


def parse_entry(line: bytes) -> Entry | None:
    """One line without its newline; None if it is no entry."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    end = b"\n" if parts[2] == b"F" else b""
    return Entry(parts[0].decode("ascii", "replace"), parts[1].decode("ascii", "replace"), parts[3] + end)


class _Snapshot:
    """The log's files as they are at one moment, and what is appended later, over rotations: the file that is open is
    read to its end before the next."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest = b""
        self._file = _open(path)
        self._end = 0 if self._file is None else _last_newline(self._file)
        older = _open(path + OLDER)
        if older is not None and self._file is not None and _inode(older) == _inode(self._file):
            older.close()  # rotated between the two opens
            older = None
        self._older = older

    def __enter__(self) -> _Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as files:
            for file in (self._file, self._older):
                if file is not None:
                    files.callback(file.close)

    def history(self, tail: int | None) -> Iterator[bytes]:
        """Lines that were there at the moment."""
        files = [(file, end) for file, end in self._ends() if end]
        if tail is None:
            for file, end in files:
                yield from _forwards(file, end)
        else:
            yield from _last_lines(files, tail)

    def news(self) -> Iterator[bytes]:
        """Whole lines since the moment, or since the last call."""
        more = True
        while more:
            renamed = self._renamed()
            if self._file is not None:
                self._file.seek(self._end)
                data = self._file.read()
                self._end += len(data)
                *whole, self._rest = (self._rest + data).split(b"\n")
                yield from whole
            more = renamed and self._next()

    def _ends(self) -> Iterator[tuple[BinaryIO, int]]:
        if self._older is not None:
            yield self._older, _last_newline(self._older)
        if self._file is not None:
            yield self._file, self._end

    def _renamed(self) -> bool:
        """Asked before the file is read: what it gets after that, it gets from before the rotation."""
        if self._file is None:
            return True
        try:
            return os.stat(self._path).st_ino != _inode(self._file)
        except FileNotFoundError:
            return True

    def _next(self) -> bool:
        """Go on with the file that has the name now; False if there is none yet."""
        following = _open(self._path)
        if following is None:
            return False
        if self._file is not None:
            self._file.close()
        self._file = following
        self._end = 0
        return True


async def _either(changes: int, ended: asyncio.Future[Any]) -> None:
    """Wait for a change in the directory, or the end."""
    waiting = asyncio.ensure_future(readable(changes))
    try:
        await asyncio.wait((waiting, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.wait((waiting,))
    with suppress(BlockingIOError):
        os.read(changes, _CHUNK)


def _last_lines(files: list[tuple[BinaryIO, int]], count: int) -> deque[bytes]:
    """Read backwards, so that a short tail of a long log costs little."""
    found: deque[bytes] = deque()
    for file, end in reversed(files):
        for line in _backwards(file, end):
            if len(found) >= count:
                return found
            found.appendleft(line)
    return found


def _forwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    file.seek(0)
    read = 0
    while read < end and (line := file.readline()):
        read += len(line)
        yield line.removesuffix(b"\n")


def _backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Lines from the last to the first; `end` is after a newline."""
    rest = b""
    position = end - 1
    while position > 0:
        size = min(_CHUNK, position)
        position -= size
        file.seek(position)
        rest, *whole = (file.read(size) + rest).split(b"\n")
        yield from reversed(whole)
    yield rest


def _last_newline(file: BinaryIO) -> int:
    """The offset after the last whole line: a line may be half written at this moment."""
    size = os.fstat(file.fileno()).st_size
    start = max(0, size - _LONGEST)
    file.seek(start)
    return start + file.read(size - start).rfind(b"\n") + 1


def _open(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
