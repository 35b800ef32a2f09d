"""Small file operations that must be durable or private."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

COMPANIONS = ("-wal", "-shm", "-journal")


def exists(path: Path) -> bool:
    """False only if it is certainly not there; OSError if that cannot be found out (`Path.exists` hides some)."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def make_private(path: Path) -> None:
    """An empty new file, mode 0600; SQLite gives its companions the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def make_directory(path: Path) -> None:
    """With missing parents, all mode 0700, and durable."""
    missing = [directory for directory in (path, *path.parents) if not exists(directory)]
    for directory in reversed(missing):
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make creations and renames in the directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(path: Path) -> None:
    """Remove a database file and its companions, whichever exist."""
    for name in (path.name, *(path.name + suffix for suffix in COMPANIONS)):
        path.with_name(name).unlink(missing_ok=True)
