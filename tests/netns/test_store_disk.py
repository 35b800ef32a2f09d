"""The store on a real full file system and a real read-only one. Needs root: each test mounts a tiny tmpfs."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.store_conformance import network
from towline.model.errors import StoreCorrupt, StoreError
from towline.store.contract import Delete, Put
from towline.store.open import open_store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Two MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "towline-test", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def test_a_full_disk_fails_by_name_keeps_the_view_and_heals(disk: Path) -> None:
    batch = [Put(network(number)) for number in range(2, 200)]
    with closing(open_store(disk).store) as store:
        store.update([Put(network(1))])
        ballast = fill(disk)
        for _ in range(3):
            with pytest.raises(
                StoreError, match=r"^store: disk full: cannot write .*towline.db; free space and retry$"
            ):
                store.update(batch)
            assert (store.view().revision, store.view().networks()) == (1, [network(1)])
        ballast.unlink()
        assert store.update(batch, expect=1) == 2
    with closing(open_store(disk).store) as store:
        assert len(store.view().networks()) == 199


def test_a_full_disk_under_steady_work_loses_nothing_that_was_acknowledged(disk: Path) -> None:
    """Until the disk is full, and again after space came back, with checkpoints in between."""
    kept: set[str] = set()
    with closing(open_store(disk).store) as store:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(512 * 1024))

        def fill_up() -> None:
            for number in itertools.count(1):
                store.update([Put(network(number))])
                kept.add(network(number).id)

        with pytest.raises(StoreError, match="disk full"):
            fill_up()
        assert len(kept) > 500
        ballast.unlink()
        store.update([Delete(type(network(1)), network(1).id)])
        kept.discard(network(1).id)
        assert {n.id for n in store.view().networks()} == kept
    with closing(open_store(disk).store) as store:
        assert {n.id for n in store.view().networks()} == kept


def test_a_first_start_on_a_full_disk_is_refused_and_works_later(disk: Path) -> None:
    ballast = fill(disk)
    with pytest.raises(StoreError) as caught:
        open_store(disk)
    assert not isinstance(caught.value, StoreCorrupt)
    ballast.unlink()
    open_store(disk).store.close()


def test_a_read_only_mount_is_refused_and_nothing_is_moved(disk: Path) -> None:
    with closing(open_store(disk).store) as store:
        store.update([Put(network(1))])
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreError, match="check its permissions and its mount") as caught:
        open_store(disk)
    assert not isinstance(caught.value, StoreCorrupt)
    assert [path.name for path in (disk / "store").iterdir()] == ["towline.db"]
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    with closing(open_store(disk).store) as store:
        assert store.view().networks() == [network(1)]
