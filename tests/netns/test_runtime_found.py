"""Detached commands outlive the daemon, and the next one finds them: what it believes, and what it does not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.support.netns import Namespace
from tests.support.sandbox import COUNTS, PATIENCE, Sandboxes, end, host_mounts, python, said, wait_gone
from towline.model.sandbox import Process
from towline.runtime.identity import boot_id, started
from towline.runtime.launch import Launch
from towline.runtime.logread import follow_log
from towline.runtime.lookup import Exit
from towline.runtime.watch import Watch

DAEMON = """
import asyncio, os, signal, sys
from towline.runtime.launch import read_launch
from towline.runtime.supervise import Supervisor
async def main():
    launch = read_launch(0)
    pending = await Supervisor(*sys.argv[2:]).prepare(launch)
    if sys.argv[1] == "go":
        await pending.go()
    print(pending.process.pid, pending.process.started, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


SHARED = ("unshare", "--mount", "--propagation", "shared")
"""As systemd sets up a host: what is mounted in a copy is mounted in the original too, unless something prevents it."""


@pytest.fixture
def box(ns: Namespace, tmp_path: Path) -> Iterator[Sandboxes]:
    mounts = host_mounts()
    yield Sandboxes(tmp_path, ns.path)
    assert host_mounts() == mounts


def daemon(box: Sandboxes, launch: Launch, how: str) -> Process:
    """Another process starts it and is killed, as a daemon would be; the store remembers this."""
    command = [sys.executable, "-c", DAEMON, how, box.exec_root, box.data_root]
    done = subprocess.run(command, input=launch.encode(), stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL
    return Process(*map(int, done.stdout.split()))


async def test_it_lives_on_and_is_found_again(box: Sandboxes) -> None:
    process = daemon(box, box.launch(*python(COUNTS)), "go")
    watch = box.supervisor.attach("ab12", process)
    assert isinstance(watch, Watch)
    answers = {b"ready\n": signal.SIGINT, b"interrupted\n": signal.SIGTERM}
    texts: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        async for entry in follow_log(box.supervisor.log("ab12"), watch.exit):
            texts.append(entry.text)
            if entry.text in answers:
                watch.signal(answers[entry.text])
    assert texts == [b"ready\n", b"interrupted\n", b"count 1\n"]
    assert (await watch.ended()).code == 5


async def test_mounts_do_not_leak_where_they_are_shared(box: Sandboxes) -> None:
    fifo = box.root / "fifo"
    os.mkfifo(fifo)
    script = "\n".join(
        [
            'exec 3>$1; "$2" -c "$3" go "$4" "$5" <&0 || true',
            "exec cat /etc/hosts /proc/self/mounts >&3",
        ]
    )
    arguments = [str(fifo), sys.executable, DAEMON, box.exec_root, box.data_root]
    host = subprocess.Popen(
        [*SHARED, "sh", "-c", script, "sh", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert host.stdin is not None
    host.stdin.write(box.shell("cat /etc/hosts; exec sleep 1000").encode())
    host.stdin.close()
    seen = await asyncio.to_thread(fifo.read_text)
    assert host.stdout is not None
    process = Process(*map(int, host.stdout.read().split()))
    host.wait()
    host.stdout.close()
    watch = box.supervisor.attach("ab12", process)
    assert isinstance(watch, Watch)
    await said(box)
    await end(watch)
    assert seen.startswith(Path("/etc/hosts").read_text())
    assert " /etc/hosts " not in seen
    assert box.output() == "192.0.2.7\tbox\n"


async def test_it_ended_while_nobody_looked(box: Sandboxes) -> None:
    process = daemon(box, box.shell("exit 6"), "go")
    found = box.supervisor.attach("ab12", process)
    done = await asyncio.wait_for(found.ended(), PATIENCE) if isinstance(found, Watch) else found
    assert (done.code, done.recorded) == (6, True)
    assert box.supervisor.attach("ab12", process) == done
    other = box.supervisor.attach("ab12", Process(process.pid, process.started + 1))
    assert isinstance(other, Exit)
    assert not other.recorded


async def test_a_daemon_that_ends_before_the_word(box: Sandboxes) -> None:
    process = daemon(box, box.shell("echo run"), "prepare")
    wait_gone(process.pid, process.started)
    found = box.supervisor.attach("ab12", process)
    done = await asyncio.wait_for(found.ended(), PATIENCE) if isinstance(found, Watch) else found
    assert (done.code, done.recorded) == (255, False)
    assert box.output() == ""


@pytest.fixture
def bystander() -> Iterator[Process]:
    """A process of somebody else."""
    process = subprocess.Popen(["sleep", "1000"])
    yield Process(process.pid, started(process.pid) or 0)
    process.kill()
    process.wait()


def write_record(box: Sandboxes, boot: str, shim: Process, command: Process) -> None:
    state = Path(box.supervisor.state("ab12"))
    state.mkdir(parents=True, exist_ok=True)
    record = {"boot": boot, "shim": structs.asdict(shim), "command": structs.asdict(command)}
    (state / "process").write_text(json.dumps(record))


async def test_the_machine_was_restarted(box: Sandboxes, bystander: Process) -> None:
    """Another process has the same pid and start time. The run directory is empty, or it is on a disk."""
    emptied = box.supervisor.attach("ab12", bystander)
    write_record(box, "another", bystander, bystander)
    kept = box.supervisor.attach("ab12", bystander)
    for found in (emptied, kept):
        assert isinstance(found, Exit)
        assert (found.code, found.recorded) == (255, False)
    assert started(bystander.pid) == bystander.started


async def test_a_record_names_the_boot_of_the_machine(box: Sandboxes) -> None:
    await box.run(box.shell("exit 3"))
    path = Path(box.supervisor.state("ab12"), "process")
    record = json.loads(path.read_text())
    assert record["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    command = Process(**record["command"])
    found = box.supervisor.attach("ab12", command)
    assert isinstance(found, Exit)
    assert (found.code, found.recorded) == (3, True)
    path.write_text(json.dumps({**record, "boot": record["boot"][::-1]}))
    found = box.supervisor.attach("ab12", command)
    assert isinstance(found, Exit)
    assert (found.code, found.recorded) == (255, False)


async def test_a_command_that_outlived_its_shim_is_killed(box: Sandboxes, bystander: Process) -> None:
    write_record(box, boot_id(), Process(bystander.pid, 1), bystander)
    found = box.supervisor.attach("ab12", bystander)
    assert isinstance(found, Exit)
    wait_gone(bystander.pid, bystander.started)


async def test_a_process_that_is_not_ours_is_followed_and_left_alone(box: Sandboxes, bystander: Process) -> None:
    watch = box.supervisor.attach("ab12", bystander, foreign=True)
    assert isinstance(watch, Watch)
    box.supervisor.forget("ab12")
    assert started(bystander.pid) == bystander.started
    watch.signal(signal.SIGKILL)
    done = await asyncio.wait_for(watch.ended(), PATIENCE)
    assert (done.code, done.recorded) == (255, False)


async def test_a_pid_that_is_now_a_thread(box: Sandboxes) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    Path(box.supervisor.state("ab12")).mkdir(parents=True)
    found = box.supervisor.attach("ab12", Process(thread.native_id or 0, 1))
    done.set()
    thread.join()
    assert isinstance(found, Exit)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 1}', "\0" * 4096])
async def test_a_damaged_record_is_as_none(box: Sandboxes, bystander: Process, text: str) -> None:
    write_record(box, boot_id(), bystander, bystander)
    Path(box.supervisor.state("ab12"), "process").write_text(text)
    found = box.supervisor.attach("ab12", bystander)
    assert isinstance(found, Watch)
    found.close()
    assert started(bystander.pid) == bystander.started
