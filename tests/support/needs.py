"""What the rings that need root need from the machine. Without it they fail, so that a green run means that all was
tested; TOWLINE_TEST_ALLOW_SKIP=1 lets them skip instead."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

ALLOW_SKIP = "TOWLINE_TEST_ALLOW_SKIP"


def lacking(what: str) -> NoReturn:
    """Fail the test, or skip it if the variable allows that. what: as in "no docker on this machine: ..."."""
    if os.environ.get(ALLOW_SKIP) == "1":
        pytest.skip(what)
    pytest.fail(
        f"{what}. `make setup` as root installs what tests need; {ALLOW_SKIP}=1 skips such tests", pytrace=False
    )


def need_tool(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    return found if found is not None else lacking(f"no {name} on this machine")


def need_root(why: str) -> None:
    if os.geteuid():
        lacking(f"not root: cannot {why}")
