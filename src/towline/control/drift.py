"""Drift: the kernel changed behind our back. Notifications wait for a moment, because most are of our own work, which
is done by then. What they touch is compared and repaired; when some were lost (ENOBUFS), everything is. Comparing the
rules takes the longer the more networks there are, so while it finds nothing it is done less often, but still twice a
second.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any

from towline.kernel.contract import Drift, Link, Monitor

log = logging.getLogger(__name__)

GATHER = 0.02  # seconds from the first notification to reading it and comparing
FIRST_RETRY, LAST_RETRY = 0.1, 30.0  # seconds until a repair that failed is tried again; each pause is doubled
FIRST_CALM, LAST_CALM = 0.05, 0.5  # seconds from one comparison of the rules to the next, when it found nothing
Repair = Callable[["Touched"], Coroutine[Any, Any, "Outcome"]]


class Outcome(Enum):
    """EQUAL: there was no difference. FAILED: something is left to be repaired."""

    EQUAL = "equal"
    REPAIRED = "repaired"
    FAILED = "failed"


class Touched:
    """What notifications named since the last comparison. links: by name, as they are now without their addresses, or
    None where the kernel must be asked. rows: names of tunnels."""

    def __init__(self) -> None:
        self.links: dict[str, Link | None] = {}
        self.rows: set[str] = set()
        self.rules = False
        self.everything = False

    def add_link(self, name: str, link: Link | None) -> None:
        """A link that must be asked for stays so: what it lost before is not seen in it."""
        self.links[name] = link if self.links.get(name, link) is not None else None

    def __bool__(self) -> bool:
        return bool(self.links or self.rows) or self.rules or self.everything


class DriftWatch:
    """concerns: is this link one of ours? on_route: the host's routes or addresses changed. repair: if it failed,
    everything is compared again a little later."""

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
        self._overrun = False
        self._reading: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._calm = 0.0
        self._rules_due = 0.0
        self._rules_later: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Also starts anew: uvloop (libuv's uv__poll_io) stops watching a descriptor that had an error, and lost
        notifications are one."""
        loop = asyncio.get_running_loop()
        for fileno in self._monitor.filenos():
            loop.remove_reader(fileno)
            loop.add_reader(fileno, self._read_soon)

    async def close(self) -> None:
        self._closed = True
        for timer in (self._reading, self._again, self._rules_later):
            if timer is not None:
                timer.cancel()
        self._stop_reading()
        if self._task is not None:
            await asyncio.wait({self._task})
        self._monitor.close()

    def request(self) -> None:
        """Compare everything soon: somebody found a sign of drift."""
        self._touched.everything = True
        self._schedule(after=GATHER)

    def _stop_reading(self) -> None:
        loop = asyncio.get_running_loop()
        for fileno in self._monitor.filenos():
            loop.remove_reader(fileno)

    def _read_soon(self) -> None:
        if self._reading is None:
            self._stop_reading()
            self._reading = asyncio.get_running_loop().call_later(GATHER, self._read)

    def _read(self) -> None:
        """At once again where more waits than one read takes: after an overrun the kernel drops what comes, without
        another word, until all is read."""
        for drift in self._monitor.read():
            self._note(drift)
        loop = asyncio.get_running_loop()
        if self._waits():
            self._reading = loop.call_later(0, self._read)
        else:
            self._reading = None
            self._touched.everything |= self._overrun
            self._overrun = False
            self.start()
        if self._touched:
            self._schedule()

    def _waits(self) -> bool:
        poll = select.poll()
        for fileno in self._monitor.filenos():
            poll.register(fileno, select.POLLIN)
        return bool(poll.poll(0))

    def _note(self, drift: Drift) -> None:
        match drift.kind:
            case "overrun":
                log.warning("kernel notifications were lost; comparing everything")
                self._touched.everything = self._overrun = True
            case "rules":
                self._note_rules()
            case "links" if drift.name and self._concerns(drift.name):
                self._touched.add_link(drift.name, drift.link)
            case "rows" if self._concerns(drift.name):
                self._touched.rows.add(drift.name)
            case "routes":
                self._on_route()
            case _:
                pass

    def _note_rules(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._rules_due - loop.time()
        if wait <= 0:
            self._touched.rules = True
        elif self._rules_later is None:
            self._rules_later = loop.call_later(wait, self._compare_rules)

    def _compare_rules(self) -> None:
        self._rules_later = None
        self._touched.rules = True
        self._schedule()

    def _schedule(self, *, after: float = 0.0) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._settle(after), name="drift")

    async def _settle(self, after: float) -> None:
        try:
            await asyncio.sleep(after)
            while self._touched and not self._closed:
                touched, self._touched = self._touched, Touched()
                self._judge(await self._try_repair(touched), touched)
        finally:
            self._task = None

    async def _try_repair(self, touched: Touched) -> Outcome:
        """Whatever goes wrong, what was touched is not forgotten: everything is compared later."""
        try:
            return await self._repair(touched)
        except Exception:
            log.exception("a comparison went wrong")
            return Outcome.FAILED

    def _judge(self, outcome: Outcome, touched: Touched) -> None:
        """A failure is forgotten when a comparison of everything went well."""
        if outcome is Outcome.FAILED:
            if self._again is None:
                self._again = asyncio.get_running_loop().call_later(self._pause, self._try_again)
        elif touched.everything:
            self._pause = FIRST_RETRY
        if touched.rules:
            self._pace_rules(outcome)

    def _pace_rules(self, outcome: Outcome) -> None:
        now = asyncio.get_running_loop().time()
        if outcome is not Outcome.EQUAL or now > self._rules_due + LAST_CALM:
            self._calm = 0.0
        else:
            self._calm = min(max(2 * self._calm, FIRST_CALM), LAST_CALM)
        self._rules_due = now + self._calm

    def _try_again(self) -> None:
        self._again = None
        self._pause = min(2 * self._pause, LAST_RETRY)
        self.request()
