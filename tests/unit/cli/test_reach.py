"""Which daemon is meant, and what is said when it cannot be reached or does not answer as it should."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import answer, chunked, run
from towline.cli.address import Tls, choose, parse_address
from towline.cli.errors import Unreachable, UsageError
from towline.cli.main import main
from towline.cli.transport import open_channel

Capture = pytest.CaptureFixture[str]


def test_the_nearest_name_of_the_host_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("") == ("unix:///run/towline/docker.sock", "default")
    monkeypatch.setenv("DOCKER_HOST", "tcp://d")
    assert choose("") == ("tcp://d", "DOCKER_HOST")
    monkeypatch.setenv("TOWLINE_HOST", "tcp://t")
    assert choose("") == ("tcp://t", "TOWLINE_HOST")
    assert choose("unix://x") == ("unix://x", "-H")


@pytest.mark.parametrize(
    ("url", "tls", "want"),
    [
        ("unix:///a/b", None, ("/a/b", "", 0)),
        ("unix://", None, ("/run/towline/docker.sock", "", 0)),
        ("tcp://host", None, ("", "host", 2375)),
        ("tcp://host/", Tls(), ("", "host", 2376)),
        ("tcp://10.0.0.1:99", None, ("", "10.0.0.1", 99)),
        ("tcp://[fe80::1%eth0]:99", None, ("", "fe80::1%eth0", 99)),
    ],
)
def test_addresses(url: str, tls: Tls | None, want: tuple[str, str, int]) -> None:
    found = parse_address(url, "-H", tls)
    assert (found.path, found.host, found.port) == want


@pytest.mark.parametrize(
    "url",
    [
        "/run/x.sock",
        "host:1",
        "ssh://h",
        "tcp://",
        "tcp://h:0",
        "tcp://h:70000",
        "tcp://h:x",
        "tcp://a b",
        "unix:///" + "x" * 200,
    ],
)
def test_wrong_addresses_are_usage_errors(url: str) -> None:
    with pytest.raises(UsageError):
        parse_address(url, "TOWLINE_HOST", None)


def test_no_socket_and_nobody_listening_are_told_apart(sockets: Path, capsys: Capture) -> None:
    path = sockets / "s"
    assert main(["-H", f"unix://{path}", "network", "ls"]) == 125
    err = capsys.readouterr().err
    assert f"no daemon at unix://{path} (from -H): there is no such socket" in err
    assert "towlined" in err
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert main(["-H", f"unix://{path}", "network", "ls"]) == 125
    assert "nobody listens" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket away")
def test_a_closed_socket_names_its_group(sockets: Path) -> None:
    sockets.chmod(0o755)
    path = sockets / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chown(path, 0, 4)
        path.chmod(0o660)
        lines = [
            "import _socket, grp, os, sys, towline.cli.info",  # before the interpreter's own files are out of reach
            "from towline.cli.main import main",
            "os.setgid(65534); os.setgroups([]); os.setuid(65534)",
            f"sys.exit(main(['-H', 'unix://{path}', 'info']))",
        ]
        command = [sys.executable, "-c", "\n".join(lines)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "permission denied on unix://" in done.stderr
    assert 'join the group "adm"' in done.stderr


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[", "in the middle of its answer"),
        (b"rubbish\r\n\r\n", "not HTTP as it should be"),
        (answer({"a": 1}), "is not a list of objects"),
        (answer([1]), "is not a list of objects"),
        (b"HTTP/1.1 200 OK\r\n\r\n{nope", "is not JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_answers_that_are_none(serve: Serve, capsys: Capture, reply: bytes, words: str) -> None:
    assert run(serve(reply), "network", "ls") == 125
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_a_change_that_was_cut_says_that_it_may_have_happened(serve: Serve, capsys: Capture) -> None:
    assert run(serve(b""), "network", "create", "a") == 125
    assert "may have been carried out or not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 500 X\r\n\r\nplain \x1b[2Jtext", "towline: plain \\x1b[2Jtext\n"),
        (b"HTTP/1.1 502 X\r\n\r\n", "towline: the daemon answered with status 502\n"),
        (b"HTTP/1.1 301 X\r\nContent-Length: 0\r\n\r\n", "towline: the daemon answered with status 301\n"),
        (answer({"message": 5}, "400 X"), 'towline: {"message": 5}\n'),
    ],
)
def test_error_answers_of_any_shape_are_shown(serve: Serve, capsys: Capture, reply: bytes, words: str) -> None:
    assert run(serve(reply), "network", "ls") == 1
    assert capsys.readouterr().err == words


def test_chunked_answers_are_put_together(serve: Serve, capsys: Capture) -> None:
    assert run(serve(chunked(b'[{"Na', b'me": "x", "Id": "1"}]')), "network", "ls", "--format", "{{.Name}}") == 0
    assert capsys.readouterr().out == "x\n"


def test_a_silent_daemon_is_given_up(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sockets / "s"))
        listener.listen()
        channel = open_channel(parse_address(f"unix://{sockets}/s", "-H", None), 0.01)
        with pytest.raises(TimeoutError):
            channel.recv(1)
        channel.close()


def test_tcp_errors_are_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable, match="connection refused"):
        open_channel(parse_address(f"tcp://127.0.0.1:{port}", "-H", None), 1)


def test_a_full_disk_and_a_closed_pipe_have_their_own_status(serve: Serve) -> None:
    daemon = serve(answer([{"Name": "x"}] * 5000), answer([{"Name": "x"}] * 5000))
    command = [sys.executable, "-m", "towline.cli", "-H", f"unix://{daemon.path}", "network", "ls"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "towline: cannot write the output: No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
