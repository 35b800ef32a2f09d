"""A command as a child of the command line: terminal, standard streams, session and process group are the caller's."""

from __future__ import annotations

import os
import sys

from towline.model.errors import Conflict, Failure
from towline.runtime.check import check_command, check_launch
from towline.runtime.child import exit_code, fork_child
from towline.runtime.enter import Refused, adopt_orphans, enter_new, enter_running
from towline.runtime.identity import open_process
from towline.runtime.launch import Launch
from towline.runtime.life import Run, accompany, outcome
from towline.runtime.record import clear, write_process


class Foreground:
    """A process inside the sandbox that waits for `run`. The caller must have one thread only, and be root.

    pid, started: of the command. Make it (InvalidParameter, Failure), tell the daemon, then `run` or `abandon`.
    """

    def __init__(self, launch: Launch) -> None:
        check_launch(launch)
        os.makedirs(launch.state, mode=0o700, exist_ok=True)
        clear(launch.state)
        try:
            adopt_orphans()
            self._child = fork_child(launch, lambda: enter_new(launch), None)
            self._child.ready()
        except Refused as refused:
            raise Failure(f"sandbox {launch.sandbox}: cannot {refused}") from refused
        self._launch = launch
        self.pid = self._child.pid
        self.started = self._child.started
        write_process(launch.state, self.pid, self.started)

    def run(self) -> int:
        """Start the command, pass signals on, wait, write the exit record; the exit code (126, 127: not started, and
        a line on standard error says why)."""
        run = Run(self._child, self._launch.state)
        refused = self._child.go()
        if refused is None:
            return run.foreground()
        os.waitpid(self.pid, 0)
        _complain(refused)
        return run.ended(exit_code(refused))

    def abandon(self) -> None:
        """The daemon did not agree: end the process, leave no record."""
        self._child.abandon()
        clear(self._launch.state)


def exec_in(
    sandbox: str, pid: int, start: int, command: tuple[str, ...], environment: tuple[str, ...], directory: str = "/"
) -> int:
    """Run a command beside the running one (pid, start) of a sandbox, in the foreground; its exit code. It is killed
    when the sandbox ends. InvalidParameter; Conflict if the sandbox's process is gone; one thread, root."""
    check_command(f"sandbox {sandbox}", command, environment, directory)
    target = open_process(pid, start)
    if target is None:
        raise Conflict(f"sandbox {sandbox} is not running: start it first")
    launch = Launch(
        sandbox=sandbox,
        netns="",
        hostname="",
        state="",
        command=command,
        environment=environment,
        directory=directory,
    )
    child = fork_child(launch, lambda: enter_running(target), None)
    os.close(target)
    try:
        child.ready()
    except Refused as refused:
        raise Conflict(f"sandbox {sandbox}: cannot {refused}") from refused
    refused_command = child.go()
    if refused_command is None:
        return outcome(accompany(child.pid))[0]
    os.waitpid(child.pid, 0)
    _complain(refused_command)
    return exit_code(refused_command)


def _complain(refused: Refused) -> None:
    print(f"towline: cannot {refused}", file=sys.stderr)
