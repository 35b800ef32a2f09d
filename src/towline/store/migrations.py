"""The schema and how an older one becomes today's. `PRAGMA user_version` holds the version of a file.

A new schema is a new entry at the end of `MIGRATIONS`; the first one makes version 1 out of an empty file. A change of
the codec's version, or a new kind of record, gets an entry too (it may do nothing), so that an older release refuses
the file as a whole and does not take what it cannot read for damage.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from towline.model.errors import StoreCorrupt, StoreError
from towline.store.files import discard, make_private, sync_directory


class Migration(NamedTuple):
    """apply: executes its statements inside the transaction that also sets `user_version` to `version`."""

    version: int
    apply: Callable[[sqlite3.Connection], object]


def create_objects(db: sqlite3.Connection) -> None:
    """position: rises in order of creation; a replaced record keeps it."""
    db.execute(
        "CREATE TABLE objects (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL,"
        " UNIQUE (kind, id))"
    )


def allow_cluster_kinds(_: sqlite3.Connection) -> None:
    """Version 2: records of the kinds peer and block may be there."""


def allow_services(_: sqlite3.Connection) -> None:
    """Version 3: records of the kind service may be there."""


MIGRATIONS: Sequence[Migration] = (
    Migration(1, create_objects),
    Migration(2, allow_cluster_kinds),
    Migration(3, allow_services),
)


def version_of(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring an open database to the newest version, one transaction for each step; no effect when it is there."""
    present = version_of(db)
    for migration in migrations:
        if migration.version > present:
            db.execute("BEGIN IMMEDIATE")
            with db:  # commits, or rolls back on an exception
                migration.apply(db)
                db.execute(f"PRAGMA user_version = {migration.version:d}")


def upgrade(db: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """`migrate` an existing file, after a copy of it was made as `<name>.backup-v<old version>`.

    StoreError if the file is newer than this release; StoreCorrupt if it has no version (files are created whole).
    """
    present, newest = version_of(db), migrations[-1].version
    if present == 0:
        raise StoreCorrupt("the file has no schema")
    if present > newest:
        raise StoreError(
            f"store: {path} has schema version {present}, this release knows {newest}: use the release that wrote it, "
            f"or a newer one; a copy from before its upgrade may be beside it (*.backup-v*)"
        )
    if present < newest:
        _backup(db, path.with_name(f"{path.name}.backup-v{present}"))
        migrate(db, migrations)


def _backup(db: sqlite3.Connection, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.new")
    discard(unfinished)
    make_private(unfinished)
    with closing(sqlite3.connect(unfinished)) as copy:
        db.backup(copy)
    os.replace(unfinished, target)
    sync_directory(target.parent)
