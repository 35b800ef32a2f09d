"""Answers that one sandbox was given lately: the same question again costs a lookup instead of a parse and a reply."""

from __future__ import annotations

import random

_MOST = 512
_LONGEST = 512
"""Bytes of a query. With `_MOST` of them a sandbox that asks on purpose for ever new spellings holds half a MiB."""


class Memo:
    """Keeps answers that can only be the same next time: made of our own records, and of one order of them.

    The key is all of the query but its id, so that flags, spelling and EDNS are as they were.
    """

    __slots__ = ("_generation", "_known", "_mixed")

    def __init__(self) -> None:
        self._generation = -1
        self._known: dict[bytes, bytes] = {}
        self._mixed = False

    def at(self, generation: int) -> dict[bytes, bytes]:
        """What is known: query without id -> answer without id. Nothing of another generation of names."""
        if generation != self._generation:
            self._generation = generation
            self._known.clear()
        return self._known

    def shuffle(self, records: list[bytes]) -> None:
        """In place; the answer that is made of them is not kept."""
        self._mixed = True
        random.shuffle(records)

    def note(self, query: bytes, said: bytes) -> None:
        """The answer that was just made, of records that went through `shuffle` if they are several."""
        mixed, self._mixed = self._mixed, False
        if mixed or len(query) > _LONGEST:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[query[2:]] = said[2:]
