"""All simulated nodes, over their processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from scale.processes import Process
from scale.wire import Change, Figures, Fill, Holding, Published, Restarted, Seed, Share, Some, Start, Tracks

T = TypeVar("T")
S = TypeVar("S", Seed, Share)


class Track(NamedTuple):
    """One endpoint's way. Monotonic seconds; last: when the last of `rows` nodes had its row."""

    asked: float
    answered: float
    rows: int
    last: float


class Crowd:
    """Node `at` lives in process `at` modulo their number."""

    def __init__(self, processes: int) -> None:
        self._processes = [Process() for _ in range(processes)]
        self.ids: dict[int, str] = {}

    async def start(self) -> None:
        for process in self._processes:
            await process.start()

    async def close(self) -> None:
        for process in self._processes:
            await process.close()

    async def join(self, manager: str, seeds: Sequence[Seed], seconds: float, at_once: int) -> bool:
        self.ids = {seed.at: seed.record.id for seed in seeds}
        each = max(1, at_once // len(self._processes))
        return all(
            await asyncio.gather(
                *(
                    process.ask("start", Start(manager, tuple(self._of(number, seeds)), seconds, each), bool)
                    for number, process in enumerate(self._processes)
                )
            )
        )

    async def fill(self, shares: Sequence[Share], at_once: int) -> None:
        each = max(1, at_once // len(self._processes))
        await asyncio.gather(
            *(
                process.ask("fill", Fill(tuple(self._of(number, shares)), each), object)
                for number, process in enumerate(self._processes)
            )
        )

    async def settle(self) -> None:
        await self._all("settle", Some(), object)

    async def change(self, change: Change) -> None:
        await self._process(change.at).ask("change", change, object)

    async def churn(self, change: Change) -> None:
        await self._process(change.at).ask("churn", change, object)

    async def restart(self, at: int, seconds: float) -> Restarted:
        return await self._process(at).ask("restart", Some((at,), seconds), Restarted)

    async def cut(self, nodes: Iterable[int]) -> None:
        await self._each("cut", nodes)

    async def mend(self, nodes: Iterable[int]) -> None:
        await self._each("mend", nodes)

    async def holding(self, *, whole: bool = False) -> list[Holding]:
        found = await self._all("whole" if whole else "holding", Some(), list[Holding])
        return [one for part in found for one in part]

    async def figures(self) -> list[Figures]:
        return await self._all("figures", Some(), Figures)

    async def track(self) -> None:
        await self._all("track", Some(), object)

    async def tracks(self) -> dict[str, Track]:
        """By MAC, of endpoints that have been published."""
        parts = await self._all("tracks", Some(), Tracks)
        published: dict[str, Published] = {}
        for part in parts:
            published.update(part.published)
        found = {}
        for mac, said in published.items():
            seen = [part.rows[mac] for part in parts if mac in part.rows]
            rows, last = sum(count for count, _ in seen), max((at for _, at in seen), default=0.0)
            found[mac] = Track(said.asked, said.answered, rows, last)
        return found

    async def forget(self) -> None:
        await self._all("forget", Some(), object)

    async def until(self, wrong: Callable[[], Awaitable[str]], seconds: float, pause: float) -> str:
        """ "" as soon as nothing is wrong, else what still is after that time."""
        end = time.monotonic() + seconds
        while (found := await wrong()) and time.monotonic() < end:
            await asyncio.sleep(pause)
        return found

    async def _all(self, verb: str, body: Some, kind: type[T]) -> list[T]:
        return list(await asyncio.gather(*(process.ask(verb, body, kind) for process in self._processes)))

    async def _each(self, verb: str, nodes: Iterable[int]) -> None:
        """Asks each process of its own nodes among these."""
        count = len(self._processes)
        parts: list[list[int]] = [[] for _ in range(count)]
        for at in nodes:
            parts[at % count].append(at)
        asks = (p.ask(verb, Some(tuple(part)), object) for p, part in zip(self._processes, parts, strict=True))
        await asyncio.gather(*asks)

    def _process(self, at: int) -> Process:
        return self._processes[at % len(self._processes)]

    def _of(self, number: int, all_of_them: Sequence[S]) -> list[S]:
        return [one for one in all_of_them if one.at % len(self._processes) == number]
