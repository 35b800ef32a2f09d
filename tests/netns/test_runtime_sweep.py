"""What is killed at a sandbox's end, and who is not."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.netns import Namespace
from tests.support.sandbox import PATIENCE, Sandboxes, end, wait_gone
from towline.runtime.identity import started
from towline.runtime.sweep import mount_namespace


@pytest.fixture
def box(ns: Namespace, tmp_path: Path) -> Sandboxes:
    return Sandboxes(tmp_path, ns.path)


async def test_a_sandbox_that_starts_while_another_ends_is_left_alone(box: Sandboxes) -> None:
    """The kernel gives the number of a mount namespace that nobody holds to the next one. The old sandbox's shim is
    stopped between the end of its command and the sweep, which goes by that number."""
    old = await box.start(box.shell("exec sleep 1000", sandbox="old"))
    shim = int(Path(f"/proc/{old.process.pid}/stat").read_text().rpartition(") ")[2].split()[1])
    number = mount_namespace(old.process.pid)
    os.kill(shim, signal.SIGSTOP)
    os.kill(old.process.pid, signal.SIGKILL)
    while mount_namespace(old.process.pid) == number:
        await asyncio.sleep(0.001)
    new = [await box.start(box.shell("exec sleep 1000", sandbox=f"new{i}")) for i in range(5)]
    os.kill(shim, signal.SIGCONT)
    await asyncio.wait_for(old.ended(), PATIENCE)
    assert [started(watch.process.pid) for watch in new] == [watch.process.started for watch in new]
    for watch in new:
        await end(watch)
    wait_gone(old.process.pid, old.process.started)
