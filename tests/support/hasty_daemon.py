"""`towlined` whose patience with nodes that are gone, room in etcd and clock a test decides. Run it with `python -m`;
`make_hasty` is the test's end.

The clock is the whole process's, libssl's too (libfaketime); etcd's, the kernel's and the sandboxes' are as they were.
"""

from __future__ import annotations

import functools
import os
import select
import sys
import time
from pathlib import Path

from tests.support.daemon import REPOSITORY, TOWLINED, Daemon
from tests.support.needs import lacking

_GRACE, _QUOTA = "TOWLINE_TEST_GRACE", "TOWLINE_TEST_QUOTA"
_LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Clock:
    """of a daemon that `make_hasty` was given, before its start."""

    def __init__(self, daemon: Daemon) -> None:
        if _LIBRARY is None:
            lacking("no libfaketime on this machine")
        self._path = daemon.root / "clock"
        self.jump(0)
        daemon.environment |= {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_CACHE_DURATION": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on it is that much ahead of the true time; it shows after a second."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._path)


def make_hasty(daemon: Daemon, *, grace: float = 30.0, quota: int = 0) -> None:
    """Before its start. grace: `Reclaim`'s. quota: bytes that etcd's database may have, 0 as it is."""
    daemon.entry = [str(Path(TOWLINED[0]).with_name("python")), "-m", __name__]
    daemon.environment |= {_GRACE: str(grace), _QUOTA: str(quota), "PYTHONPATH": str(REPOSITORY)}


def _main() -> int:
    from towline.cluster import own_etcd, stack
    from towline.daemon.main import run

    os.environ.pop("LD_PRELOAD", None)  # etcd and sandboxes are not to have it
    time.sleep = functools.partial(select.select, [], [], [])  # libfaketime's clock_nanosleep refuses short ones
    grace, quota = float(os.environ[_GRACE]), int(os.environ[_QUOTA])
    stack.Manager = functools.partial(stack.Manager, grace=grace)  # type: ignore[misc, assignment]
    if quota:
        own_etcd.MemberConfig = functools.partial(own_etcd.MemberConfig, quota=quota)  # type: ignore[misc, assignment]
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
