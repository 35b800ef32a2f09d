"""What etcd says: kept in a file of bounded size, and in words why it ended."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque

import msgspec

LARGEST = 1 << 20  # bytes of the file, before it becomes <file>.1
_LINES, _LINE = 200, 4096


class MemberLog:
    """Reads etcd's standard error until its end. A full disk loses lines of the file, never of `said`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.said: deque[str] = deque(maxlen=_LINES)

    async def follow(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(65536):
            self._write(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            self._say(lines)
            rest = rest[-_LINE:]
        self._say([rest])

    def _say(self, lines: list[bytes]) -> None:
        self.said.extend(each[:_LINE].decode(errors="replace") for each in lines if each)

    def _write(self, chunk: bytes) -> None:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, chunk)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
            if size > LARGEST:
                os.replace(self._path, f"{self._path}.1")
        except OSError:
            pass  # the disk is full, or worse: etcd's own end will tell


class _Line(msgspec.Struct, frozen=True):
    level: str = ""
    msg: str = ""
    error: str = ""


_REMOVED = "removed from the cluster"
_REASONS = (
    (r"no space left on device", "no space left on the disk of {data}: it goes on when there is room"),
    (r"listen tcp (\S+): bind: address already in use", "port taken: {0} is in use by another process"),
    (r"listen tcp (\S+): bind: cannot assign requested address", "{0} is not an address of this host"),
    (r"server error.*permanently removed", "this member was " + _REMOVED),
    (r"read-only file system", "the disk of {data} is read-only"),
    (r"input/output error", "the disk of {data} gives input/output errors"),
    (r"permission denied", "no permission for what is under {data}"),
    (r"(?:crc mismatch|walpb: crc|snap: .*corrupt|file .*is damaged|invalid database|checksum error)",
     "its data under {data} is damaged: remove this member from the cluster, and join again"),
    (r"cluster ID mismatch|(?:couldn't find local name)|member count is unequal|unmatched member",
     "the cluster's members are not those that it was told of: join again"),
    (r"cannot fetch cluster info from peer urls", "no member of the cluster answers"),
    (r"has already been bootstrapped", "the cluster has seen this member's earlier data: remove it, and join again"),
    (r"open (\S+\.(?:pem|crt|key)): no such file", "its certificate file {0} is not there"),
)  # fmt: skip
_PATTERNS = [(re.compile(pattern), words) for pattern, words in _REASONS]


def removed(reason: str) -> bool:
    """Nothing helps but to join again."""
    return _REMOVED in reason


def why_it_ended(said: list[str], code: int, data: str) -> str:
    """In words, with the remedy where there is one. said: its last lines. code: negative, of a signal."""
    for line in reversed(said):
        for pattern, words in _PATTERNS:
            if found := pattern.search(line):
                return words.format(*found.groups(), data=data)
    if code < 0:
        return f"it was ended by signal {-code}"
    return _last_words(said) or f"it ended with status {code}"


def _last_words(said: list[str]) -> str:
    for line in reversed(said):
        if not line.startswith("{"):
            if line.startswith(("panic:", "cannot run")):
                return line
            continue
        try:
            decoded = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError:
            continue
        if decoded.level in ("fatal", "panic", "error"):
            return f"{decoded.msg}: {decoded.error}" if decoded.error else decoded.msg
    return ""
