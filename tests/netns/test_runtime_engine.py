"""The runtime as control uses it: from the record of a sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.netns import Namespace
from tests.support.sandbox import IDENTITY, PATIENCE, wait_gone
from towline.model.requests import StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.runtime.engine import Processes
from towline.runtime.identity import started
from towline.runtime.supervise import CommandNotStarted


class Bench:
    def __init__(self, root: Path, netns: str) -> None:
        self.roots = (str(root / "run"), str(root / "data"))
        self.processes = Processes(*self.roots)
        for name, text in IDENTITY.items():
            (root / name).write_text(text)
        paths = {name.replace(".", "_"): str(root / name) for name in IDENTITY}
        self.files = StartedSandbox(id="ab12", netns=netns, **paths)
        self.sandbox = Sandbox("ab12", "web", 1, hostname="box", netns=netns)

    async def start(self, script: str) -> Sandbox:
        sandbox = replace(self.sandbox, command=("/bin/sh", "-c", script))
        pending = await self.processes.prepare(sandbox, self.files)
        await pending.go()
        return replace(sandbox, process=pending.process)

    async def output(self, sandbox: Sandbox, tail: int | None = None) -> list[bytes]:
        return [entry.text async for entry in self.processes.logs(sandbox, tail=tail)]

    async def until(self, sandbox: Sandbox, text: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            async for entry in self.processes.logs(sandbox, follow=True):
                if entry.text == text:
                    return


@pytest.fixture
def bench(ns: Namespace, tmp_path: Path) -> Iterator[Bench]:
    before = len(os.listdir("/proc/self/fd"))
    made = Bench(tmp_path, ns.path)
    yield made
    made.processes.close()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_from_start_to_removal(bench: Bench) -> None:
    sandbox = await bench.start("echo one; echo two; exec sleep 1000")
    running = bench.processes.follow(sandbox)
    assert running is not None
    assert bench.processes.follow(sandbox) is running
    await bench.until(sandbox, b"two\n")
    following = bench.processes.logs(sandbox, follow=True)
    texts = [(await anext(following)).text]
    stopping = asyncio.ensure_future(bench.processes.stop(sandbox, PATIENCE))
    texts += [entry.text async for entry in following]
    assert texts == [b"one\n", b"two\n"]
    await stopping
    outcome = bench.processes.outcome(sandbox)
    assert outcome == await running.ended()
    assert (outcome.code, outcome.signal) == (143, signal.SIGTERM)
    assert await bench.output(sandbox, tail=1) == [b"two\n"]
    assert bench.processes.follow(sandbox) is None
    await bench.processes.stop(sandbox, 0)
    bench.processes.remove("ab12")
    assert [os.listdir(f"{root}/sandboxes") for root in bench.roots] == [[], []]
    assert await bench.output(sandbox) == []
    bench.processes.remove("ab12")


async def test_a_second_start_is_another_process_with_the_same_log(bench: Bench) -> None:
    first = await bench.start("echo one; exit 1")
    assert (running := bench.processes.follow(first)) is None or (await running.ended()).code == 1
    second = await bench.start("echo two; exec sleep 1000")
    assert bench.processes.outcome(first).recorded is False
    assert (running := bench.processes.follow(second)) is not None
    await bench.until(second, b"two\n")
    assert bench.processes.signal(second, signal.SIGKILL)
    assert (await asyncio.wait_for(running.ended(), PATIENCE)).code == 137
    assert not bench.processes.signal(second, signal.SIGKILL)
    assert await bench.output(second) == [b"one\n", b"two\n"]


async def test_a_command_that_cannot_be_executed(bench: Bench) -> None:
    sandbox = replace(bench.sandbox, command=("/no/such",))
    pending = await bench.processes.prepare(sandbox, bench.files)
    with pytest.raises(CommandNotStarted):
        await pending.go()
    started_once = replace(sandbox, process=pending.process)
    assert bench.processes.follow(started_once) is None
    assert bench.processes.outcome(started_once).code == 127


async def test_another_daemon_goes_on(bench: Bench) -> None:
    sandbox = await bench.start("exec sleep 1000")
    bench.processes.close()
    later = Processes(*bench.roots)
    running = later.follow(sandbox)
    assert running is not None
    await asyncio.wait_for(later.stop(sandbox, 0), PATIENCE)
    assert later.outcome(sandbox) == await running.ended()
    later.close()


async def test_a_process_that_is_not_ours_is_followed_and_left_alone(bench: Bench) -> None:
    bystander = subprocess.Popen(["sleep", "1000"])
    process = Process(bystander.pid, started(bystander.pid) or 0)
    attached = replace(bench.sandbox, origin="attach", process=process)
    running = bench.processes.follow(attached)
    assert running is not None
    bench.processes.remove("ab12")
    assert bystander.poll() is None
    assert (running := bench.processes.follow(attached)) is not None
    bystander.kill()
    assert (await asyncio.wait_for(running.ended(), PATIENCE)).code == 255
    bystander.wait()
    wait_gone(process.pid, process.started)


async def test_without_a_process(bench: Bench) -> None:
    assert bench.processes.follow(bench.sandbox) is None
    assert bench.processes.outcome(bench.sandbox).code == 255
    await bench.processes.stop(bench.sandbox, 0)
