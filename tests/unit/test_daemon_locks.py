"""One daemon per data root and process id file; locks die with their process, whatever file it leaves."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from towline.daemon.locks import lock_data_root, lock_pidfile, make_directories
from towline.model.errors import Failure


def in_child(hold: Path) -> int:
    """A child that locks data root `hold` and waits to be killed; answers its process id when the lock is held."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock_data_root(str(hold))
            os.write(writer, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    os.close(reader)
    return pid


def test_second_on_a_data_root_is_refused_by_name_and_process(tmp_path: Path) -> None:
    held = lock_data_root(str(tmp_path))
    with pytest.raises(Failure) as caught:
        lock_data_root(str(tmp_path))
    assert f"data root {tmp_path} is in use by another towlined (process {os.getpid()})" in str(caught.value)
    assert "--data-root" in str(caught.value)
    held.release()
    lock_data_root(str(tmp_path)).release()
    assert list(tmp_path.iterdir()) == []


def test_killed_holder_leaves_a_file_that_does_not_bar(tmp_path: Path) -> None:
    pid = in_child(tmp_path)
    with pytest.raises(Failure, match=f"process {pid}"):
        lock_data_root(str(tmp_path))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "towlined.lock").read_text() == f"{pid}\n"
    held = lock_data_root(str(tmp_path))
    assert (tmp_path / "towlined.lock").read_text() == f"{os.getpid()}\n"
    held.release()


def test_pidfile_replaces_a_stale_one_even_if_its_process_id_lives(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "towlined.pid"
    path.parent.mkdir()
    path.write_text("1\nand more than a process id")
    held = lock_pidfile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(Failure, match=rf"{path} belongs to a running towlined \(process {os.getpid()}\)"):
        lock_pidfile(str(path))
    held.release()
    assert not path.exists()


def test_pidfile_of_another_is_left_alone_at_release(tmp_path: Path) -> None:
    path = tmp_path / "towlined.pid"
    held = lock_pidfile(str(path))
    path.unlink()
    path.write_text("4711\n")
    held.release()
    assert path.read_text() == "4711\n"


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match=r"cannot write process id file .*/file/x.pid"):
        lock_pidfile(str(tmp_path / "file" / "x.pid"))
    with pytest.raises(Failure, match=r"cannot lock data root .*/none"):
        lock_data_root(str(tmp_path / "none"))
    with pytest.raises(Failure, match="file exists and is not a directory"):
        make_directories(str(tmp_path / "file"), str(tmp_path / "run"))
    with pytest.raises(Failure, match=r"cannot make directory .*/file/data"):
        make_directories(str(tmp_path / "file" / "data"), str(tmp_path / "run"))


def test_directories_are_private_and_existing_ones_keep_their_mode(tmp_path: Path) -> None:
    data, run, old = tmp_path / "a" / "data", tmp_path / "b" / "run", tmp_path / "old"
    make_directories(str(data), str(run))
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE(run.stat().st_mode) == 0o711
    old.mkdir(mode=0o755)
    old.chmod(0o755)
    make_directories(str(old), str(run))
    assert stat.S_IMODE(old.stat().st_mode) == 0o755
