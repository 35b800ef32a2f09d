"""Messages to systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from towline.daemon.notify import Notifier


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "n"))
        made.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        yield made


def test_messages(receiver: socket.socket) -> None:
    notifier = Notifier()
    assert "NOTIFY_SOCKET" not in os.environ
    notifier.ready("well")
    assert receiver.recv(200).decode() == f"READY=1\nSTATUS=well\nMAINPID={os.getpid()}"
    notifier.reloading()
    reloading, stamp = receiver.recv(200).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert int(stamp.removeprefix("MONOTONIC_USEC=")) > 0
    notifier.stopping()
    assert receiver.recv(200).startswith(b"STOPPING=1\n")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"), [("3000000", None, 1.5), ("3000000", "1", 0.0), ("junk", None, 0.0), (None, None, 0.0)]
)
def test_watchdog_period(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, expected: float
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert Notifier().watchdog_seconds == expected


def test_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"towline-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"\0{name}")
        made.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Notifier().alive()
        assert made.recv(50) == b"WATCHDOG=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("x")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready("x")
