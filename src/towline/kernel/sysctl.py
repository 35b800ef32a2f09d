"""Kernel settings under /proc/sys.

/proc/sys/net shows the network namespace of the thread that opens a file (not that of the process, unlike /proc/net),
so calls must come from a thread that is in the namespace meant.
"""

from __future__ import annotations

import errno
import os

from towline.model.errors import KernelError

_ROOT = "/proc/sys"
_LONGEST = 64 * 1024


class ProcSysctl:
    """The `Sysctl` contract on the real files."""

    def read(self, path: str) -> str | None:
        """None if there is no such file. KernelError: EINVAL for a path that leaves the tree, EACCES and the like."""
        operation = f"read sysctl {path}"
        full = _full(path, operation)
        try:
            return _read(full).decode(errors="replace").removesuffix("\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, operation) from error

    def write(self, path: str, value: str) -> None:
        operation = f"write sysctl {path}"
        full = _full(path, operation)
        try:
            fd = os.open(full, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, operation) from error


def check_path(path: str) -> bool:
    """Whether a path is relative, stays below /proc/sys and names something."""
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def _read(full: str) -> bytes:
    """Without the costs of a file object, which count at one read per link."""
    fd = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LONGEST)
    finally:
        os.close(fd)


def _full(path: str, operation: str) -> str:
    if not check_path(path):
        raise KernelError(errno.EINVAL, operation)
    return f"{_ROOT}/{path}"
