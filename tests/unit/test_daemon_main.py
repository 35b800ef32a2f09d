"""Exit status and output of towlined where no daemon is started."""

from __future__ import annotations

import os

import pytest

from towline import __version__
from towline.daemon.main import run


def test_not_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run([]) == 1
    assert capsys.readouterr().err == "towlined: must be started as root: it makes links and nftables rules\n"


@pytest.mark.parametrize(
    ("argv", "status", "out", "err"),
    [
        (["--version"], 0, f"towlined {__version__}\n", ""),
        (["--validate"], 0, "configuration OK\n", ""),
        (["--no-such"], 2, "", "unknown flag: --no-such"),
        (["--config-file", "/no/such.json"], 2, "", "file /no/such.json: No such file or directory"),
    ],
)
def test_exit_status(argv: list[str], status: int, out: str, err: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == status
    said = capsys.readouterr()
    assert said.out == out
    assert err in said.err
