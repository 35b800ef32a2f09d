"""Open the store of a data root: make it, or check it, or set a damaged one aside and start afresh.

A damaged file costs its records, never what they stood for in the kernel: the fresh store has the meta text
`sweep` = `suspended`, and keeps it until somebody has looked (`Engine.repair`). A file that cannot be read or written
(permission, I/O, space, a newer release) is not damaged: StoreError, and nothing is touched.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from towline.model.errors import StoreCorrupt, StoreError
from towline.store.contract import META_SWEEP, SWEEP_SUSPENDED
from towline.store.failures import reported
from towline.store.files import COMPANIONS, exists, make_directory, sync_directory
from towline.store.sqlite import SqliteStore, create_file

DIRECTORY = "store"
FILE = "towline.db"
ASIDE = f"{FILE}.corrupt-"


class Opened(NamedTuple):
    """set_aside: what was wrong, where the old file is and what to do; None when all was well."""

    store: SqliteStore
    set_aside: str | None


def open_store(data_root: Path) -> Opened:
    """`<data_root>/store/towline.db`; directories are made with mode 0700, the file with 0600."""
    path = data_root / DIRECTORY / FILE
    with reported(path):
        make_directory(path.parent)
        finish_set_aside(path)
        present = exists(path)
    if not present:
        return Opened(_fresh(path), None)
    try:
        return Opened(SqliteStore(path), None)
    except StoreCorrupt as error:
        damage = str(error)
    target = set_aside(path, damage)
    return Opened(_fresh(path), explain(path, target, damage))


def _fresh(path: Path) -> SqliteStore:
    """Beside a file that was set aside the new store begins with sweeping suspended, also when an earlier start was
    killed between the two."""
    unfinished = path.with_name(f"{path.name}.new")
    with reported(path):
        damaged = any(name.startswith(ASIDE) for name in os.listdir(path.parent))
        create_file(unfinished, {META_SWEEP: SWEEP_SUSPENDED} if damaged else {})
        os.rename(unfinished, path)
        sync_directory(path.parent)
    return SqliteStore(path)


def set_aside(path: Path, damage: str) -> Path:
    """Rename the file and its companions to `<name>.corrupt-<UTC time>`; answers the new path.

    The file itself goes first. If the process dies before the companions follow, `finish_set_aside` moves them.
    """
    target = path.with_name(f"{ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    try:
        os.rename(path, target)
        _move_companions(path, target)
    except OSError as error:
        raise StoreError(f"store: {path} is damaged ({damage}) and cannot be set aside: {error}") from error
    return target


def finish_set_aside(path: Path) -> None:
    """Companions without their file belong to the one that was set aside last. SQLite would delete them."""
    if exists(path) or not any(exists(path.with_name(path.name + suffix)) for suffix in COMPANIONS):
        return
    aside = sorted(name for name in os.listdir(path.parent) if name.startswith(ASIDE) and not name.endswith(COMPANIONS))
    _move_companions(path, path.with_name(aside[-1] if aside else f"{ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"))


def _move_companions(path: Path, target: Path) -> None:
    sync_directory(path.parent)
    for suffix in COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if exists(companion):
            os.rename(companion, target.with_name(target.name + suffix))
    sync_directory(path.parent)


def explain(path: Path, target: Path, damage: str) -> str:
    return (
        f"store: {path} is damaged: {damage}. It was set aside as {target} and a fresh store was started. "
        "The networks it held are not known any more; what they left in the kernel stays, because sweeping is "
        f"suspended. To go back, stop the daemon and put a good copy at {path}; to start over, run "
        "`towline doctor --fix`."
    )
