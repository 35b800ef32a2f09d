"""Restart policies: sandboxes whose process ended and is to be started again after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from towline.model.sandbox import Sandbox
from towline.runtime.lookup import Exit
from towline.runtime.policy import Backoff, after_exit, at_daemon_start, parse_restart

Start = Callable[[str], Awaitable[None]]


class Restarts:
    """Remembers, per sandbox, how long the next pause is; a pause ends when the daemon does."""

    def __init__(self) -> None:
        self._backoffs: dict[str, Backoff] = {}
        self._pauses: set[asyncio.Task[None]] = set()

    async def after_exit(self, sandbox: Sandbox, ended: Exit, start: Start) -> None:
        """sandbox: as it is after its end."""
        decision = after_exit(
            parse_restart(sandbox.restart),
            self._backoffs.get(sandbox.id, Backoff()),
            code=ended.code,
            ran=max(0.0, (sandbox.finished - sandbox.started) / 1e9),
            stopped=sandbox.stopped,
        )
        self._backoffs[sandbox.id] = decision.backoff
        if decision.pause is None:
            self._backoffs.pop(sandbox.id, None)
        else:
            self._begin_pause(sandbox.id, decision.pause, start)

    async def at_daemon_start(self, sandbox: Sandbox, start: Start) -> None:
        policy = parse_restart(sandbox.restart)
        if (
            sandbox.origin == "run"
            and sandbox.state == "exited"
            and at_daemon_start(policy, code=sandbox.exit_code, restarts=sandbox.restarts, stopped=sandbox.stopped)
        ):
            self._begin_pause(sandbox.id, 0.0, start)

    def close(self) -> None:
        for task in list(self._pauses):
            task.cancel()

    def _begin_pause(self, sandbox_id: str, seconds: float, start: Start) -> None:
        task = asyncio.get_running_loop().create_task(self._pause(sandbox_id, seconds, start))
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)

    async def _pause(self, sandbox_id: str, seconds: float, start: Start) -> None:
        await asyncio.sleep(seconds)
        await start(sandbox_id)
