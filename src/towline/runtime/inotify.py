"""Wake up when something in a directory changes."""

from __future__ import annotations

import ctypes
import os

_MODIFY, _MOVED_FROM, _CREATE, _DELETE_SELF = 0x2, 0x40, 0x100, 0x400
_libc = ctypes.CDLL(None, use_errno=True)


def watch_directory(path: str) -> int:
    """A non-blocking descriptor, readable when a file in it was written, made or renamed, or the directory removed.

    OSError if there is no such directory, or the user's limit of watches is reached.
    """
    fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        raise _error(path)
    if _libc.inotify_add_watch(fd, os.fsencode(path), _MODIFY | _MOVED_FROM | _CREATE | _DELETE_SELF) < 0:
        error = _error(path)
        os.close(fd)
        raise error
    return fd


def _error(path: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
