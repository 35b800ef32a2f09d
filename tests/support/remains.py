"""What a daemon that is not asked any more leaves behind: processes of sandboxes and pinned namespaces."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_PATIENCE_MS = 10_000
_libc = ctypes.CDLL(None, use_errno=True)


def clear_away(exec_root: Path) -> None:
    """End what runs in the sandboxes of this run directory and unpin their namespaces; files are left."""
    for shim in shims(exec_root):
        for pid in (*children(shim), shim):
            end_exactly(pid)
    for pin in pins(exec_root):
        _libc.umount2(os.fsencode(pin), _MNT_DETACH | _UMOUNT_NOFOLLOW)


def pins(exec_root: Path) -> list[Path]:
    """Namespaces that are mounted there."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(Path(line.split()[4]) for line in mounts if line.split()[4].startswith(f"{exec_root}/netns/"))


def shims(exec_root: Path) -> list[int]:
    """Pids of the parents of detached commands. Sandboxes are known by their directories there."""
    with suppress(FileNotFoundError):
        ids = set(os.listdir(exec_root / "sandboxes"))
        return [pid for pid, words in _processes() if b"runtime.shim" in b" ".join(words) and words[-1].decode() in ids]
    return []


def children(parent: int) -> list[int]:
    found = []
    for pid, _ in _processes():
        with suppress(OSError):
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]) == parent:
                found.append(pid)
    return found


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if arguments := Path(f"/proc/{name}/cmdline").read_bytes().rstrip(b"\0"):
                yield int(name), arguments.split(b"\0")


def end_exactly(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal that ends it, and wait until it has ended; absent is no error."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(_PATIENCE_MS)
    os.close(fd)
