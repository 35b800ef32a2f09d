"""What an error of SQLite or the system means: a refusal by the environment (StoreError), or damage (StoreCorrupt).

Codes: https://www.sqlite.org/rescode.html. Whatever is not known to come from the environment is damage: our SQL is
fixed, so any other complaint is about what the file holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from towline.model.errors import StoreCorrupt, StoreError

_OTHER_ENVIRONMENT = "store: {path} cannot be used: {error} ({name})"
_DAMAGED = "{error} ({name})"
_ENVIRONMENT: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: "store: disk full: cannot write {path}; free space and retry",
        sqlite3.SQLITE_READONLY: "store: read-only: cannot write {path}; check its permissions and its mount",
        sqlite3.SQLITE_IOERR: "store: I/O error on {path} ({name}); check the disk and the kernel log",
        sqlite3.SQLITE_BUSY: "store: {path} is in use by another process; is a second daemon using this data root?",
        sqlite3.SQLITE_LOCKED: "store: {path} is in use by another process; is a second daemon using this data root?",
        sqlite3.SQLITE_CANTOPEN: "store: cannot open {path} or its write-ahead log; check permissions, mount and space",
        sqlite3.SQLITE_PERM: "store: cannot open {path}: permission denied",
        sqlite3.SQLITE_NOMEM: _OTHER_ENVIRONMENT,
        sqlite3.SQLITE_INTERRUPT: _OTHER_ENVIRONMENT,
        sqlite3.SQLITE_NOLFS: _OTHER_ENVIRONMENT,
        sqlite3.SQLITE_AUTH: _OTHER_ENVIRONMENT,
        sqlite3.SQLITE_PROTOCOL: _OTHER_ENVIRONMENT,
    }
)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system, raised inside, into StoreError or StoreCorrupt."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:  # sqlite3 fails so on a complaint of SQLite's that quotes damaged text
        raise StoreCorrupt(f"text that is not UTF-8: {error}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"store: {error.filename or path}: {reason}") from error


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Errors without a code are the module's own: misuse such as a closed connection, or text that is not UTF-8."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None and isinstance(error, sqlite3.ProgrammingError):
        return StoreError(_OTHER_ENVIRONMENT.format(path=path, error=error, name="misuse"))
    name = getattr(error, "sqlite_errorname", "undecodable text")
    text = _ENVIRONMENT.get((code or 0) & 0xFF)
    if text is None or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return StoreCorrupt(_DAMAGED.format(error=error, name=name))
    return StoreError(text.format(path=path, error=error, name=name))
