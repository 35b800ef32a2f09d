"""What the records in a sandbox's run directory say about a process that the store remembers."""

from __future__ import annotations

import os
import signal
import time
from typing import TypeVar

import msgspec

from towline.model.sandbox import Process
from towline.runtime.identity import boot_id, open_process
from towline.runtime.record import EXIT, PROCESS

UNKNOWN = 255
"""Exit code of a process that nobody saw end: the machine was restarted, the shim was killed. As Docker's."""


class Exit(msgspec.Struct, frozen=True):
    """How a command ended. signal: that ended it, or 0. began, finished: nanoseconds since the epoch; if nobody saw the
    end, began is 0 and finished the moment at which that was found out.

    recorded: False if nobody saw the end; then descendants of the command may be alive.
    """

    code: int
    signal: int = 0
    began: int = 0
    finished: int = 0
    recorded: bool = True


_Record = TypeVar("_Record")


class _ExitRecord(msgspec.Struct, frozen=True):
    pid: int
    started: int
    code: int
    signal: int
    began: int
    finished: int


class _ProcessRecord(msgspec.Struct, frozen=True):
    boot: str
    shim: Process
    command: Process


class Life(msgspec.Struct, frozen=True):
    """A process that is there. pidfd: readable when it has ended; the owner of this closes it. command: who gets the
    signals."""

    pidfd: int
    command: Process


def find(directory: str, process: Process, *, foreign: bool = False) -> Life | Exit:
    """What became of exactly this process, as the store remembers it: a command, or its shim. foreign: somebody else's
    process, which has no records. Should a command live whose shim was killed, it is killed."""
    if foreign:
        return _alone(process) or _unseen()
    record = _read(directory, PROCESS, _ProcessRecord)
    if record is None or process not in (record.command, record.shim):
        # On the way to its record, or from before a restart of the machine that emptied the run directory.
        return (os.path.isdir(directory) and _alone(process)) or _exit_of(directory, process)
    if record.boot != boot_id():
        return _unseen()
    pidfd = open_process(record.shim.pid, record.shim.started)
    if pidfd is not None:
        return Life(pidfd, record.command)
    found = _exit_of(directory, record.command)
    if not found.recorded:
        send(record.command, signal.SIGKILL)
    return found


def how_it_ended(directory: str, process: Process, *, foreign: bool = False) -> Exit:
    """`find` for a process that is known to be gone; if it is not, nobody saw its end."""
    found = find(directory, process, foreign=foreign)
    if isinstance(found, Exit):
        return found
    os.close(found.pidfd)
    return _unseen()


def _alone(process: Process) -> Life | None:
    """A process that is its own command."""
    pidfd = open_process(process.pid, process.started)
    return None if pidfd is None else Life(pidfd, process)


def _exit_of(directory: str, command: Process) -> Exit:
    end = _read(directory, EXIT, _ExitRecord)
    if end is None or Process(end.pid, end.started) != command:
        return _unseen()
    return Exit(end.code, end.signal, end.began, end.finished)


def _unseen() -> Exit:
    return Exit(UNKNOWN, finished=time.time_ns(), recorded=False)


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; False if it is gone."""
    fd = open_process(process.pid, process.started)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def _read(directory: str, name: str, kind: type[_Record]) -> _Record | None:
    """None if it is not there or not whole (the machine went down while it was written)."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return msgspec.json.decode(file.read(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
