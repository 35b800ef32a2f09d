"""The runtime as control uses it: by sandbox record, with one watch per sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from towline.model.requests import StartedSandbox
from towline.model.sandbox import Sandbox
from towline.runtime.check import complete_environment
from towline.runtime.launch import Launch
from towline.runtime.logread import Entry, follow_log, read_log
from towline.runtime.lookup import UNKNOWN, Exit, how_it_ended
from towline.runtime.supervise import Pending, Supervisor
from towline.runtime.watch import Watch


class Processes:
    """`control.collaborators.Runtime`. All in the event loop. Sandboxes without a process (attached by path) are never
    running here."""

    def __init__(self, exec_root: str, data_root: str) -> None:
        self._supervisor = Supervisor(exec_root, data_root)
        self._watches: dict[str, Watch] = {}

    async def prepare(self, sandbox: Sandbox, files: StartedSandbox) -> Pending:
        """A process inside, whose command has not begun. Errors as `Supervisor.prepare`."""
        pending = await self._supervisor.prepare(self._launch(sandbox, files))
        self._watches[sandbox.id] = pending.watch
        return pending

    def follow(self, sandbox: Sandbox) -> Watch | None:
        """The process that the record names, if it lives."""
        process = sandbox.process
        if process is None:
            return None
        watch = self._watches.get(sandbox.id)
        if watch is None or watch.process != process:
            found = self._supervisor.attach(sandbox.id, process, foreign=sandbox.origin == "attach")
            if isinstance(found, Exit):
                return None
            watch = self._watches[sandbox.id] = found
        return watch if watch.running else None

    def outcome(self, sandbox: Sandbox) -> Exit:
        """How the process ended that does not live any more."""
        if sandbox.process is None:
            return Exit(UNKNOWN, recorded=False)
        directory = self._supervisor.state(sandbox.id)
        return how_it_ended(directory, sandbox.process, foreign=sandbox.origin == "attach")

    async def stop(self, sandbox: Sandbox, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when nothing lives. Not running is no error."""
        watch = self.follow(sandbox)
        if watch is not None:
            await watch.stop(grace)

    def signal(self, sandbox: Sandbox, number: int) -> bool:
        """False if it is not running."""
        watch = self.follow(sandbox)
        return watch is not None and watch.signal(number)

    def logs(
        self, sandbox: Sandbox, *, tail: int | None = None, since: str = "", follow: bool = False
    ) -> AsyncIterator[Entry]:
        """What a detached command has written (see `logread`). follow: go on until the command ends."""
        path = self._supervisor.log(sandbox.id)
        watch = self.follow(sandbox) if follow else None
        if watch is None:
            return _each(read_log(path, tail=tail, since=since))
        return follow_log(path, watch.exit, tail=tail, since=since)

    def remove(self, sandbox_id: str) -> None:
        """Forget what is on disk. Absent is no error."""
        watch = self._watches.pop(sandbox_id, None)
        if watch is not None:
            watch.close()
        self._supervisor.forget(sandbox_id)

    def close(self) -> None:
        """Look away from all; they live on."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()

    def _launch(self, sandbox: Sandbox, files: StartedSandbox) -> Launch:
        return Launch(
            sandbox=sandbox.id,
            netns=files.netns,
            hostname=sandbox.hostname,
            command=sandbox.command,
            environment=complete_environment(sandbox.environment, sandbox.hostname),
            directory=sandbox.directory,
            state=self._supervisor.state(sandbox.id),
            log=self._supervisor.log(sandbox.id),
            files=(
                (files.hosts, "/etc/hosts"),
                (files.resolv_conf, "/etc/resolv.conf"),
                (files.hostname, "/etc/hostname"),
            ),
        )


async def _each(entries: Iterator[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry
