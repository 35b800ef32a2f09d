"""For all rings."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("towline", deadline=None)
settings.load_profile("towline")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Signals that `nohup` or a shell's background ignores would be ignored by every process that tests start too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_DFL)
