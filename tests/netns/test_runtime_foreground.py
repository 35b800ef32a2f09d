"""Foreground sandboxes: terminal, signals, exit codes; exec beside a running command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.netns import Namespace
from tests.support.sandbox import COUNTS, PATIENCE, Sandboxes, end, host_mounts, python, said, wait_gone
from towline.model.sandbox import Process
from towline.runtime.identity import started
from towline.runtime.launch import Launch
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
    """nohup: the command inherits it, and the command line does not undo it (the C library's own signals apart)."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = foreground(box.shell("grep SigIgn /proc/self/status; grep SigBlk /proc/self/status"), **ignoring)
    out, _ = process.communicate(timeout=PATIENCE)
    standard = (1 << 31) - 1
    assert [int(line.split()[1], 16) & standard for line in out.splitlines()] == [1 << (signal.SIGHUP - 1), 0]


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
    watch = await box.start(box.shell(script))
    await said(box)
    return watch


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
