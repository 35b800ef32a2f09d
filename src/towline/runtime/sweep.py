"""No process outlives its sandbox: when the command has ended, what it left behind is killed.

There is no PID namespace that would do it. Two marks find everything: being in the sandbox's mount namespace (also what
`exec` brought in), and being a child of the shim, which adopts every descendant whose parent ends.
"""

from __future__ import annotations

import os
import select

from towline.runtime.identity import open_pid
from towline.runtime.signals import signal

PASSES = 50
"""A process that forks faster than it is killed is given up after so many looks at /proc."""
PATIENCE_MS = 1000


def mount_namespace(pid: int) -> int:
    """Its inode, 0 if the process is gone."""
    return _namespace(pid, "mnt")


def hold_mounts(pid: int) -> int | None:
    """A descriptor that holds a process's mount namespace, so that its number means no other; None if it is gone."""
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None


def inhabitants(namespace: int, kind: str = "mnt") -> list[int]:
    """Pids in that namespace; zombies are in none. namespace: inode of a file /proc/<pid>/ns/<kind> or of a pin; it may
    be used again by the kernel once nothing holds the namespace."""
    return [pid for pid in _pids() if _namespace(pid, kind) == namespace]


def sweep(namespace: int) -> None:
    """Kill and reap until nothing is left. Of the caller's own mount namespace (or 0) only its children are killed.
    namespace: of one that is held (`hold_mounts`), else another sandbox may have its number by now."""
    if namespace == mount_namespace(os.getpid()):
        namespace = 0
    for _ in range(PASSES):
        reap()
        strangers = inhabitants(namespace) if namespace else []
        found = {*strangers, *(pid for pid in _pids() if _parent(pid) == os.getpid())}
        if not found:
            return
        for fd in [_kill(pid) for pid in found]:
            _wait_dead(fd)


def reap() -> dict[int, int]:
    """Statuses of the children that have ended, by pid."""
    ended: dict[int, int] = {}
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    except ChildProcessError:
        return ended
    return ended


def _kill(pid: int) -> int | None:
    """A pidfd that becomes readable when it is dead; None if it is gone."""
    fd = open_pid(pid)
    if fd is None:
        return None
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:  # a zombie: readable at once
        return fd
    return fd


def _wait_dead(pidfd: int | None) -> None:
    if pidfd is not None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(PATIENCE_MS)
        os.close(pidfd)


def _namespace(pid: int, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
