"""Drift: the kernel changed behind our back. Notifications are gathered for a moment, then what they touch is compared
and repaired; when notifications were lost (ENOBUFS), everything is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from towline.kernel.contract import Drift, Monitor

log = logging.getLogger(__name__)

GATHER = 0.02  # seconds from the first notification to the comparison
FIRST_RETRY, LAST_RETRY = 0.1, 30.0  # seconds until a repair that failed is tried again; each pause is doubled
Repair = Callable[["Touched"], Coroutine[Any, Any, bool]]


class Touched:
    """What notifications named since the last comparison."""

    def __init__(self) -> None:
        self.links: set[str] = set()
        self.rules = False
        self.everything = False

    def __bool__(self) -> bool:
        return bool(self.links) or self.rules or self.everything


class DriftWatch:
    """concerns: is this link one of ours? on_route: the host's routes or addresses changed. repair: False if something
    could not be repaired; then everything is compared again a little later."""

    def __init__(
        self,
        monitor: Monitor,
        *,
        concerns: Callable[[str], bool],
        on_route: Callable[[], None],
        repair: Repair,
    ) -> None:
        self._monitor = monitor
        self._concerns = concerns
        self._on_route = on_route
        self._repair = repair
        self._touched = Touched()
        self._task: asyncio.Task[None] | None = None
        self._pause = FIRST_RETRY
        self._again: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        for fileno in self._monitor.filenos():
            loop.add_reader(fileno, self._read)

    async def close(self) -> None:
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        for fileno in self._monitor.filenos():
            loop.remove_reader(fileno)
        if self._task is not None:
            await asyncio.wait({self._task})
        self._monitor.close()

    def request(self) -> None:
        """Compare everything soon: somebody found a sign of drift."""
        self._touched.everything = True
        self._schedule()

    def _read(self) -> None:
        for drift in self._monitor.read():
            self._note(drift)
        if self._touched:
            self._schedule()

    def _note(self, drift: Drift) -> None:
        match drift.kind:
            case "overrun":
                log.warning("kernel notifications were lost; comparing everything")
                self._touched.everything = True
            case "rules":
                self._touched.rules = True
            case "links" if drift.name and self._concerns(drift.name):
                self._touched.links.add(drift.name)
            case "routes":
                self._on_route()
            case _:
                pass

    def _schedule(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._settle(), name="drift")

    async def _settle(self) -> None:
        try:
            while self._touched and not self._closed:
                await asyncio.sleep(GATHER)
                touched, self._touched = self._touched, Touched()
                self._judge(await self._try_repair(touched), touched)
        finally:
            self._task = None

    async def _try_repair(self, touched: Touched) -> bool:
        """Whatever goes wrong, what was touched is not forgotten: everything is compared later."""
        try:
            return await self._repair(touched)
        except Exception:
            log.exception("a comparison went wrong")
            return False

    def _judge(self, repaired: bool, touched: Touched) -> None:
        """A failure is forgotten when a comparison of everything went well."""
        if not repaired:
            if self._again is None:
                self._again = asyncio.get_running_loop().call_later(self._pause, self._try_again)
        elif touched.everything:
            self._pause = FIRST_RETRY

    def _try_again(self) -> None:
        self._again = None
        self._pause = min(2 * self._pause, LAST_RETRY)
        self.request()
