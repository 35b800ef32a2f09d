"""Detached sandboxes with real processes: identity, signals, exit codes, output, what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Namespace, namespace, veth
from tests.support.sandbox import PATIENCE, Sandboxes, end, host_mounts, python, wait_gone
from towline.model.errors import Failure, InvalidParameter
from towline.runtime.identity import started
from towline.runtime.logread import follow_log
from towline.runtime.lookup import Exit, send
from towline.runtime.supervise import CommandNotStarted
from towline.runtime.sweep import inhabitants, mount_namespace, sweep
from towline.runtime.watch import Watch

RTMGRP_LINK, RTM_DELLINK = 1, 17


@pytest.fixture
def box(ns: Namespace, tmp_path: Path) -> Sandboxes:
    return Sandboxes(tmp_path, ns.path)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No mount and no descriptor of this process more than before."""
    before = len(os.listdir("/proc/self/fd"))
    mounts = host_mounts()
    yield
    assert host_mounts() == mounts
    assert len(os.listdir("/proc/self/fd")) <= before


def assert_unknown(found: Watch | Exit) -> None:
    assert isinstance(found, Exit)
    assert (found.code, found.recorded) == (255, False)
    assert abs(time.time_ns() - found.finished) < PATIENCE * 1e9


async def line(watch: Watch, box: Sandboxes, count: int = 1) -> list[str]:
    """The first lines of the log, when they are there."""
    never: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for entry in follow_log(box.supervisor.log("ab12"), never):
            found.append(entry.text.decode().strip())
            if len(found) == count:
                break
    return found


async def test_identity_is_seen_inside_only(box: Sandboxes) -> None:
    host = [Path("/etc", name).read_bytes() for name in ("hosts", "resolv.conf", "hostname")]
    name = socket.gethostname()
    done = await box.run(box.shell("cat /etc/hosts /etc/resolv.conf /etc/hostname; uname -n; echo $HOSTNAME"))
    assert done.code == 0
    assert box.output().splitlines() == ["192.0.2.7\tbox", "nameserver 127.0.0.11", "box", "box", "box"]
    assert [Path("/etc", name).read_bytes() for name in ("hosts", "resolv.conf", "hostname")] == host
    assert socket.gethostname() == name


async def test_a_file_written_again_in_place_is_seen_inside(box: Sandboxes) -> None:
    fifo = box.root / "fifo"
    os.mkfifo(fifo)
    watch = await box.start(box.shell(f"read x < {fifo}; cat /etc/hosts"))
    (box.root / "hosts").write_text("192.0.2.8\tnew\n")
    await asyncio.to_thread(fifo.write_text, "go\n")
    assert (await asyncio.wait_for(watch.ended(), PATIENCE)).code == 0
    assert box.output() == "192.0.2.8\tnew\n"


async def test_the_network_is_the_namespaces_and_the_rest_the_hosts(box: Sandboxes, ns: Namespace) -> None:
    ns.run(["ip", "link", "add", "only0", "type", "bridge"])
    below = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " /sys/" in line]
    done = await box.run(
        box.shell(
            f"set -e; ls /sys/class/net; ls -d {box.root}/hosts; for d in {' '.join(below)}; do ls $d >/dev/null; done;"
            "readlink /proc/self/ns/net /proc/self/ns/pid"
        )
    )
    assert done.code == 0, box.output(stream="stderr")
    network = f"net:[{os.stat(ns.path).st_ino}]"
    assert box.output().splitlines() == [
        *sorted(["lo", "only0"]),
        f"{box.root}/hosts",
        network,
        os.readlink("/proc/self/ns/pid"),
    ]


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [("exit 0", 0, 0), ("exit 3", 3, 0), ("exit 255", 255, 0), ("kill -TERM $$", 143, 15), ("kill -KILL $$", 137, 9)],
)
async def test_how_it_ended_is_recorded(box: Sandboxes, script: str, code: int, number: int) -> None:
    done = await box.run(box.shell(script))
    assert (done.code, done.signal, done.recorded) == (code, number, True)
    assert 0 < done.began <= done.finished
    assert stat.S_IMODE(os.stat(box.supervisor.state("ab12")).st_mode) == 0o700


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        ("no-such-program", 127, "cannot execute no-such-program: no such file or directory"),
        ("/no/such", 127, "cannot execute /no/such: no such file"),
        ("/etc/passwd", 126, "cannot execute /etc/passwd: permission denied"),
        ("/etc", 126, "cannot execute /etc: permission denied"),
    ],
)
async def test_a_command_that_cannot_be_executed(box: Sandboxes, command: str, code: int, reason: str) -> None:
    pending = await box.supervisor.prepare(box.launch(command))
    process = pending.process
    with pytest.raises(CommandNotStarted, match=f"sandbox ab12: {reason}") as caught:
        await pending.go()
    assert caught.value.exit_code == code
    assert started(process.pid) is None
    found = box.supervisor.attach("ab12", process)
    assert isinstance(found, Exit)
    assert (found.code, found.recorded) == (code, True)


async def test_a_directory_that_vanishes_before_the_start(box: Sandboxes, tmp_path: Path) -> None:
    where = tmp_path / "work"
    where.mkdir()
    pending = await box.supervisor.prepare(box.launch("true", directory=str(where)))
    where.rmdir()
    with pytest.raises(CommandNotStarted, match=f"change to directory {where}") as caught:
        await pending.go()
    assert caught.value.exit_code == 127


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/no/such", "no such file or directory"), ("/etc/passwd", "invalid argument"), ("/proc/self/ns/uts", "invalid")],
)
async def test_what_is_no_network_namespace(box: Sandboxes, path: str, reason: str) -> None:
    box.netns = path
    with pytest.raises(Failure, match=f"sandbox ab12: cannot enter network namespace {path}: {reason}"):
        await box.supervisor.prepare(box.launch("true"))
    assert os.listdir(box.supervisor.state("ab12")) == ["shim.err"]


async def test_wrong_input_touches_nothing(box: Sandboxes) -> None:
    with pytest.raises(InvalidParameter, match="the command is empty"):
        await box.supervisor.prepare(box.launch())
    assert not Path(box.exec_root).exists()


async def test_directory_and_environment_are_those_asked_for(box: Sandboxes, tmp_path: Path) -> None:
    launch = box.launch("sh", "-c", "pwd; env; umask; cat; ls /proc/self/fd", directory=str(tmp_path))
    launch.environment = ("PATH=/usr/bin:/bin", "A=b=c", "EMPTY=", "UNICODE=é")
    await box.run(launch)
    where, *rest = box.output().splitlines()
    assert where == str(tmp_path)
    assert set(rest[:-5]) == {*launch.environment, f"PWD={tmp_path}"}
    assert rest[-5:] == ["0022", "0", "1", "2", "3"]  # 3 is the listing's own


async def test_the_command_waits_for_the_word(box: Sandboxes) -> None:
    pending = await box.supervisor.prepare(box.shell("echo run"))
    assert os.stat(f"/proc/{pending.process.pid}/ns/net").st_ino == os.stat(box.netns).st_ino
    assert started(pending.process.pid) == pending.process.started
    assert box.output() == ""
    watch = await pending.go()
    assert (await asyncio.wait_for(watch.ended(), PATIENCE)).code == 0
    assert box.output() == "run\n"


async def test_abandoned_before_the_word(box: Sandboxes) -> None:
    pending = await box.supervisor.prepare(box.shell("echo run"))
    await asyncio.wait_for(pending.abandon(), PATIENCE)
    assert started(pending.process.pid) is None
    assert os.listdir(box.supervisor.state("ab12")) == ["shim.err"]
    assert_unknown(box.supervisor.attach("ab12", pending.process))
    assert box.output() == ""


async def test_cancelled_while_it_starts(box: Sandboxes) -> None:
    starting = asyncio.ensure_future(box.supervisor.prepare(box.shell("echo run")))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.get_running_loop().shutdown_default_executor()
    async with asyncio.timeout(PATIENCE):
        while inhabitants(os.stat(box.netns).st_ino, "net"):
            await asyncio.sleep(0)
    assert box.output() == ""


async def test_killed_before_the_word(box: Sandboxes) -> None:
    pending = await box.supervisor.prepare(box.shell("echo run"))
    pending.watch.signal(signal.SIGKILL)
    wait_gone(pending.process.pid, pending.process.started)
    watch = await pending.go()
    assert (await asyncio.wait_for(watch.ended(), PATIENCE)).code == 137
    assert box.output() == ""


async def test_cancelled_while_the_command_starts(box: Sandboxes) -> None:
    pending = await box.supervisor.prepare(box.shell("exec sleep 1000"))
    going = asyncio.ensure_future(pending.go())
    await asyncio.sleep(0)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert (await asyncio.wait_for(pending.watch.ended(), PATIENCE)).code == 137


async def test_signals_reach_the_command_and_the_patient_stop_works(box: Sandboxes) -> None:
    program = """
import os, signal
for n in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
    signal.signal(n, lambda n, _: print(signal.Signals(n).name) or (n == 15 and os._exit(7)))
print("ready")
while True: signal.pause()
"""
    watch = await box.start(box.launch(*python(program)))
    await line(watch, box)
    assert watch.signal(signal.SIGUSR1)
    await line(watch, box, 2)
    shim = int(Path(f"/proc/{watch.process.pid}/stat").read_text().rpartition(") ")[2].split()[1])
    sessions = [os.getsid(pid) for pid in (watch.process.pid, shim, 0)]
    assert sessions[0] == watch.process.pid
    assert len(set(sessions)) == 3
    os.kill(shim, signal.SIGHUP)  # the shim passes it on and lives
    assert await line(watch, box, 3) == ["ready", "SIGUSR1", "SIGHUP"]
    assert (await asyncio.wait_for(watch.stop(PATIENCE), PATIENCE)).code == 7
    assert not watch.signal(signal.SIGUSR1)


async def test_who_ignores_the_request_is_killed(box: Sandboxes) -> None:
    watch = await box.start(box.shell("trap '' TERM; echo ready; while :; do sleep 100; done"))
    await line(watch, box)
    done = await asyncio.wait_for(watch.stop(0.05), PATIENCE)
    assert (done.code, done.signal) == (137, 9)


async def test_several_wait_and_one_goes_away(box: Sandboxes) -> None:
    watch = await box.start(box.shell("sleep 1000"))
    first, second = (asyncio.ensure_future(watch.ended()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await end(watch)
    assert (await second).signal in (9, 15)


LEAVES_BEHIND = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for depth in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if depth == 2:
                import ctypes
                ctypes.CDLL(None).unshare(0x20000)
            print(os.getpid())
            while True: signal.pause()
        os._exit(0)
    os.wait()
import sys
sys.stdin.read()
os.kill(os.getppid(), 0)
while not os.path.exists(sys.argv[1]): os.sched_yield()
"""


async def test_nothing_that_it_left_behind_outlives_it(box: Sandboxes, tmp_path: Path) -> None:
    watch = await box.start(box.launch(*python(LEAVES_BEHIND), str(tmp_path / "go")))
    left = [int(text) for text in await line(watch, box, 3)]
    alive = [(pid, began) for pid in left if (began := started(pid)) is not None]
    assert len(alive) == 3
    assert set(inhabitants(os.stat(box.netns).st_ino, "net")) == {watch.process.pid, *left}
    (tmp_path / "go").touch()
    assert (await asyncio.wait_for(watch.ended(), PATIENCE)).code == 0
    assert [started(pid) for pid, _ in alive] == [None] * 3


async def test_zombies_are_reaped_while_it_runs(box: Sandboxes) -> None:
    """An orphan that ends is taken by the shim at once."""
    program = """
import os, signal
r, w = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(w, b"%d" % os.getpid())
        while True: signal.pause()
    os._exit(0)
os.wait()
print(int(os.read(r, 99)), os.getppid())
while True: signal.pause()
"""
    watch = await box.start(box.launch(*python(program)))
    orphan, shim = (int(text) for text in (await line(watch, box))[0].split())
    assert Path(f"/proc/{orphan}/stat").read_text().rpartition(") ")[2].split()[1] == str(shim)
    os.kill(orphan, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{orphan}").exists():
            await asyncio.sleep(0)
    await end(watch)


async def test_output_is_whole_even_if_large(box: Sandboxes) -> None:
    done = await box.run(box.shell("seq 200000; seq 10 >&2; printf last"))
    assert done.code == 0
    assert box.output().splitlines() == [*map(str, range(1, 200001)), "last"]
    assert box.output(stream="stderr").split() == [*map(str, range(1, 11))]


async def test_a_killed_shim_takes_its_command_along(box: Sandboxes) -> None:
    watch = await box.start(box.shell("echo $PPID; exec sleep 1000"))
    os.kill(int((await line(watch, box))[0]), signal.SIGKILL)
    assert_unknown(await asyncio.wait_for(watch.ended(), PATIENCE))
    wait_gone(watch.process.pid, watch.process.started)


async def test_a_pin_that_is_dropped_is_not_held_by_another_sandbox(box: Sandboxes, ns: Namespace) -> None:
    """Mount namespaces are copies: a namespace pinned when a sandbox starts must still go when it is unpinned. Its end
    of a cable goes with it, and so the end here."""
    pin = box.root / "pin"
    pin.touch()
    with namespace() as other:
        veth(ns, "here", other, "there")
        subprocess.run(["mount", "--bind", other.path, str(pin)], check=True)
    watch = await box.start(box.shell("echo ready; exec sleep 1000"))
    await line(watch, box)
    assert str(pin) in Path(f"/proc/{watch.process.pid}/mounts").read_text()
    changes = ns.call(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    changes.bind((0, RTMGRP_LINK))
    subprocess.run(["umount", str(pin)], check=True)
    pin.unlink()
    changes.settimeout(PATIENCE)
    while int.from_bytes(changes.recv(65536)[4:6], "little") != RTM_DELLINK:
        continue
    changes.close()
    await end(watch)


async def test_the_hosts_own_namespace_is_never_swept(box: Sandboxes) -> None:
    bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        sweep(mount_namespace(os.getpid()))
        os.write(writer, b"done")
        os._exit(0)
    assert os.read(reader, 9) == b"done"
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


async def test_a_second_start_is_another_process_with_the_same_log(box: Sandboxes) -> None:
    first = await box.start(box.shell("echo one; exit 1"))
    assert (await asyncio.wait_for(first.ended(), PATIENCE)).code == 1
    assert (await box.run(box.shell("echo two; exit 2"))).code == 2
    assert_unknown(box.supervisor.attach("ab12", first.process))
    assert box.output() == "one\ntwo\n"


async def test_forget(box: Sandboxes) -> None:
    await box.run(box.shell("echo hello"))
    box.supervisor.forget("ab12")
    assert (os.listdir(f"{box.exec_root}/sandboxes"), os.listdir(f"{box.data_root}/sandboxes")) == ([], [])
    box.supervisor.forget("ab12")


async def test_removed_while_it_runs(box: Sandboxes) -> None:
    watch = await box.start(box.shell("echo ready; exec sleep 1000"))
    await line(watch, box)
    box.supervisor.forget("ab12")
    send(watch.process, signal.SIGKILL)
    assert_unknown(await asyncio.wait_for(watch.ended(), PATIENCE))
