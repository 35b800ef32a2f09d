"""What the records in a sandbox's run directory say about a process that the store remembers."""

from __future__ import annotations

import os
import signal
from typing import TypeVar

import msgspec

from towline.model.sandbox import Process
from towline.runtime.identity import boot_id, open_process
from towline.runtime.record import EXIT, PROCESS

UNKNOWN = 255
"""Exit code of a process that nobody saw end: the machine was restarted, the shim was killed. As Docker's."""


class Exit(msgspec.Struct, frozen=True):
    """How a command ended. signal: that ended it, or 0. began, ended: nanoseconds since the epoch, 0 if not recorded.

    recorded: False if nobody saw the end; then descendants of the command may be alive.
    """

    code: int
    signal: int = 0
    began: int = 0
    ended: int = 0
    recorded: bool = True


_Record = TypeVar("_Record")


class _ExitRecord(msgspec.Struct, frozen=True):
    pid: int
    started: int
    code: int
    signal: int
    began: int
    ended: int


class _ProcessRecord(msgspec.Struct, frozen=True):
    boot: str
    shim: Process
    command: Process


def open_shim(directory: str, process: Process) -> int | None:
    """A pidfd of the living shim of this very process; None if there is none. The caller closes it."""
    record = _read(directory, PROCESS, _ProcessRecord)
    if record is None or record.command != process or record.boot != boot_id():
        return None
    return open_process(record.shim.pid, record.shim.started)


def exit_of(directory: str, process: Process) -> Exit:
    """How this very process, whose shim is gone, ended. Should it live because the shim was killed, it is killed."""
    record = _read(directory, EXIT, _ExitRecord)
    if record is not None and Process(record.pid, record.started) == process:
        return Exit(record.code, record.signal, record.began, record.ended)
    send(process, signal.SIGKILL)
    return Exit(UNKNOWN, recorded=False)


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
