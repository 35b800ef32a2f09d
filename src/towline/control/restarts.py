"""Restart policies: sandboxes whose process ended and is to be started again after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from towline.model.sandbox import Sandbox
from towline.runtime.lookup import Exit
from towline.runtime.policy import Backoff, after_exit, at_daemon_start, parse_restart

Start = Callable[[str], Awaitable[None]]


class Restarts:
    """Remembers, per sandbox, how long the next pause is; a pause ends when the daemon does. How often a sandbox was
    started again is in its record."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lengths: dict[str, float] = {}
        self._pauses: dict[str, asyncio.Task[None]] = {}

    def after_exit(self, sandbox: Sandbox, ended: Exit) -> None:
        """sandbox: as it is after its end."""
        decision = after_exit(
            parse_restart(sandbox.restart),
            Backoff(self._lengths.get(sandbox.id, 0.0), sandbox.restarts),
            code=ended.code,
            ran=max(0.0, (sandbox.finished - sandbox.started) / 1e9),
            stopped=sandbox.stopped,
        )
        if decision.pause is not None:
            self._lengths[sandbox.id] = decision.backoff.pause
            self._begin_pause(sandbox.id, decision.pause)

    def at_daemon_start(self, sandbox: Sandbox) -> None:
        policy = parse_restart(sandbox.restart)
        if (
            sandbox.origin == "run"
            and sandbox.state == "exited"
            and at_daemon_start(policy, code=sandbox.exit_code, restarts=sandbox.restarts, stopped=sandbox.stopped)
        ):
            self._begin_pause(sandbox.id, 0.0)

    def cancel(self, sandbox_id: str) -> bool:
        """The user decides now: no start by the policy any more, and the next pause is a first one. True if a start was
        pending."""
        self._lengths.pop(sandbox_id, None)
        pause = self._pauses.pop(sandbox_id, None)
        return pause is not None and pause.cancel()

    def close(self) -> None:
        for task in list(self._pauses.values()):
            task.cancel()

    def _begin_pause(self, sandbox_id: str, seconds: float) -> None:
        self._pauses[sandbox_id] = asyncio.get_running_loop().create_task(self._pause(sandbox_id, seconds))

    async def _pause(self, sandbox_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._pauses.pop(sandbox_id, None)
        await self._start(sandbox_id)
