"""Processes of others, held by pidfd: the same process or none, whatever happens to its pid.

A pid is only a number that is used again. A pidfd is opened first and /proc read afterwards: if the process still has
not been reaped then, what was read was its own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from typing import NamedTuple

from towline.model.errors import KernelError, NotAProcess, ProcessGone
from towline.model.sandbox import Process

_PF_KTHREAD = 0x00200000
_ENDED_STATES = ("Z", "X", "x")


class PidFd:
    """A process that was alive when this was made. The descriptor becomes readable when it ends."""

    def __init__(self, fd: int, process: Process) -> None:
        self._fd = fd
        self.process = process

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def alive(self) -> bool:
        return not _has_ended(self._fd)

    async def wait_exit(self) -> None:
        """Returns when the process has ended (a zombie counts), by whoever's doing. One waiter at a time; needs a
        running event loop and may be cancelled."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._fd)


def open_process(pid: int) -> PidFd:
    """The process that has this pid now; the caller closes it.

    ProcessGone if there is none or it is a zombie. NotAProcess for numbers that are no pid, threads that are not their
    process, and kernel threads (their namespace is the host's). KernelError (EMFILE, ENOMEM) if it cannot be opened.
    """
    fd = _open(pid)
    try:
        return PidFd(fd, _identify(fd, pid))
    except BaseException:
        os.close(fd)
        raise


def open_same(process: Process) -> PidFd:
    """Like `open_process`; ProcessGone also if another process has its pid now."""
    found = open_process(process.pid)
    if found.process != process:
        found.close()
        raise ProcessGone(f"process {process.pid} has ended; another one has its pid now")
    return found


def netns_path(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


class _Stat(NamedTuple):
    state: str
    flags: int
    started: int


def _open(pid: int) -> int:
    if not 0 < pid < 1 << 31:
        raise NotAProcess(f"{pid} is not a process id")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise _gone(pid) from error
        if error.errno in (errno.EINVAL, errno.ENOENT):  # ENOENT since Linux 6.15
            raise NotAProcess(f"{pid} is a thread, not a process: give the id of its process") from error
        raise KernelError(error.errno or errno.EIO, f"open process {pid}") from error


def _identify(fd: int, pid: int) -> Process:
    try:
        stat = parse_stat(_read(f"/proc/{pid}/stat"))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise _gone(pid) from error
        raise KernelError(error.errno or errno.EIO, f"read the state of process {pid}") from error
    if stat is None or stat.state in _ENDED_STATES or _has_ended(fd):
        raise _gone(pid)
    if stat.flags & _PF_KTHREAD:
        raise NotAProcess(f"process {pid} is a kernel thread: it has no network namespace of its own")
    return Process(pid, stat.started)


def parse_stat(data: bytes) -> _Stat | None:
    """Fields 3, 9 and 22 of /proc/<pid>/stat (proc(5)); None if it is malformed. The name in field 2 may hold anything,
    brackets and spaces too."""
    fields = data.rpartition(b")")[2].split()
    try:
        return _Stat(fields[0].decode(), int(fields[6]), int(fields[19]))
    except (IndexError, ValueError):
        return None


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _has_ended(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _gone(pid: int) -> ProcessGone:
    return ProcessGone(f"there is no process {pid}: it has ended")
