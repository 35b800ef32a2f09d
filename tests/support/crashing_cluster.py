"""`towlined` that kills itself right before or right after one step of a cluster's life. Run it with `python -m` and
towlined's arguments; `Crash` is the test's end. TOWLINE_TEST_CRASH names a file with `<class>.<method> before|after`.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.daemon import TOWLINED, Daemon
from towline.cluster.client import RemoteLink
from towline.cluster.identity import IdentityFiles
from towline.cluster.managing_nodes import Nodes
from towline.cluster.member import Member
from towline.cluster.member_verbs import Members
from towline.cluster.membership import Membership
from towline.cluster.server import NodeApi
from towline.cluster.stack import Stack
from towline.cluster.swarm import SwarmNode
from towline.daemon.main import run

VARIABLE = "TOWLINE_TEST_CRASH"
STEPS: dict[type, tuple[str, ...]] = {
    IdentityFiles: ("begin", "save", "save_certificate", "save_member_tls", "erase", "erase_member"),
    Member: ("start", "stop", "wait_promoted"),
    Members: ("remove",),
    Membership: ("close",),
    NodeApi: ("start",),
    Nodes: ("set_manager", "begin_era"),
    RemoteLink: ("grant_member", "promote_member", "manager_ready", "leave", "renew"),
    Stack: ("resign", "withdraw"),
    SwarmNode: ("_vanish",),
}


def _step(name: str) -> None:
    path = os.environ.get(VARIABLE, "")
    try:
        wanted = Path(path).read_text()
    except OSError:
        return
    if wanted == name:
        os.unlink(path)
        os.kill(os.getpid(), signal.SIGKILL)


def _counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def plain(*args: Any, **kwargs: Any) -> Any:
        _step(f"{name} before")
        result = call(*args, **kwargs)
        _step(f"{name} after")
        return result

    @functools.wraps(call)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        _step(f"{name} before")
        result = await call(*args, **kwargs)
        _step(f"{name} after")
        return result

    return awaited if inspect.iscoroutinefunction(call) else plain


def patch() -> None:
    for kind, methods in STEPS.items():
        for method in methods:
            setattr(kind, method, _counted(f"{kind.__name__}.{method}", getattr(kind, method)))


class Crash:
    """Of a daemon that has not been started yet."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._path = daemon.root / "crash"
        daemon.entry = [str(Path(TOWLINED[0]).with_name("python")), "-m", __name__]
        daemon.environment = {VARIABLE: str(self._path)}

    def at(self, step: str) -> None:
        """The next time it gets there."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(step)
        fresh.rename(self._path)

    @property
    def due(self) -> bool:
        """It has not got there."""
        return self._path.exists()


if __name__ == "__main__":
    patch()
    sys.exit(run(sys.argv[1:]))
