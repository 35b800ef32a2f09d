"""Opening a data root: fresh, sound, damaged in every way, or not readable at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.store_conformance import network
from towline.model.errors import StoreCorrupt, StoreError
from towline.store import codec
from towline.store.contract import META_SWEEP, SWEEP_SUSPENDED, Delete, Put, SetMeta
from towline.store.open import open_store
from towline.store.sqlite import SqliteStore

NETWORKS = [network(number, link=f"br-{number}") for number in range(120)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root whose store holds NETWORKS over many pages, some of them freed, closed cleanly."""
    with closing(open_store(tmp_path).store) as store:
        store.update([Put(n) for n in NETWORKS])
        store.update([Put(network(number)) for number in range(500, 600)])
        store.update([Delete(type(NETWORKS[0]), network(number).id) for number in range(500, 600)])
    return tmp_path


def file_of(root: Path) -> Path:
    return root / "store" / "towline.db"


def listing(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "store").iterdir())


def test_fresh_sound_and_absent_again(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    store, set_aside = open_store(root)
    assert (set_aside, store.meta(META_SWEEP), store.update([Put(network(1))])) == (None, None, 1)
    store.close()
    assert listing(root) == ["towline.db"]
    store, set_aside = open_store(root)
    assert (set_aside, list(store.view().networks())) == (None, [network(1)])
    store.close()
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "a", root, root / "store")] == ["0o700"] * 3


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def cut_the_header(path: Path) -> None:
    os.truncate(path, 50)


def spoil_the_header(path: Path) -> None:
    overwrite(path, 0, b"not a database, sorry")


def spoil_the_schema(path: Path) -> None:
    overwrite(path, 100, b"\xff" * 200)


def flip_a_bit_in_a_name(path: Path) -> None:
    data = path.read_bytes()
    offset = data.index(b'"net-77"') + 1
    overwrite(path, offset, bytes([data[offset] ^ 1]))


def zero_a_page(path: Path) -> None:
    overwrite(path, 4 * 4096, bytes(4096))


def spoil_a_record(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE objects SET value = x'ff00' WHERE kind = 'network' AND id = ?", (network(3).id,))


def spoil_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE objects SET id = CAST(x'ff' AS TEXT) WHERE id = ?", (network(3).id,))


def unknown_kind(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO objects (kind, id, value) VALUES ('pod', 'x', ?)", (codec.encode("x", "y"),))


def drop_the_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE objects")


def forget_the_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 0")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (empty, "the file is empty"),
    (halve, "malformed"),
    (cut_in_a_page, "malformed"),
    (cut_the_header, "malformed"),
    (spoil_the_header, "not a database"),
    (spoil_the_schema, "malformed"),
    (flip_a_bit_in_a_name, f"record 'network {network(77).id}' fails its checksum"),
    (zero_a_page, "integrity check: "),
    (spoil_a_record, f"record 'network {network(3).id}' is cut short"),
    (spoil_text, "UTF-8"),
    (unknown_kind, "record 'pod x' fails its checksum"),
    (drop_the_table, "no such table"),
    (forget_the_version, "no schema"),
]


@pytest.mark.parametrize(("damage", "what"), DAMAGE, ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_file_is_set_aside(root: Path, damage: Callable[[Path], None], what: str) -> None:
    path = file_of(root)
    damage(path)
    before = path.read_bytes()
    store, set_aside = open_store(root)
    with closing(store):
        assert list(store.view().networks()) == []
        assert store.meta(META_SWEEP) == SWEEP_SUSPENDED
        store.update([Put(network(1))])
    [aside] = path.parent.glob("towline.db.corrupt-*")
    assert set_aside is not None
    assert what in set_aside
    assert str(path) in set_aside
    assert str(aside) in set_aside
    assert "towline doctor --fix" in set_aside
    assert aside.read_bytes() == before
    assert (aside.stat().st_mode & 0o777, listing(root)) == (0o600, ["towline.db", aside.name])
    store, set_aside = open_store(root)
    with closing(store):
        assert (set_aside, len(store.view().networks()), store.meta(META_SWEEP)) == (None, 1, SWEEP_SUSPENDED)
        store.update([SetMeta(META_SWEEP, None)])


def test_each_damaged_file_keeps_its_own_name(root: Path) -> None:
    for _ in range(3):
        spoil_the_header(file_of(root))
        open_store(root).store.close()
    assert len(list(file_of(root).parent.glob("towline.db.corrupt-*"))) == 3


def test_a_file_put_back_is_used_again(root: Path) -> None:
    good = file_of(root).read_bytes()
    spoil_the_header(file_of(root))
    open_store(root).store.close()
    file_of(root).write_bytes(good)
    with closing(open_store(root).store) as store:
        assert (store.view().networks(), store.meta(META_SWEEP)) == (NETWORKS, None)


def sound_bytes() -> bytes:
    with TemporaryDirectory() as directory:
        with closing(open_store(Path(directory)).store) as store:
            store.update([Put(n) for n in NETWORKS])
        return file_of(Path(directory)).read_bytes()


SOUND = sound_bytes()
_flips = st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(1, 255)), min_size=1, max_size=8)
_header_flips = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 255)), min_size=1, max_size=2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(_flips, _header_flips), st.one_of(st.none(), st.integers(0, len(SOUND))))
def test_no_damage_ever_changes_what_is_read(flips: list[tuple[int, int]], length: int | None) -> None:
    """Flipped and cut files are read unchanged, or set aside, or refused with the file left alone; never half read."""
    data = bytearray(SOUND)
    for offset, flip in flips:
        data[offset] ^= flip
    with TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "store").mkdir()
        file_of(root).write_bytes(data[:length])
        try:
            store, set_aside = open_store(root)
        except StoreCorrupt:
            raise
        except StoreError:
            assert listing(root) == ["towline.db"]
            return
        with closing(store):
            if set_aside is None:
                assert store.view().networks() == NETWORKS
            else:
                assert (store.view().networks(), store.meta(META_SWEEP)) == ([], SWEEP_SUSPENDED)


def test_companions_without_their_file_go_where_it_went(root: Path) -> None:
    aside = file_of(root).with_name("towline.db.corrupt-20250101T000000.000000Z")
    file_of(root).rename(aside)
    file_of(root).with_name("towline.db-wal").write_bytes(b"log")
    with closing(open_store(root).store) as store:
        assert store.meta(META_SWEEP) == SWEEP_SUSPENDED
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"log"


def test_a_log_whose_file_is_lost_is_kept_and_sweeping_waits(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    file_of(tmp_path).with_name("towline.db-wal").write_bytes(b"log")
    with closing(open_store(tmp_path).store) as store:
        assert store.meta(META_SWEEP) == SWEEP_SUSPENDED
    [log] = file_of(tmp_path).parent.glob("towline.db.corrupt-*-wal")
    assert log.read_bytes() == b"log"


def test_an_unfinished_first_start_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for suffix in ("", "-wal", "-journal"):
        file_of(tmp_path).with_name(f"towline.db.new{suffix}").write_bytes(b"half")
    store, set_aside = open_store(tmp_path)
    store.close()
    assert (set_aside, listing(tmp_path)) == (None, ["towline.db"])


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root ignores modes: become nobody for a while. Others are unprivileged already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_root(root: Path) -> Iterator[Path]:
    """A sound data root that the unprivileged user owns, outside pytest's private directories."""
    with TemporaryDirectory() as directory:
        shared = Path(directory) / "root"
        shutil.copytree(root, shared)
        if os.geteuid() == 0:
            os.chmod(directory, 0o755)
            for path in (shared, shared / "store", file_of(shared)):
                os.chown(path, 65534, 65534)
        yield shared
        os.chmod(shared / "store", 0o700)


def test_a_file_without_permission_is_not_damage(shared_root: Path) -> None:
    for mode in (0, 0o400):
        os.chmod(file_of(shared_root), mode)
        with unprivileged(), pytest.raises(StoreError, match="cannot read and write") as caught:
            open_store(shared_root)
        assert not isinstance(caught.value, StoreCorrupt)
        assert listing(shared_root) == ["towline.db"]
    os.chmod(file_of(shared_root), 0o600)
    with unprivileged(), closing(open_store(shared_root).store) as store:
        assert store.view().networks() == NETWORKS


def test_a_directory_without_permission_is_not_damage(shared_root: Path) -> None:
    for mode in (0, 0o500):
        os.chmod(shared_root / "store", mode)
        with unprivileged(), pytest.raises(StoreError) as caught:
            open_store(shared_root)
        assert not isinstance(caught.value, StoreCorrupt)
        assert str(file_of(shared_root)) in str(caught.value)
    os.chmod(shared_root / "store", 0o700)
    with unprivileged(), closing(open_store(shared_root).store) as store:
        assert store.view().networks() == NETWORKS


def test_a_damaged_file_that_cannot_be_moved_stays(root: Path) -> None:
    spoil_a_record(file_of(root))
    before = file_of(root).read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(StoreError, match=r"is damaged \(.*\) and cannot be set aside"):
            open_store(root)
    assert file_of(root).read_bytes() == before


def test_a_data_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("x")
    with pytest.raises(StoreError, match="not a directory"):
        open_store(tmp_path / "root")


def test_opening_what_is_not_there_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="absent.db: no such file or directory"):
        SqliteStore(tmp_path / "absent.db")
    assert list(tmp_path.iterdir()) == []
