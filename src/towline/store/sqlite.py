"""The durable store of one host: a SQLite file, written ahead (WAL), synced at every update (synchronous=FULL).

`update` runs in one worker thread, `view` is answered from memory in any thread. A change reaches the view after its
transaction is on disk, so nobody ever sees what a failed write takes back, and a failed update leaves no trace.
The file is locked for this process alone (locking_mode=EXCLUSIVE): a second daemon is refused, no shared memory file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path

from towline.model.errors import StoreCorrupt, StoreError
from towline.store import codec
from towline.store.contract import Change, Delete, Put, SetMeta, Watcher
from towline.store.failures import reported
from towline.store.files import discard, make_private
from towline.store.memory import MemoryStore
from towline.store.migrations import MIGRATIONS, Migration, migrate, upgrade
from towline.store.state import State

# A checkpoint copies at most what CHECKPOINT_PAGES frames hold and then starts the log anew: this bounds both the
# pause that an update may meet and the log's length (plus one transaction, cut back to LOG_BYTES afterwards).
PAGE_BYTES = 4096
CHECKPOINT_PAGES = 256
LOG_BYTES = 2 * CHECKPOINT_PAGES * PAGE_BYTES
PRAGMAS = (
    "locking_mode = EXCLUSIVE",
    "cell_size_check = ON",
    "trusted_schema = OFF",
    f"page_size = {PAGE_BYTES}",
    "journal_mode = WAL",
    "synchronous = FULL",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"journal_size_limit = {LOG_BYTES}",
    "cache_size = -1024",
    "temp_store = MEMORY",
)
LOCK_SECONDS = 1.0

UPSERT = (
    "INSERT INTO objects (kind, id, value) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value"
)
REMOVE = "DELETE FROM objects WHERE kind = ? AND id = ?"
SCAN = "SELECT kind, id, value FROM objects ORDER BY position"

Step = tuple[str, tuple[object, ...]]


class SqliteStore:
    """A `Store` on an existing file (`create_file` makes one).

    Raises StoreCorrupt if the file or a record in it is damaged, StoreError if it cannot be opened, read or locked, or
    was written by a newer release. `close` writes what was noted.
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: Mapping[int, codec.Reader] = codec.READERS,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        self._path = path
        with reported(path):
            _probe(path)
            self._db = _connect(path)
            try:
                _check(self._db)
                upgrade(self._db, path, migrations)
                state = _load(self._db, readers)
            except BaseException:
                self._db.close()
                raise
        self._memory = MemoryStore(state)

    def view(self) -> State:
        return self._memory.view()

    def meta(self, key: str) -> str | None:
        return self._memory.meta(key)

    def update(self, changes: Sequence[Change], *, expect: int | None = None) -> int:
        self._memory.check(expect)
        steps = [_step(change) for change in (*self._memory.pending, *changes)]
        steps.append(_put(codec.REVISION, self._memory.view().revision + 1))
        with reported(self._path):
            self._write(steps)
        return self._memory.update(changes)

    def _write(self, steps: Sequence[Step]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, run in groupby(steps, key=lambda step: step[0]):
                self._db.executemany(statement, [values for _, values in run])
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled back already; the first one is what counts
                self._db.execute("ROLLBACK")
            raise

    def note(self, changes: Sequence[Change]) -> None:
        self._memory.note(changes)

    def watch(self, watcher: Watcher, *, since: int) -> Callable[[], None]:
        return self._memory.watch(watcher, since=since)

    def close(self) -> None:
        if self._memory.pending:
            with suppress(StoreError):  # by contract a note may be lost
                self.update(())
        self._db.close()


def create_file(path: Path, meta: Mapping[str, str], migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make a fresh database at `path`, mode 0600, with the newest schema and these meta texts; what is there from an
    earlier attempt is removed. Make it under a temporary name and rename it, so that no half file is ever found."""
    discard(path)
    with reported(path):
        make_private(path)
        with closing(_connect(path)) as db:
            migrate(db, migrations)
    if meta:
        with closing(SqliteStore(path, migrations=migrations)) as store:
            store.update([SetMeta(key, value) for key, value in meta.items()])


def _probe(path: Path) -> None:
    """What SQLite would take for a new database, or report only as a failed lock."""
    if os.stat(path).st_size == 0:
        raise StoreCorrupt("the file is empty")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise StoreError(f"store: cannot read and write {path}; check its permissions and its mount")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=LOCK_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    """The write lock comes first: a file that cannot be written is refused before it is judged."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("ROLLBACK")
    verdict: str = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StoreCorrupt(f"integrity check: {verdict.strip()}")


def _load(db: sqlite3.Connection, readers: Mapping[int, codec.Reader]) -> State:
    state = State()
    rows: Iterator[tuple[str, str, bytes]] = db.execute(SCAN)
    for kind, record_id, value in rows:
        match codec.decode(kind, record_id, value, readers):
            case int() as revision:
                state.revision = revision
            case str() as text:
                state.apply(SetMeta(record_id, text))
            case record:
                state.apply(Put(record))
    return state


def _step(change: Change) -> Step:
    match change:
        case Put(record=record):
            return _put(record.id, record)
        case Delete(kind=kind, id=record_id):
            return REMOVE, (codec.KINDS[kind], record_id)
        case SetMeta(key=key, value=value):
            return (REMOVE, (codec.META, key)) if value is None else _put(key, value)


def _put(record_id: str, record: codec.Stored) -> Step:
    return UPSERT, (codec.KINDS[type(record)], record_id, codec.encode(record_id, record))
