"""Deferred unlinking. Deleting a bridge holds the kernel's RTNL for about 16 ms and takes twice that; so a removed
network's link is set down at once (its routes and rules are gone with the answer) and unlinked here a little later,
several at a time, when the writer is quiet or the oldest has waited long enough. A crash in between loses nothing: the
link carries our mark, the store does not know it, and the next start sweeps it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from towline.kernel.contract import Links
from towline.model.errors import KernelError, Unavailable

log = logging.getLogger(__name__)

GROUP = 8  # links deleted at once: bounds how long a create can wait behind the RTNL (about 18 ms each)
QUIET = 0.02  # seconds without a write before unlinking starts
PATIENCE = 1.0  # seconds that a link waits at most for a quiet writer; then it goes in a small group
HURRIED_GROUP = 2
FIRST_RETRY, LAST_RETRY = 0.1, 30.0  # seconds until a link that the kernel kept is tried again; each pause is doubled
LONGEST_WAIT = 60.0  # seconds that `gone` waits
CROWD = 256  # links waiting, from which on unlinking does not wait for a quiet writer


class Reaper:
    """`retire`, `reclaim` and `waiting` may be called from any thread, the coroutines from the event loop.

    links: its own, because it works beside the writer thread. quiet: seconds since the writer last worked.
    """

    def __init__(self, links: Links, *, quiet: Callable[[], float]) -> None:
        self._links = links
        self._quiet = quiet
        self._changed = threading.Condition()
        self._pending: dict[str, float] = {}
        self._working: set[str] = set()
        self._refused: dict[str, float] = {}
        self._urgent = False
        self._closed = False
        self._wake = asyncio.Event()
        self._reaped = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "reaper")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="reaper")

    def retire(self, names: Iterable[str]) -> None:
        now = time.monotonic()
        with self._changed:
            for name in names:
                self._pending.setdefault(name, now)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def reclaim(self, name: str) -> None:
        """If this link was retired, make sure that it is unlinked now, so that its name can be used."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._working)
            if self._pending.pop(name, None) is None and name not in self._refused:
                return
        self._remove([name])

    def waiting(self) -> frozenset[str]:
        """Links on their way out; one that the kernel refused to delete is not among them until it is tried again."""
        with self._changed:
            return frozenset(self._pending) | self._working

    async def gone(self, names: Iterable[str]) -> None:
        """Wait until the kernel has unlinked these; Unavailable if it goes on refusing."""
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await self._gone(set(names))
        except TimeoutError:
            raise Unavailable(
                "removed, but the kernel has not unlinked it yet: see the daemon's log; it is tried again"
            ) from None

    async def _gone(self, wanted: set[str]) -> None:
        while wanted & (self.waiting() | self._refused.keys()):
            self._urgent = True
            self._wake.set()
            await self._reaped.wait()

    async def close(self, *, budget: float) -> None:
        """Unlink what waits, for at most `budget` seconds; the next start sweeps the rest."""
        self._closed = self._urgent = True
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=budget)
            if not done:
                self._task.cancel()
        self._thread.shutdown(wait=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self._closed and not self.waiting()):
            if not self.waiting():
                self._urgent = False
                self._wake.clear()
                await self._wake.wait()
                continue
            group = self._take(await self._settle())
            try:
                await loop.run_in_executor(self._thread, self._remove, group)
            except Exception:
                log.exception(
                    "links not deleted; the next comparison will find them", extra={"fields": {"links": group}}
                )

    async def _settle(self) -> int:
        """Return when the writer has been quiet for a moment, or patience ends: how many links may go at once."""
        while not self._urgent:
            with self._changed:
                waiting, oldest = len(self._pending), min(self._pending.values(), default=0.0)
            if (quiet := self._quiet()) >= QUIET:
                break
            if waiting >= CROWD or time.monotonic() - oldest > PATIENCE:
                return HURRIED_GROUP
            await self._pause(QUIET - quiet)
        return GROUP

    async def _pause(self, seconds: float) -> None:
        """Ended early by `gone` and `close`."""
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _take(self, most: int) -> list[str]:
        with self._changed:
            group = list(self._pending)[:most]
            for name in group:
                del self._pending[name]
            self._working.update(group)
            return group

    def _remove(self, names: Sequence[str]) -> None:
        errors = dict(zip(names, self._try_remove(names), strict=True))
        pauses: dict[str, float] = {}
        with self._changed:
            self._working.difference_update(names)
            for name, error in errors.items():
                pause = self._refused.pop(name, 0.0)
                if error is not None:
                    self._refused[name] = pauses[name] = min(2 * pause or FIRST_RETRY, LAST_RETRY)
            self._changed.notify_all()
        for name, pause in pauses.items():
            self._postpone(name, errors[name], pause)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell)

    def _try_remove(self, names: Sequence[str]) -> list[KernelError | None]:
        try:
            return self._links.remove(names)
        except KernelError as error:
            return [error for _ in names]

    def _tell(self) -> None:
        """Wake all who wait for links to be gone, and let them look."""
        self._reaped.set()
        self._reaped = asyncio.Event()

    def _postpone(self, name: str, error: KernelError | None, pause: float) -> None:
        log.error(
            "link not deleted; it will be tried again",
            extra={"fields": {"link": name, "error": str(error), "seconds": pause}},
        )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, pause, self._retry, name)

    def _retry(self, name: str) -> None:
        if name in self._refused:
            self.retire([name])
