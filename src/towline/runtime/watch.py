"""One running sandbox, as the event loop sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from signal import SIGKILL, SIGTERM

from towline.model.sandbox import Process
from towline.runtime.lookup import Exit, Life, send


class Watch:
    """process: as the store remembers it. Made in the event loop; costs one descriptor until the end, or `close`."""

    def __init__(self, process: Process, life: Life, ending: Callable[[], Exit]) -> None:
        self.process = process
        self._pidfd = life.pidfd
        self._command = life.command
        self._ending = ending
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(life.pidfd, self._gone)

    async def ended(self) -> Exit:
        """Any number of tasks may wait; one that is cancelled does not disturb the others."""
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> bool:
        """Send to the command; False if it has ended."""
        return send(self._command, number)

    async def stop(self, patience: float | None = 10.0, number: int = SIGTERM) -> Exit:
        """Ask the command to end; after `patience` seconds (None: for ever) SIGKILL. The shim kills what is left."""
        self.signal(number)
        try:
            return await asyncio.wait_for(self.ended(), patience)
        except TimeoutError:
            self.signal(SIGKILL)
            return await self.ended()

    @property
    def exit(self) -> asyncio.Future[Exit]:
        """Done at the end. Look only: who cancels it cancels it for all."""
        return self._exit

    @property
    def running(self) -> bool:
        return not self._exit.done()

    def close(self) -> None:
        """Look away; the process goes on. Who still waits is cancelled."""
        if not self._exit.done():
            self._release()
            self._exit.cancel()

    def _gone(self) -> None:
        self._release()
        if not self._exit.done():
            self._exit.set_result(self._ending())

    def _release(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)


async def readable(fd: int) -> None:
    """Wait until the descriptor has something to read, or its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
