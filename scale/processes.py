"""The run's side of its processes of nodes."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TypeVar

import msgspec

from scale.wire import Answer, Ask

T = TypeVar("T")

_LONGEST = 1 << 30
"""Bytes of a line."""


class Process:
    """`start`, then `ask`; `close` ends it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._ids = itertools.count()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "scale.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def ask(self, verb: str, body: msgspec.Struct, kind: type[T]) -> T:
        """RuntimeError if the verb fails, or the process ends."""
        process = self._process
        if process is None or process.stdin is None or (self._reader is not None and self._reader.done()):
            raise RuntimeError("the process of nodes does not run")
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        process.stdin.write(msgspec.json.encode(Ask(number, verb, msgspec.Raw(msgspec.json.encode(body)))) + b"\n")
        await process.stdin.drain()
        answer = await future
        if answer.error:
            raise RuntimeError(f"{verb}: {answer.error}")
        return msgspec.json.decode(answer.body, type=kind)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            answer = msgspec.json.decode(line, type=Answer)
            self._waiting.pop(answer.id).set_result(answer)
        for future in self._waiting.values():
            future.set_exception(RuntimeError("a process of nodes has ended"))
        self._waiting.clear()

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader
