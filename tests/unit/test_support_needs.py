"""Tests that lack a tool or root fail; only the variable lets them skip."""

from __future__ import annotations

import os

import pytest

from tests.support import needs
from tests.support.netns import namespace

NONE = "no-such-program"


def test_a_missing_tool_fails_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.ALLOW_SKIP, raising=False)
    with pytest.raises(pytest.fail.Exception, match=f"no {NONE} on this machine.*make setup.*{needs.ALLOW_SKIP}=1"):
        needs.need_tool(NONE)


def test_the_variable_lets_it_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(needs.ALLOW_SKIP, "1")
    with pytest.raises(pytest.skip.Exception, match=f"no {NONE} on this machine"):
        needs.need_tool(NONE)


def test_a_tool_that_is_there_is_found() -> None:
    assert needs.need_tool("sh").endswith("/sh")


def test_without_root_a_namespace_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.ALLOW_SKIP, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.fail.Exception, match="not root"), namespace():
        pass
