"""Answers of upstream servers, kept as long as their TTLs say. Bounded in entries and bytes; the least used go first.

The clock is the caller's: `now` is seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from towline.dns.message import Reply

_OVERHEAD = 400
"""Bytes that an entry takes beside its message, about."""


class _Entry(NamedTuple):
    reply: Reply
    stored: float
    expires: float


class Cache:
    def __init__(self, entries: int = 10_000, size: int = 8 << 20) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._limit = entries
        self._room = size

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> tuple[Reply, int] | None:
        """The answer and its age in whole seconds."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if now >= entry.expires:
            self._room += _size(entry.reply)
            return None
        self._entries[key] = entry
        return entry.reply, int(now - entry.stored)

    def put(self, key: Hashable, reply: Reply, now: float) -> None:
        """Nothing happens if it may not be kept."""
        if reply.keep <= 0:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            self._room += _size(old.reply)
        self._entries[key] = _Entry(reply, now, now + reply.keep)
        self._room -= _size(reply)
        while self._room < 0 or len(self._entries) > self._limit:
            oldest = next(iter(self._entries))
            self._room += _size(self._entries.pop(oldest).reply)


def _size(reply: Reply) -> int:
    return len(reply.data) + _OVERHEAD
