"""Waiting for what no event tells a test."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP = 0.01


def eventually(check: Callable[[], object], within: float = 5.0) -> float:
    """Seconds until `check` no longer raised AssertionError; its last error if it still does after `within`."""
    began = time.monotonic()
    while True:
        try:
            check()
        except AssertionError:
            if time.monotonic() - began > within:
                raise
            time.sleep(STEP)
        else:
            return time.monotonic() - began


def until(holds: Callable[[], bool], seconds: float = 20.0) -> float:
    """Seconds until `holds()`; fails if it does not within `seconds`."""

    def check() -> None:
        assert holds(), f"it does not hold after {seconds} s"

    return eventually(check, seconds)
