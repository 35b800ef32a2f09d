"""A `crashing_daemon` that takes new orders while it runs: TOWLINE_TEST_ORDERS names a file, read whenever it changes.

Run it with `python -m` and towlined's arguments; `FaultyDaemon` is the test's end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.support.crashing_daemon import Orders, Refusal, Steps, build_counted
from tests.support.daemon import TOWLINED, Daemon, fresh_daemon
from towline.daemon.main import run
from towline.model.config import Config
from towline.model.errors import KernelError

VARIABLE = "TOWLINE_TEST_ORDERS"


class ReloadedSteps(Steps):
    """Counts anew from each change of the file."""

    def __init__(self, path: str) -> None:
        super().__init__(Orders())
        self._path = path
        self._version = (0, 0)

    def half(self, label: str) -> None:
        self._reload()
        super().half(label)

    def refusal(self, verb: str) -> KernelError | None:
        self._reload()
        return super().refusal(verb)

    def _reload(self) -> None:
        found = os.stat(self._path)
        version = found.st_ino, found.st_mtime_ns
        if version != self._version:
            self._version = version
            with open(self._path, "rb") as file:
                self._orders = msgspec.json.decode(file.read(), type=Orders)
            self.armed = self.armed or self._orders.during_start
            self._calls.clear()
            self.count = 0


class FaultyDaemon:
    """A running daemon and its orders."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._path = daemon.root / "orders.json"
        daemon.entry = [str(Path(TOWLINED[0]).with_name("python")), "-m", __name__]
        daemon.environment = {VARIABLE: str(self._path)}
        self._number = 0
        self.order()

    def order(self, *refusals: Refusal, kill_at: int = 0, during_start: bool = False) -> None:
        """From now on, until the next order. during_start: a start counts from its beginning, not from readiness."""
        self._number += 1
        fresh = self._path.with_suffix(f".{self._number}")
        fresh.write_bytes(msgspec.json.encode(Orders(kill_at, during_start, list(refusals))))
        fresh.rename(self._path)


@contextmanager
def faulty_daemon(*args: str) -> Iterator[FaultyDaemon]:
    with fresh_daemon(*args) as daemon:
        made = FaultyDaemon(daemon)
        daemon.start()
        yield made


def reloaded_build(config: Config) -> Any:
    return build_counted(config, ReloadedSteps(os.environ[VARIABLE]))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], build=reloaded_build))
