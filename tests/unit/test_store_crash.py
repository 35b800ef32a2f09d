"""SIGKILL at every point: no acknowledged update is lost, and setting a damaged file aside loses nothing."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.faulty_store import FaultyStore, kill_this_process
from tests.support.store_conformance import network
from towline.store.contract import META_SWEEP, SWEEP_SUSPENDED, Put
from towline.store.open import open_store

ROUNDS = 4
STEPS = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "sqlite3.connect"}


def forked(child: Callable[[], None]) -> int:
    """Run `child` in a forked process that ends there; answers its pid. Exit status 0 only if `child` returned."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        finally:
            os._exit(status)
    return pid


def killed(pid: int) -> bool:
    """Whether it died of SIGKILL; anything but that or success fails the test."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_every_acknowledged_update_is_there_after_sigkill(tmp_path: Path) -> None:
    """The oracle is a pipe: the child says a number only after its update returned."""
    said = 0
    for round_ in range(1, ROUNDS + 1):
        reader, writer = os.pipe()

        def write_for_ever(first: int = said + 1, pipe: int = writer) -> None:
            store = open_store(tmp_path).store
            for number in range(first, first + 100_000):
                store.update([Put(network(number)), Put(network(1_000_000 + number))])
                os.write(pipe, number.to_bytes(4, "big"))

        pid = forked(write_for_ever)
        os.close(writer)
        heard = b""
        while len(heard) < 4 * 37 * round_:
            assert select.select([reader], [], [], 30)[0]
            heard += os.read(reader, 4096)
        os.kill(pid, signal.SIGKILL)
        while more := os.read(reader, 4096):
            heard += more
        os.close(reader)
        assert killed(pid)
        said = int.from_bytes(heard[-4:], "big")
        with closing(open_store(tmp_path).store) as store:
            view = store.view()
            last = said if view.revision == said else said + 1
            assert view.revision == last
            assert {n.id for n in view.networks()} == {
                network(base + number).id for number in range(1, last + 1) for base in (0, 1_000_000)
            }
            said = last


@pytest.mark.parametrize(("moment", "expected"), [("before", ["net-1"]), ("after", ["net-1", "net-2"])])
def test_a_hook_kills_the_process_around_an_update(tmp_path: Path, moment: str, expected: list[str]) -> None:
    def child() -> None:
        store = FaultyStore(open_store(tmp_path).store)
        (store.before if moment == "before" else store.after)(2, kill_this_process)
        for number in (1, 2, 3):
            store.update([Put(network(number))])

    assert killed(forked(child))
    with closing(open_store(tmp_path).store) as store:
        assert [n.name for n in store.view().networks()] == expected


def open_and_die_at(root: Path, step: int) -> bool:
    """Open the store in a child that is killed at its nth file operation; False if it got to the end before."""

    def child() -> None:
        left = step

        def audit(event: str, _: tuple[object, ...]) -> None:
            nonlocal left
            if event in STEPS:
                left -= 1
                if left < 0:
                    kill_this_process()

        sys.addaudithook(audit)
        open_store(root)

    return killed(forked(child))


def damaged_root(root: Path) -> None:
    """A store with two networks in its log, as after a crash, and an unknown record."""

    def child() -> None:
        store = open_store(root).store
        store.update([Put(network(1))])
        store.update([Put(network(2))])
        store._db.execute("INSERT INTO objects (kind, id, value) VALUES ('network', 'x', x'00')")
        kill_this_process()

    assert killed(forked(child))
    path = root / "store" / "towline.db"
    assert path.with_name("towline.db-wal").stat().st_size > 0
    assert b"net-2" not in path.read_bytes()


def test_sigkill_at_every_step_of_setting_aside(tmp_path: Path) -> None:
    """What the log held is in what was set aside: SQLite moves it into the file when it closes it."""
    step, died = 0, True
    while died:
        root = tmp_path / str(step)
        damaged_root(root)
        died = open_and_die_at(root, step)
        with closing(open_store(root).store) as store:
            assert (store.view().networks(), store.meta(META_SWEEP)) == ([], SWEEP_SUSPENDED)
        [aside] = (root / "store").glob("towline.db.corrupt-*Z")
        with closing(sqlite3.connect(aside)) as db:
            assert len(db.execute("SELECT id FROM objects WHERE kind = 'network'").fetchall()) == 3
        step += 1
    assert step > 8


def test_sigkill_at_every_step_of_a_first_start(tmp_path: Path) -> None:
    step, died = 0, True
    while died:
        root = tmp_path / str(step)
        died = open_and_die_at(root, step)
        store, set_aside = open_store(root)
        with closing(store):
            assert (set_aside, store.meta(META_SWEEP), store.view().revision) == (None, None, 0)
        step += 1
    assert step > 8
