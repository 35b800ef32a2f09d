"""The log of a detached command: whole lines, bounded size, tail, follow over rotations, a full disk."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.runtime.logread import Entry, follow_log, parse_entry, read_log
from towline.runtime.output import PART, LogFile, Stream, entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.text) for entry in entries]


def write(log: LogFile, *texts: bytes) -> None:
    for text in texts:
        log.write(entry(b"stdout", text))


def test_the_format(path: Path) -> None:
    log = LogFile(str(path))
    Stream(b"stderr", log).feed(b"one\n\xff two\n")
    lines = path.read_bytes().splitlines()
    assert all(re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stderr F .*", line) for line in lines)
    assert [e.text for e in read_log(str(path))] == [b"one\n", b"\xff two\n"]
    assert path.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.binary(max_size=64) | st.just(b"x" * (PART + 3)), max_size=20), st.integers(0, 40))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], n: int
) -> None:
    path = str(tmp_path_factory.mktemp("log") / "log")
    stream = Stream(b"stdout", LogFile(path))
    for chunk in chunks:
        stream.feed(chunk)
    stream.end()
    found = list(read_log(path))
    written = b"".join(chunks)
    assert b"".join(e.text for e in found) == written + (b"" if written.endswith(b"\n") or not written else b"\n")
    assert all(len(e.text) <= PART + 1 for e in found)
    assert list(read_log(path, tail=n)) == (found[-n:] if n else [])


def test_streams_keep_their_own_unfinished_lines(path: Path) -> None:
    log = LogFile(str(path))
    out, err = Stream(b"stdout", log), Stream(b"stderr", log)
    out.feed(b"ou")
    err.feed(b"err\n")
    out.feed(b"t\nlast")
    out.end()
    assert [(e.stream, e.text) for e in read_log(str(path))] == [
        ("stderr", b"err\n"),
        ("stdout", b"out\n"),
        ("stdout", b"last\n"),
    ]


def test_two_files_are_the_bound(path: Path) -> None:
    log = LogFile(str(path), limit=1000)
    write(log, *(b"%d" % number for number in range(500)))
    older = path.with_name("log.1")
    assert 900 < older.stat().st_size <= 1000
    assert 0 < path.stat().st_size <= 1000
    assert sorted(p.name for p in path.parent.iterdir()) == ["log", "log.1"]
    kept = numbers(list(read_log(str(path))))
    assert kept == list(range(kept[0], 500))
    assert len(kept) > 20
    for tail in (0, 1, 5, 30, 1000):
        assert numbers(list(read_log(str(path), tail=tail))) == (kept[-tail:] if tail else [])


def test_a_log_goes_on_after_a_restart(path: Path) -> None:
    write(LogFile(str(path), limit=1000), b"1")
    write(LogFile(str(path), limit=1000), b"2")
    assert numbers(list(read_log(str(path)))) == [1, 2]


def test_since(path: Path) -> None:
    write(LogFile(str(path)), b"1", b"2", b"3")
    moment = list(read_log(str(path)))[1].time
    assert numbers(list(read_log(str(path), since=moment))) == [2, 3]


def test_no_log_and_foreign_lines(path: Path) -> None:
    assert list(read_log(str(path))) == []
    path.write_bytes(b"\n\nhello\na b c d\nt stdout F x\nhalf")
    assert [e.text for e in read_log(str(path))] == [b"x\n"]
    assert [e.text for e in read_log(str(path), tail=9)] == [b"x\n"]
    assert parse_entry(b"") is None


def test_a_full_disk_loses_output_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(path))
    write(log, b"before")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    write(log, b"lost")
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    write(log, b"cut")
    monkeypatch.undo()
    write(log, b"after")
    first, notice, last = read_log(str(path))
    assert (first.text, last.text) == (b"before\n", b"after\n")
    lost = len(entry(b"stdout", b"lost") + entry(b"stdout", b"cut"))
    assert (notice.stream, notice.text) == ("stderr", b"towline: %d bytes of log lost (disk full?)\n" % lost)


def test_a_rotation_that_fails_half_way_is_made_up_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(path), limit=100)
    write(log, b"1", b"2")
    with monkeypatch.context() as fault:
        fault.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        write(log, b"3", b"4")
    assert not path.exists()
    write(log, b"5")
    assert [e.text for e in read_log(str(path)) if e.stream == "stdout"] == [b"1\n", b"2\n", b"5\n"]


class Follow:
    """A follower in the background."""

    def __init__(self, path: Path, **how: int) -> None:
        self.ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.entries: AsyncIterator[Entry] = follow_log(str(path), self.ended, tail=how.get("tail"))

    async def take(self, count: int) -> list[int]:
        return [int((await asyncio.wait_for(anext(self.entries), 20)).text) for _ in range(count)]

    async def rest(self) -> list[int]:
        return [int(entry.text) async for entry in self.entries]


async def test_follow_sees_the_past_the_present_and_the_end(path: Path) -> None:
    log = LogFile(str(path))
    write(log, b"0", b"1", b"2")
    follow = Follow(path, tail=2)
    assert await follow.take(2) == [1, 2]
    waiting = asyncio.ensure_future(follow.take(1))
    await asyncio.sleep(0)
    write(log, b"3")
    assert await waiting == [3]
    write(log, b"4")
    follow.ended.set_result(None)
    assert await follow.rest() == [4]


async def test_follow_begins_before_the_log(path: Path) -> None:
    follow = Follow(path)
    waiting = asyncio.ensure_future(follow.take(1))
    await asyncio.sleep(0)
    write(LogFile(str(path)), b"1")
    assert await waiting == [1]


async def test_follow_loses_nothing_over_rotations(path: Path) -> None:
    log = LogFile(str(path), limit=1000)
    write(log, b"0")
    follow = Follow(path)
    found = await follow.take(1)
    for start in range(1, 300, 15):  # each round is less than a file
        write(log, *(b"%d" % number for number in range(start, start + 15)))
        found += await follow.take(15)
    assert found == list(range(len(found)))
    assert path.with_name("log.1").exists()


async def test_a_half_written_line_is_not_shown_before_it_is_whole(path: Path) -> None:
    whole, half = entry(b"stdout", b"1"), entry(b"stdout", b"2")
    path.write_bytes(whole + half[:20])
    assert numbers(list(read_log(str(path)))) == [1]
    assert numbers(list(read_log(str(path), tail=5))) == [1]
    follow = Follow(path)
    assert await follow.take(1) == [1]
    with path.open("ab") as file:
        file.write(half[20:])
    assert await follow.take(1) == [2]


async def test_descriptors_are_given_back(path: Path) -> None:
    write(LogFile(str(path)), b"1")
    before = len(os.listdir("/proc/self/fd"))
    follow = Follow(path)
    assert await follow.take(1) == [1]
    follow.ended.set_result(None)
    assert await follow.rest() == []
    assert len(os.listdir("/proc/self/fd")) == before
