"""Which process a number means: a pid is reused, a pid with its start time is not (until the machine restarts)."""

from __future__ import annotations

import errno
import os


def started(pid: int) -> int | None:
    """Start time in clock ticks since boot (field 22 of /proc/<pid>/stat); None if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def open_pid(pid: int) -> int | None:
    """A pidfd of the process that has this pid now; None if none has (the number may be a thread's by now, which is
    EINVAL, or ENOENT since Linux 6.15). The caller closes it. OSError if no descriptor is free."""
    try:
        return os.pidfd_open(pid)
    except (ValueError, OverflowError):
        return None
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return None
        raise


def open_process(pid: int, start: int) -> int | None:
    """A pidfd of exactly that process, or None if it is gone. The caller closes it."""
    fd = open_pid(pid)
    if fd is None or started(pid) == start:  # read after the open: the pidfd holds whatever has the pid now
        return fd
    os.close(fd)
    return None


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
