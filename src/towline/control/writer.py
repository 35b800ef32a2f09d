"""One writer plans; requests that wait together are applied together (group commit).

Planning happens on the event loop, between two batches, so it sees exactly what is committed; applying happens in one
worker thread, so that neither the disk nor the kernel ever holds up reads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from towline.control.apply import Applier
from towline.control.draft import Draft
from towline.control.work import Work
from towline.model.errors import Unavailable
from towline.model.info import Counters
from towline.model.view import View

log = logging.getLogger(__name__)

T = TypeVar("T")
Plan = Callable[[View], Work]
BATCH = 64


def end_process(error: BaseException) -> None:
    """A process that cannot write ends at once; the next start carries on with what was committed."""
    log.critical("the writer has died, ending the process", exc_info=error)
    os._exit(1)


class Writer:
    """Use from the event loop. died: called if the writer ends by an error of its own. thread: of one worker, its own
    by default; closed with it."""

    def __init__(
        self,
        view: View,
        applier: Applier,
        counters: Counters,
        *,
        died: Callable[[BaseException], None] = end_process,
        thread: Executor | None = None,
    ) -> None:
        self._view = view
        self._applier = applier
        self._counters = counters
        self._died = died
        self._thread = thread or ThreadPoolExecutor(1, "writer")
        self._queue: deque[tuple[Plan, asyncio.Future[None]]] = deque()
        self._errands: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._busy = False
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="writer")
        self._task.add_done_callback(self._check_end)

    def _check_end(self, task: asyncio.Task[None]) -> None:
        """Without a writer nothing would be answered any more, but all would look alive."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._died(error)

    def quiet_for(self) -> float:
        """Seconds since a request was last accepted or answered; 0 while one waits or is worked on."""
        return 0.0 if self._busy or self._queue else time.monotonic() - self._last

    async def submit(self, plan: Plan) -> None:
        """Plan, commit and apply; raises what either of them raised. Goes on if the caller is cancelled."""
        future: asyncio.Future[None] = self._promise()
        self._queue.append((plan, future))
        await asyncio.shield(future)

    async def exclusive(self, errand: Callable[[], T]) -> T:
        """Run `errand` in the writer thread, with no batch in flight."""
        future: asyncio.Future[T] = self._promise()
        self._errands.append(partial(self._carry_out, errand, future))
        return await asyncio.shield(future)

    def _promise(self) -> asyncio.Future[T]:
        if self._closed:
            raise Unavailable("the daemon is shutting down; try again when it is back")
        self._wake.set()
        return asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Finish what was accepted, then stop."""
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue and not self._errands:
                if self._closed:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            while self._errands:
                await self._errands.popleft()()
            if batch := self._plan_batch():
                await self._apply_batch(loop, batch)
                self._busy, self._last = False, time.monotonic()

    async def _carry_out(self, errand: Callable[[], T], future: asyncio.Future[T]) -> None:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, errand)
        except Exception as error:  # whatever it is belongs to the one who asked
            _fail(future, error)
        else:
            _succeed(future, result)

    def _plan_batch(self) -> list[tuple[Work, asyncio.Future[None]]]:
        draft = Draft(self._view)
        batch: list[tuple[Work, asyncio.Future[None]]] = []
        while self._queue and len(batch) < BATCH:
            plan, future = self._queue.popleft()
            try:
                work = plan(draft)
            except Exception as error:  # a bug in one plan must not end the writer
                self._counters.failed += 1
                _fail(future, error)
                continue
            draft.stage(work.changes)
            batch.append((work, future))
        return batch

    async def _apply_batch(
        self, loop: asyncio.AbstractEventLoop, batch: list[tuple[Work, asyncio.Future[None]]]
    ) -> None:
        works = [work for work, _ in batch]
        self._counters.batches += 1
        self._busy = True
        outcomes = await loop.run_in_executor(self._thread, self._applier.apply, works)
        for (work, future), outcome in zip(batch, outcomes, strict=True):
            error = outcome or self._conclude(work.release) or self._conclude(work.settle)
            if outcome is not None:
                self._counters.failed += 1
                self._conclude(work.abandon)
            if error is None:
                _succeed(future, None)
            else:
                _fail(future, error)

    def _conclude(self, step: Callable[[], None]) -> Exception | None:
        """Whatever goes wrong here concerns one work only: the writer goes on."""
        try:
            step()
        except Exception as error:
            log.exception("the end of a change went wrong")
            return error
        return None


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: a caller that went away is no reason for a warning


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
