"""Announcements of new addresses, repeated: a neighbour that misses the first keeps a stale entry for minutes.

Docker sends three, a second apart, and lets a network choose (advertise_addr_nmsgs 0 to 3, advertise_addr_ms 100 to
2000). The first goes out with the join itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from towline.control.writer import Writer
from towline.kernel.contract import Kernel
from towline.model.desired import Interface
from towline.model.errors import TowlineError
from towline.plan.sandbox import Transition

log = logging.getLogger(__name__)

REPEATS = 2
INTERVAL = 1.0  # seconds


class Announcer:
    def __init__(self, writer: Writer, kernel: Kernel, *, repeats: int = REPEATS, interval: float = INTERVAL) -> None:
        self._writer = writer
        self._kernel = kernel
        self._repeats = repeats
        self._interval = interval
        self._tasks: set[asyncio.Task[None]] = set()

    def repeat(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            if transition.joins:
                task = asyncio.get_running_loop().create_task(self._repeat(transition.netns, transition.joins))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _repeat(self, netns: str, interfaces: tuple[Interface, ...]) -> None:
        for _ in range(self._repeats):
            await asyncio.sleep(self._interval)
            try:
                await self._writer.exclusive(lambda: self._announce(netns, interfaces))
            except TowlineError:
                return  # the sandbox is gone, or has left: there is nothing to announce any more

    def _announce(self, netns: str, interfaces: tuple[Interface, ...]) -> None:
        for interface in interfaces:
            self._kernel.sandboxes.announce(netns, interface)

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
