"""Sockets of the API: modes, stale files, addresses, sockets passed by systemd."""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from towline.daemon.listeners import Listener, open_listeners
from towline.model.config import Config
from towline.model.errors import ConfigError, Failure


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners to close at the end."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def free_port(family: socket.AddressFamily, address: str) -> int:
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def test_unix_socket_is_for_owner_and_group(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "a.sock"
    opened += open_listeners(Config(hosts=(f"unix://{path}",)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert connects(path)


def test_unix_socket_is_never_wider_not_even_while_it_is_made(
    tmp_path: Path, opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sock"
    seen: list[int] = []
    real_chown = os.chown

    def chown(target: str, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(os.stat(target).st_mode))
        real_chown(target, uid, gid)

    monkeypatch.setattr(os, "chown", chown)
    old = os.umask(0)
    try:
        opened += open_listeners(Config(hosts=(f"unix://{path}",)))
    finally:
        os.umask(old)
    assert seen == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize("by_name", [True, False])
def test_group_owns_the_socket(tmp_path: Path, opened: list[Listener], by_name: bool) -> None:
    entry = grp.getgrgid(os.getgroups()[0] if os.geteuid() else 65534 if _has_group(65534) else 0)
    path = tmp_path / "a.sock"
    group = entry.gr_name if by_name else str(entry.gr_gid)
    opened += open_listeners(Config(hosts=(f"unix://{path}",), group=group))
    assert path.stat().st_gid == entry.gr_gid


def _has_group(gid: int) -> bool:
    return any(entry.gr_gid == gid for entry in grp.getgrall())


def test_unknown_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="group 'no-such-group' does not exist"):
        open_listeners(Config(hosts=(f"unix://{tmp_path}/a",), group="no-such-group"))


def test_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    opened += open_listeners(Config(hosts=(f"unix://{path}",)))
    assert connects(path)
    with pytest.raises(Failure, match=rf"unix://{path}: another process does"):
        open_listeners(Config(hosts=(f"unix://{path}",)))
    assert connects(path)


def test_other_files_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("x")
    with pytest.raises(Failure, match="not a socket is in the way"):
        open_listeners(Config(hosts=(f"unix://{path}",)))
    assert path.read_text() == "x"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"make the directory {tmp_path}/none first"):
        open_listeners(Config(hosts=(f"unix://{tmp_path}/none/a.sock",)))


def test_close_removes_only_our_file(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a", tmp_path / "b"
    first, second = open_listeners(Config(hosts=(f"unix://{ours}", f"unix://{theirs}")))
    theirs.unlink()
    theirs.write_text("x")
    first.close()
    second.close()
    assert not ours.exists()
    assert theirs.exists()


def test_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failure):
        open_listeners(Config(hosts=(f"unix://{tmp_path}/a", f"unix://{tmp_path}/none/b")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "address", "host"), [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")]
)
def test_tcp(
    family: socket.AddressFamily, address: str, host: str, opened: list[Listener], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port(family, address)
    with caplog.at_level(logging.WARNING):
        opened += open_listeners(Config(hosts=(f"tcp://{host}:{port}",)))
    assert "without encryption or authentication" in caplog.text
    assert not opened[0].encrypted
    with socket.create_connection((address, port), timeout=5):
        pass
    with pytest.raises(Failure, match=r"cannot listen on tcp://.*in use"):
        open_listeners(Config(hosts=(f"tcp://{host}:{port}",)))


def test_tcp_with_tls_does_not_warn(opened: list[Listener], caplog: pytest.LogCaptureFixture) -> None:
    opened += open_listeners(Config(hosts=("tcp://127.0.0.1:0",), tls=True))
    assert opened[0].encrypted
    assert caplog.text == ""


def test_unknown_name_is_named() -> None:
    with pytest.raises(Failure, match=r"cannot listen on tcp://no\.such\.host\.invalid:1"):
        open_listeners(Config(hosts=("tcp://no.such.host.invalid:1",)))


def test_fd_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(Failure, match="no socket was passed for fd://"):
        open_listeners(Config(hosts=("fd://",)))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "0")
    with pytest.raises(Failure, match="systemd passed no socket for fd://api"):
        open_listeners(Config(hosts=("fd://api",)))
