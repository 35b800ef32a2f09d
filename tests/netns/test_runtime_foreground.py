"""Foreground sandboxes: terminal, signals, exit codes; exec beside a running command; found by the daemon's side."""

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
from typing import Any

import pytest
from msgspec import structs

from tests.support.netns import Namespace
from tests.support.sandbox import PATIENCE, Sandboxes, end, host_mounts, python, wait_gone
from towline.model.sandbox import Process
from towline.runtime.identity import boot_id, started
from towline.runtime.launch import Launch
from towline.runtime.logread import follow_log
from towline.runtime.lookup import Exit
from towline.runtime.watch import Watch

FOREGROUND = """
import sys
from towline.runtime.launch import read_launch
from towline.runtime.foreground import Foreground
import os
fd = int(sys.argv[1])
launch = read_launch(fd)
os.close(fd)
inside = Foreground(launch)
sys.exit(inside.run())
"""
EXEC = """
import sys
from towline.runtime.foreground import exec_in
from towline.model.errors import TowlineError
pid, started, *command = sys.argv[1:]
try:
    code = exec_in("ab12", int(pid), int(started), tuple(command), ("PATH=/usr/bin:/bin", "X=y"), "/tmp")
except TowlineError as error:
    sys.exit(f"{type(error).__name__}: {error}")
sys.exit(code)
"""
COUNTS = """
import os, signal
count = 0
def interrupted(*_):
    global count
    count += 1
    print("interrupted")
def finish(*_):
    print("count", count)
    os._exit(5)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, finish)
print("ready")
while True: signal.pause()
"""


@pytest.fixture
def box(ns: Namespace, tmp_path: Path) -> Iterator[Sandboxes]:
    mounts = host_mounts()
    yield Sandboxes(tmp_path, ns.path)
    assert host_mounts() == mounts


def foreground(launch: Launch, **how: Any) -> subprocess.Popen[str]:
    """A process that does what the command line does, its output in pipes unless said otherwise."""
    reader, writer = os.pipe()
    os.write(writer, launch.encode())
    os.close(writer)
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", FOREGROUND, str(reader)]
    started = subprocess.Popen(command, pass_fds=(reader,), text=True, **(pipes | how))
    os.close(reader)
    return started


def run(launch: Launch, text: str = "") -> tuple[int, str, str]:
    process = foreground(launch)
    out, err = process.communicate(text, PATIENCE)
    return process.returncode, out, err


def exec_in(process: Process, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", EXEC, str(process.pid), str(process.started), *command]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)


def record(box: Sandboxes, name: str) -> dict[str, Any]:
    with open(f"{box.supervisor.state('ab12')}/{name}") as file:
        found = json.load(file)
    assert isinstance(found, dict)
    return found


def test_streams_and_identity_and_status(box: Sandboxes) -> None:
    code, out, err = run(box.shell("cat; cat /etc/hosts; uname -n; echo oops >&2; exit 4"), "typed\n")
    assert (code, out, err) == (4, "typed\n192.0.2.7\tbox\nbox\n", "oops\n")
    assert record(box, "exit")["code"] == 4
    assert not Path(box.data_root).exists()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("/no/such", 127, "towline: cannot execute /no/such: no such file or directory\n"),
        ("/etc", 126, "towline: cannot execute /etc: permission denied\n"),
    ],
)
def test_a_command_that_cannot_be_executed(box: Sandboxes, command: str, code: int, message: str) -> None:
    assert run(box.launch(command)) == (code, "", message)
    assert record(box, "exit")["code"] == code


def test_a_signal_sent_to_the_command_line_reaches_the_command_once(box: Sandboxes) -> None:
    process = foreground(box.launch(*python(COUNTS)))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE)[0] == "count 1\n"
    assert process.returncode == 5


def test_what_is_ignored_stays_ignored(box: Sandboxes) -> None:
    """nohup: the command inherits it, and the command line does not undo it."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = foreground(box.shell("grep SigIgn /proc/self/status; grep SigBlk /proc/self/status"), **ignoring)
    out, _ = process.communicate(timeout=PATIENCE)
    assert [int(line.split()[1], 16) for line in out.splitlines()] == [1 << (signal.SIGHUP - 1), 0]


class Terminal:
    """A terminal with the command line as its session's leader."""

    def __init__(self, launch: Launch) -> None:
        self.master, slave = os.openpty()
        tty = {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": lambda: os.login_tty(slave)}
        self.process = foreground(launch, **tty)
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            self.seen += os.read(self.master, 4096).decode()

    def press(self, key: bytes) -> None:
        os.write(self.master, key)


def test_control_c_reaches_the_command_once(box: Sandboxes) -> None:
    terminal = Terminal(box.launch(*python(COUNTS)))
    terminal.until("ready")
    terminal.press(b"\x03")
    terminal.until("interrupted")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.until("count 1")
    assert terminal.process.wait(PATIENCE) == 5
    os.close(terminal.master)


def test_the_terminal_is_the_commands(box: Sandboxes) -> None:
    terminal = Terminal(box.shell("test -t 0 && echo tty; read x < /dev/tty; echo got $x"))
    terminal.until("tty")
    terminal.press(b"hello\n")
    terminal.until("got hello")
    assert terminal.process.wait(PATIENCE) == 0
    os.close(terminal.master)


def test_the_command_dies_with_the_command_line(box: Sandboxes) -> None:
    process = foreground(box.shell("echo $$; exec sleep 1000"))
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    began = started(pid)
    process.kill()
    process.wait()
    wait_gone(pid, began or 0)
    process.communicate()


def test_what_it_leaves_behind_is_killed(box: Sandboxes) -> None:
    code, out, _ = run(box.shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!; exit 0"))
    assert code == 0
    assert started(int(out)) is None


async def test_the_daemon_follows_it_by_either_process(box: Sandboxes) -> None:
    process = foreground(box.launch(*python(COUNTS)))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    found = record(box, "process")
    names = [Process(**found[name]) for name in ("command", "shim")]
    assert names[1].pid == process.pid
    watches = [box.supervisor.attach("ab12", name) for name in names]
    assert all(isinstance(watch, Watch) for watch in watches)
    first, second = (watch for watch in watches if isinstance(watch, Watch))
    assert second.signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    done = await asyncio.wait_for(first.stop(), PATIENCE)
    assert done == await asyncio.wait_for(second.ended(), PATIENCE)
    assert (done.code, done.recorded) == (5, True)
    assert process.communicate(timeout=PATIENCE)[0] == "count 1\n"
    assert [box.supervisor.attach("ab12", name) for name in names] == [done, done]


# exec


async def detached(box: Sandboxes, script: str) -> Watch:
    """Running, and it has said something."""
    watch = await box.supervisor.start_detached(box.shell(script))
    await said(box)
    return watch


async def said(box: Sandboxes) -> None:
    """Something is in the log."""
    never: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(PATIENCE):
        await anext(follow_log(box.supervisor.log("ab12"), never))


async def test_exec_is_beside_the_command(box: Sandboxes) -> None:
    watch = await detached(box, "echo ready; exec sleep 1000")
    script = "cat /etc/hosts; uname -n; pwd; echo $X; readlink /proc/self/ns/net; exit 9"
    done = exec_in(watch.process, "/bin/sh", "-c", script)
    network = f"net:[{os.stat(box.netns).st_ino}]"
    assert done.stdout.splitlines() == ["192.0.2.7\tbox", "box", "/tmp", "y", network]
    assert done.returncode == 9
    await end(watch)


async def test_exec_of_what_cannot_be_executed(box: Sandboxes) -> None:
    watch = await detached(box, "echo ready; exec sleep 1000")
    for command, code in (("no-such", 127), ("/etc", 126)):
        done = exec_in(watch.process, command)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"towline: cannot execute {command}: ")
    empty = exec_in(watch.process)
    assert empty.stderr == "InvalidParameter: sandbox ab12: the command is empty: give a program to run after --\n"
    await end(watch)


async def test_exec_ends_with_the_sandbox(box: Sandboxes) -> None:
    watch = await detached(box, "echo ready; exec sleep 1000")
    arguments = [sys.executable, "-c", EXEC, str(watch.process.pid), str(watch.process.started)]
    beside = subprocess.Popen(
        [*arguments, "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE, text=True
    )
    assert beside.stdout is not None
    assert await asyncio.to_thread(beside.stdout.readline) == "ready\n"
    await end(watch)
    assert await asyncio.to_thread(beside.wait, PATIENCE) == 137
    beside.stdout.close()


async def test_exec_into_what_is_gone_or_was_reused(box: Sandboxes) -> None:
    watch = await detached(box, "echo ready; exec sleep 1000")
    other = exec_in(Process(watch.process.pid, watch.process.started + 1), "true")
    assert other.stderr == "Conflict: sandbox ab12 is not running: start it first\n"
    await end(watch)
    assert exec_in(watch.process, "true").stderr == other.stderr


# the daemon ends

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
