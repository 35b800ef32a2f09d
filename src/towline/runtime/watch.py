"""One running sandbox, as the event loop sees it."""

from __future__ import annotations

import asyncio
import os
from signal import SIGKILL, SIGTERM

from towline.model.sandbox import Process
from towline.runtime.lookup import Exit, exit_of, send


class Watch:
    """process: the command. Made in the event loop; costs one descriptor until the end, or `close`."""

    def __init__(self, process: Process, shim: int, directory: str) -> None:
        self.process = process
        self._shim = shim
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(shim, self._gone)

    async def ended(self) -> Exit:
        """Any number of tasks may wait; one that is cancelled does not disturb the others."""
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> bool:
        """Send to the command; False if it has ended."""
        return send(self.process, number)

    async def stop(self, patience: float | None = 10.0, number: int = SIGTERM) -> Exit:
        """Ask the command to end; after `patience` seconds (None: for ever) SIGKILL. The shim kills what is left."""
        self.signal(number)
        try:
            return await asyncio.wait_for(self.ended(), patience)
        except TimeoutError:
            self.signal(SIGKILL)
            return await self.ended()

    def close(self) -> None:
        """Look away; the process goes on. Who still waits is cancelled."""
        if not self._exit.done():
            self._release()
            self._exit.cancel()

    def _gone(self) -> None:
        self._release()
        if not self._exit.done():
            self._exit.set_result(exit_of(self._directory, self.process))

    def _release(self) -> None:
        self._loop.remove_reader(self._shim)
        os.close(self._shim)


async def readable(fd: int) -> None:
    """Wait until the descriptor has something to read, or its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
