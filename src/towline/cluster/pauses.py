"""Pauses between attempts."""

from __future__ import annotations

import asyncio

_SHORTEST, _LONGEST = 0.05, 2.0


class Pauses:
    """Growing pauses between attempts, seconds: twice the last one each time, up to two."""

    def __init__(self) -> None:
        self._next = _SHORTEST

    def reset(self) -> None:
        self._next = _SHORTEST

    async def wait(self) -> None:
        pause, self._next = self._next, min(self._next * 2, _LONGEST)
        await asyncio.sleep(pause)
