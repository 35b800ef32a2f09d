"""wireguard-go as child processes: one per interface, started again when it dies, gone with the daemon."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress

from towline.kernel.probe import LinkProbe
from towline.kernel.wireguard_uapi import DIRECTORY, socket_path
from towline.model.errors import KernelError

log = logging.getLogger(__name__)

PROGRAM = "wireguard-go"
PAUSES = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before it is started again."""
STEADY = 60.0
"""Seconds of life, after which the pauses begin anew."""
_PATIENCE = 5.0
"""Seconds that it may take to serve."""
_LOOK = 0.02
_LINE = 512


class _Process:
    """ready: it serves. ended: why it did, once it has."""

    def __init__(self, name: str, died: Callable[[str], None]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.why = ""
        self._died = died
        self.keeper = asyncio.create_task(self._keep(), name=f"wireguard-go {name}")

    async def _keep(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.why = await self._live()
            was_ready = self.ready.is_set()
            self.ready.clear()
            failures = 0 if was_ready and loop.time() - began > STEADY else failures + 1
            fields = {"interface": self.name, "why": self.why}
            log.error("wireguard-go has ended: it is started again", extra={"fields": fields})
            if was_ready:
                self._died(self.name)
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES)) - 1])

    async def _live(self) -> str:
        program = shutil.which(PROGRAM)
        if program is None:
            return f"there is no {PROGRAM} on this machine"
        with suppress(OSError):
            os.unlink(socket_path(self.name))
        command = [sys.executable, "-m", "towline.kernel.wireguard_exec", str(os.getpid()), program, self.name]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "error"}
        try:
            os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"it cannot be started: {(error.strerror or '').lower()}"
        said = asyncio.create_task(_last_line(process.stderr))
        serving = asyncio.create_task(self._serving())
        try:
            code = await process.wait()
            return await said or f"exit status {code}"
        finally:
            serving.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            said.cancel()
            await asyncio.gather(serving, said, return_exceptions=True)

    async def _serving(self) -> None:
        """Nothing tells when it does: its control socket takes a connection then, and its link is there."""
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_unix_connection(socket_path(self.name))
                writer.close()
                with LinkProbe() as probe:
                    if probe.index(self.name):
                        self.ready.set()
                        return
            await asyncio.sleep(_LOOK)

    async def end(self) -> None:
        self.keeper.cancel()
        await asyncio.gather(self.keeper, return_exceptions=True)
        with suppress(OSError):
            os.unlink(socket_path(self.name))


class GoProcesses:
    """Event loop only. died: an interface went because its process did; when it is back it is bare."""

    def __init__(self, died: Callable[[str], None]) -> None:
        self._died = died
        self._processes: dict[str, _Process] = {}

    @property
    def any(self) -> bool:
        return bool(self._processes)

    def problem(self) -> str:
        if shutil.which(PROGRAM) is None:
            return (
                "this kernel has no WireGuard, and there is no wireguard-go on this host: load the kernel's module"
                " wireguard, or install the package wireguard-go"
            )
        if not os.path.exists("/dev/net/tun"):
            return "wireguard-go needs /dev/net/tun, which this host has not: load the kernel's module tun"
        return ""

    async def begin(self, name: str) -> None:
        """Until it serves. KernelError with its last words if it does not in time; it is tried again then."""
        process = self._processes.get(name)
        if process is None:
            process = self._processes[name] = _Process(name, self._died)
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.ready.wait()
        except TimeoutError as error:
            why = process.why or "it does not serve"
            raise KernelError(errno.ETIMEDOUT, f"make WireGuard interface {name}", f"wireguard-go: {why}") from error

    async def end(self, name: str) -> None:
        if (process := self._processes.pop(name, None)) is not None:
            await process.end()

    async def close(self) -> None:
        for name in list(self._processes):
            await self.end(name)


async def _last_line(stream: asyncio.StreamReader | None) -> str:
    last = ""
    while stream is not None and (data := await stream.read(_LINE)):
        lines = data.decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else last
    return last[:_LINE]
