"""The SQLite backend: errors by name and recovery from them, notes, migrations, the bounded log, the lock."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.support.store_conformance import network, peer
from towline.model.errors import StoreCorrupt, StoreError
from towline.model.network import Network
from towline.store.contract import Delete, Put, SetMeta
from towline.store.failures import translate
from towline.store.migrations import MIGRATIONS, Migration
from towline.store.open import open_store
from towline.store.sqlite import CHECKPOINT_PAGES, LOG_BYTES, PAGE_BYTES, SqliteStore, create_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one network, closed."""
    with closing(open_store(tmp_path).store) as store:
        store.update([Put(network(1))])
    return tmp_path / "store" / "towline.db"


def names(store: SqliteStore) -> list[str]:
    return [n.name for n in store.view().networks()]


def test_settings_are_what_durability_needs(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        ask = store._db.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)
        assert ask("PRAGMA locking_mode").fetchone() == ("exclusive",)


def test_the_file_is_private(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.update([])
        found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert found == {"towline.db": 0o600, "towline.db-wal": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_disk_fails_by_name_and_heals(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.note([SetMeta("noted", "yes")])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        big = [Put(network(number)) for number in range(2, 100)]
        for _ in range(2):
            with pytest.raises(StoreError, match=r"^store: disk full: cannot write .*towline.db; free space"):
                store.update(big)
            assert (names(store), store.view().revision) == (["net-1"], 1)
        store._db.execute("PRAGMA max_page_count = 100000")
        assert store.update(big, expect=1) == 2
    with closing(SqliteStore(path)) as store:
        assert len(names(store)) == 99
        assert store.meta("noted") == "yes"


def test_read_only_fails_by_name_and_heals(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store._db.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match=r"^store: read-only: cannot write .*towline.db; check"):
            store.update([Delete(Network, network(1).id)])
        assert names(store) == ["net-1"]
        store._db.execute("PRAGMA query_only = OFF")
        store.update([Delete(Network, network(1).id)])
    with closing(SqliteStore(path)) as store:
        assert names(store) == []


def test_what_cannot_be_encoded_leaves_no_trace(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        with pytest.raises(UnicodeEncodeError):
            store.update([Put(network(2)), Put(network(3, name="\ud800"))])
        assert (names(store), store.update([])) == (["net-1"], 2)
    with closing(SqliteStore(path)) as store:
        assert names(store) == ["net-1"]


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("SQLITE_FULL", StoreError, "disk full"),
        ("SQLITE_READONLY_DIRECTORY", StoreError, "read-only"),
        ("SQLITE_IOERR_FSYNC", StoreError, "I/O error on /x/towline.db (SQLITE_IOERR_FSYNC)"),
        ("SQLITE_IOERR_SHORT_READ", StoreCorrupt, "SQLITE_IOERR_SHORT_READ"),
        ("SQLITE_BUSY", StoreError, "in use by another process"),
        ("SQLITE_CANTOPEN", StoreError, "cannot open /x/towline.db"),
        ("SQLITE_NOMEM", StoreError, "cannot be used"),
        ("SQLITE_NOTADB", StoreCorrupt, "SQLITE_NOTADB"),
        ("SQLITE_CORRUPT_INDEX", StoreCorrupt, "SQLITE_CORRUPT_INDEX"),
        ("SQLITE_ERROR", StoreCorrupt, "SQLITE_ERROR"),
    ],
)
def test_sqlite_s_codes(code: str, kind: type[StoreError], text: str) -> None:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
    translated = translate(error, Path("/x/towline.db"))
    assert type(translated) is kind
    assert text in str(translated)


def test_use_after_close_is_a_store_error(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.update([])


def test_notes_ride_with_the_next_update_and_with_close(path: Path) -> None:
    ready = msgspec.structs.replace(network(1), phase="ready")
    with closing(SqliteStore(path)) as store:
        store.note([Put(ready)])
        assert stored_phase(store) == "creating"
        store.update([])
        assert stored_phase(store) == "ready"
        store.note([SetMeta("k", "v")])
    with closing(SqliteStore(path)) as store:
        assert store.meta("k") == "v"


def stored_phase(store: SqliteStore) -> str:
    """As it is in the file: the default phase is not written."""
    [(value,)] = store._db.execute("SELECT value FROM objects WHERE kind = 'network'").fetchall()
    return "ready" if b'"phase":"ready"' in value else "creating"


def test_the_log_stays_bounded(path: Path) -> None:
    log = path.with_name("towline.db-wal")
    with closing(SqliteStore(path)) as store:
        longest = 0
        for number in range(1500):
            store.update([Put(network(number))])
            longest = max(longest, log.stat().st_size)
        assert longest < (CHECKPOINT_PAGES + 16) * (PAGE_BYTES + 24) + 32
        store.update([Delete(Network, network(number).id) for number in range(1500)])
        for number in range(CHECKPOINT_PAGES):
            store.update([Put(network(number))])
        assert log.stat().st_size <= LOG_BYTES
    assert not log.exists()


def test_a_second_process_is_refused(path: Path) -> None:
    script = "import sys, pathlib; from towline.store.sqlite import SqliteStore; SqliteStore(pathlib.Path(sys.argv[1]))"
    with closing(SqliteStore(path)) as store:
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert f"StoreError: store: {path} is in use by another process" in done.stderr
        store.update([])


def add_note(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE objects ADD COLUMN note TEXT")


def fill_note(db: sqlite3.Connection) -> None:
    db.execute("UPDATE objects SET note = 'old'")


KNOWN = MIGRATIONS[-1].version
NEWER = (*MIGRATIONS, Migration(KNOWN + 1, add_note), Migration(KNOWN + 2, fill_note))


def notes_in(path: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(objects)")]
        return db.execute("PRAGMA user_version").fetchone()[0], columns


def test_an_older_schema_is_copied_then_upgraded(path: Path) -> None:
    backup = path.with_name(f"towline.db.backup-v{KNOWN}")
    with closing(SqliteStore(path, migrations=NEWER)) as store:
        assert names(store) == ["net-1"]
        assert store._db.execute("SELECT DISTINCT note FROM objects").fetchall() == [("old",)]
    assert notes_in(path) == (KNOWN + 2, ["position", "kind", "id", "value", "note"])
    assert notes_in(backup) == (KNOWN, ["position", "kind", "id", "value"])
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(SqliteStore(backup)) as store:
        assert names(store) == ["net-1"]


def test_a_file_of_the_first_release_is_read_and_may_hold_the_cluster_s_records_then(path: Path) -> None:
    path.unlink()
    create_file(path, {}, MIGRATIONS[:1])
    with closing(SqliteStore(path, migrations=MIGRATIONS[:1])) as store:
        store.update([Put(network(1))])
    with closing(SqliteStore(path)) as store:
        store.update([Put(peer(1, network(1).id))])
    with closing(SqliteStore(path)) as store:
        assert (names(store), store.view().peer("p1")) == (["net-1"], peer(1, network(1).id))
    with pytest.raises(StoreError, match=f"has schema version {KNOWN}, this release knows 1") as caught:
        SqliteStore(path, migrations=MIGRATIONS[:1])
    assert not isinstance(caught.value, StoreCorrupt)


def test_a_failed_upgrade_leaves_the_step_before_it(path: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM objects")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="no space left"):
        SqliteStore(path, migrations=(*NEWER[:-1], Migration(KNOWN + 2, fail)))
    assert notes_in(path)[0] == KNOWN + 1
    with closing(SqliteStore(path, migrations=NEWER)) as store:
        assert names(store) == ["net-1"]
    assert notes_in(path.with_name(f"towline.db.backup-v{KNOWN + 1}"))[0] == KNOWN + 1


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path, migrations=NEWER).close()
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=f"has schema version {KNOWN + 2}, this release knows {KNOWN}: use the release"
    ) as caught:
        open_store(path.parent.parent)
    assert not isinstance(caught.value, StoreCorrupt)
    assert path.read_bytes() == before
