"""Sandboxes with real processes, for root tests: a supervisor on temporary roots, and what goes into a launch."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from pathlib import Path

from towline.runtime.check import complete_environment
from towline.runtime.identity import open_process
from towline.runtime.launch import Launch
from towline.runtime.logread import follow_log, read_log
from towline.runtime.lookup import Exit
from towline.runtime.supervise import Supervisor
from towline.runtime.watch import Watch

PATIENCE = 30
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
"""Counts SIGINTs, says so, and ends with the count and status 5 on SIGTERM."""
IDENTITY = {"hosts": "192.0.2.7\tbox\n", "resolv.conf": "nameserver 127.0.0.11\n", "hostname": "box\n"}


class Sandboxes:
    """netns: path of the namespace in which the processes live."""

    def __init__(self, root: Path, netns: str) -> None:
        self.root = root
        self.netns = netns
        self.exec_root, self.data_root = str(root / "run"), str(root / "data")
        self.supervisor = Supervisor(self.exec_root, self.data_root)
        for name, text in IDENTITY.items():
            (root / name).write_text(text)

    def launch(
        self,
        *command: str,
        sandbox: str = "ab12",
        directory: str = "/",
        environment: tuple[str, ...] = (),
        hostname: str = "box",
    ) -> Launch:
        return Launch(
            sandbox=sandbox,
            netns=self.netns,
            hostname=hostname,
            command=command,
            state=self.supervisor.state(sandbox),
            log=self.supervisor.log(sandbox),
            files=tuple((str(self.root / name), f"/etc/{name}") for name in IDENTITY),
            environment=complete_environment(environment, hostname),
            directory=directory,
        )

    def shell(self, script: str, *, sandbox: str = "ab12") -> Launch:
        return self.launch("/bin/sh", "-c", script, sandbox=sandbox)

    async def start(self, launch: Launch) -> Watch:
        pending = await self.supervisor.prepare(launch)
        return await pending.go()

    async def run(self, launch: Launch) -> Exit:
        watch = await self.start(launch)
        return await asyncio.wait_for(watch.ended(), PATIENCE)

    def output(self, sandbox: str = "ab12", stream: str = "stdout") -> str:
        entries = read_log(self.supervisor.log(sandbox))
        return b"".join(entry.text for entry in entries if entry.stream == stream).decode()


def python(program: str) -> tuple[str, ...]:
    """A command that runs a Python program, fast."""
    return (sys.executable, "-I", "-S", "-u", "-c", program)


def host_mounts() -> list[str]:
    """Where the host's view is changed if a sandbox's mounts leak."""
    mounts = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted(target for target in mounts if target.startswith(("/etc", "/sys")))


async def end(watch: Watch) -> Exit:
    return await asyncio.wait_for(watch.stop(0.0), PATIENCE)


def wait_gone(pid: int, started: int) -> None:
    """Until exactly this process has ended."""
    fd = open_process(pid, started)
    if fd is None:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"process {pid} is still there"
    finally:
        os.close(fd)


async def said(box: Sandboxes) -> None:
    """Something is in the log."""
    never: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(PATIENCE):
        await anext(follow_log(box.supervisor.log("ab12"), never))
