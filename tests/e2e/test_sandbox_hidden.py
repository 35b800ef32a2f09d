"""What is the daemon's own is not seen in a sandbox: neither its sockets nor its records."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_cli_network import towline
from tests.support import boxes
from tests.support.daemon import Daemon
from tests.support.sandbox import python

PROBE = """
import os, socket, sys
*sockets, first, second = sys.argv[1:]
for path in sockets:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error:
        print("refused")
    else:
        print("connected")
print(os.listdir(first), os.listdir(second))
print(open("/etc/hostname").read().strip())
"""
NOTHING = "refused\nrefused\n[] []\nh1\n"


@pytest.fixture
def open_daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """It listens below its exec root and in another place."""
    daemon = make_daemon()
    daemon.args += ["-H", f"unix://{daemon.socket}", "-H", f"unix://{other(daemon)}"]
    return daemon.start()


def other(daemon: Daemon) -> Path:
    return daemon.root / "other.sock"


def probe(daemon: Daemon) -> list[str]:
    return [*python(PROBE), daemon.socket, str(other(daemon)), str(daemon.exec_root), str(daemon.data_root)]


def test_the_host_sees_them(open_daemon: Daemon) -> None:
    said = open_daemon.run(*probe(open_daemon))
    assert said.startswith("connected\nconnected\n")
    assert "docker.sock" in said


def test_a_command_in_the_foreground_does_not(open_daemon: Daemon) -> None:
    done = towline(open_daemon, "run", "--rm", "--hostname", "h1", "-w", "/", "--", *probe(open_daemon))
    assert (done.status, done.err, done.out) == (0, "", NOTHING)
    assert os.listdir(open_daemon.exec_root)


def test_a_detached_one_and_what_is_executed_beside_it_do_not(open_daemon: Daemon) -> None:
    with boxes.running(open_daemon, "c1", "bridge", hostname="h1"):
        done = towline(open_daemon, "exec", "-w", "/", "c1", "--", *probe(open_daemon))
        assert (done.status, done.err, done.out) == (0, "", NOTHING)
        with boxes.running(open_daemon, "c2", "bridge"):  # its pin comes up beneath what is hidden
            assert towline(open_daemon, "exec", "-w", "/", "c1", "--", *probe(open_daemon)).out == NOTHING
    assert not list((open_daemon.exec_root / "netns").iterdir())
