"""Processes held by pidfd: the same one or none, whatever happens to the pid."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kernel import process
from towline.kernel.process import netns_path, open_process, open_same, parse_stat
from towline.model.errors import NotAProcess, ProcessGone
from towline.model.sandbox import Process

STAT = b"%d (%s) %s 1 2 3 4 5 %d " + b"0 " * 12 + b"%d 0 0"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    made = subprocess.Popen(["sleep", "60"])
    yield made
    made.kill()
    made.wait()


async def test_a_process_is_held_until_it_ends(child: subprocess.Popen[bytes]) -> None:
    found = open_process(child.pid)
    assert (found.process.pid, found.alive()) == (child.pid, True)
    waiting = asyncio.create_task(found.wait_exit())
    await asyncio.sleep(0)
    assert not waiting.done()
    child.kill()
    await asyncio.wait_for(waiting, 10)
    assert not found.alive()
    await asyncio.wait_for(found.wait_exit(), 10)
    with pytest.raises(ProcessGone):
        open_process(child.pid)  # a zombie
    child.wait()
    with pytest.raises(ProcessGone, match=f"no process {child.pid}"):
        open_same(found.process)
    found.close()


async def test_waiting_may_be_cancelled(child: subprocess.Popen[bytes]) -> None:
    found = open_process(child.pid)
    waiting = asyncio.create_task(found.wait_exit())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not asyncio.get_running_loop().remove_reader(found.fileno())
    found.close()


def test_the_start_time_tells_a_reused_pid(child: subprocess.Popen[bytes]) -> None:
    found = open_process(child.pid)
    same = open_same(found.process)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ProcessGone, match="another one has its pid"):
        open_same(Process(child.pid, found.process.started + 1))
    assert len(os.listdir("/proc/self/fd")) == before
    found.close()
    same.close()


def test_the_start_time_is_the_systems(child: subprocess.Popen[bytes]) -> None:
    text = subprocess.run(["cat", f"/proc/{child.pid}/stat"], capture_output=True, check=True).stdout
    found = open_process(child.pid)
    assert found.process.started == int(text.split()[21])
    found.close()


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**20])
def test_what_is_no_pid_is_refused(pid: int) -> None:
    with pytest.raises(NotAProcess, match=str(pid)):
        open_process(pid)


def test_a_pid_that_nobody_has() -> None:
    with pytest.raises(ProcessGone):
        open_process(2**22 + 7)


def test_a_thread_is_no_process() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert thread.native_id is not None
    with pytest.raises(NotAProcess, match="thread"):
        open_process(thread.native_id)
    stop.set()
    thread.join()


def test_a_kernel_thread_is_refused(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_read", lambda _path: STAT % (child.pid, b"kworker/0:1", b"S", 0x00208040, 77))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotAProcess, match="kernel thread"):
        open_process(child.pid)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_ends_while_it_is_looked_at(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What /proc said then may be of the next process with this pid."""

    def read(_path: str) -> bytes:
        child.kill()
        child.wait()
        return STAT % (child.pid, b"other", b"R", 0, 77)

    monkeypatch.setattr(process, "_read", read)
    with pytest.raises(ProcessGone):
        open_process(child.pid)


def test_the_namespace_is_the_process_own(child: subprocess.Popen[bytes]) -> None:
    assert os.readlink(netns_path(child.pid)) == os.readlink("/proc/self/ns/net")


@given(st.binary(max_size=15), st.sampled_from("RSDZTtXI"), st.integers(0, 2**32 - 1), st.integers(0, 2**63))
def test_a_name_may_hold_anything(name: bytes, state: str, flags: int, started: int) -> None:
    assert parse_stat(STAT % (7, name, state.encode(), flags, started)) == (state, flags, started)


@given(st.binary(max_size=300))
def test_no_garbage_breaks_the_parser(data: bytes) -> None:
    parse_stat(data)


def test_our_own_process() -> None:
    found = open_process(os.getpid())
    assert found.alive()
    found.close()
