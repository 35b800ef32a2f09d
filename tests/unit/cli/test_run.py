"""`towline run`, `attach` and `exec` against canned answers: what is asked, what is left, which status it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import EMPTY, answer, run
from towline.cli import foreground, sandbox_request
from towline.cli.address import Address
from towline.cli.client import Client
from towline.cli.errors import CliError
from towline.cli.main import main

Capture = pytest.CaptureFixture[str]
ID = "ab" * 32
CREATED = answer({"id": ID, "warning": ""}, "201 Created")
STARTED = answer({"id": ID, "netns": "/n", "hosts": "/r/hosts", "resolv_conf": "/r/resolv.conf", "hostname": "/r/h"})


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in sandbox_request.PASSED_ON:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.chdir(tmp_path)


def refused(message: str, status: str = "400 Bad Request") -> bytes:
    return answer({"message": message}, status)


def test_run_in_the_background_creates_starts_and_prints_the_id(serve: Serve, capsys: Capture, tmp_path: Path) -> None:
    daemon = serve(CREATED, STARTED)
    assert run(daemon, "run", "-d", "--network", "web", "sleep", "-x", "--name", "1") == 0
    assert capsys.readouterr() == (ID + "\n", "")
    assert [request.line for request in daemon.requests] == [
        "POST /towline/v1/sandboxes HTTP/1.1",
        f"POST /towline/v1/sandboxes/{ID}/start HTTP/1.1",
    ]
    assert daemon.requests[0].json == {
        "networks": [{"network": "web"}],
        "command": ["sleep", "-x", "--name", "1"],
        "environment": ["HOME=/h"],
        "directory": str(tmp_path),
    }
    assert daemon.requests[1].body == b""


def test_run_sends_every_flag(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("# no\n\nA=file\n  B=b c\nPASSED\nUNSET_HERE\n")
    monkeypatch.setenv("PASSED", "on")
    flags = (
        "-d --name shop --hostname h -p 8080:80 -p [::1]::53/udp --expose 90 -P --label k=v -l bare --sysctl net.a=1"
    )
    more = "--dns 10.0.0.53 --dns-search a.b --dns-option ndots:2 --add-host db:10.0.0.9 --restart on-failure:3"
    env = "--env-file env -e A=flag -e HOME -w /srv/.. "
    daemon = serve(CREATED, STARTED)
    assert run(daemon, "run", *f"{flags} {more} {env}".split(), "--", "-odd", "--") == 0
    assert daemon.requests[0].json == {
        "name": "shop",
        "hostname": "h",
        "ports": ["8080:80", "[::1]::53/udp", "90"],
        "exposed": ["90"],
        "labels": {"k": "v", "bare": ""},
        "command": ["-odd", "--"],
        "environment": ["HOME=/h", "A=flag", "B=b c", "PASSED=on"],
        "directory": "/",
        "restart": "on-failure:3",
        "dns": {"servers": ["10.0.0.53"], "search": ["a.b"], "options": ["ndots:2"]},
        "extra_hosts": ["db:10.0.0.9"],
        "sysctls": {"net.a": "1"},
    }


def test_what_the_daemon_refuses_to_create_ends_with_125(serve: Serve, capsys: Capture) -> None:
    daemon = serve(refused("network nope not found", "404 Not Found"))
    assert run(daemon, "run", "-d", "--network", "nope", "true") == 125
    assert capsys.readouterr() == ("", "towline: network nope not found\n")
    assert len(daemon.requests) == 1


@pytest.mark.parametrize(("recorded", "status"), [(127, 127), (126, 126), (0, 125), (1, 125)])
def test_what_it_refuses_to_start_is_removed(serve: Serve, capsys: Capture, recorded: int, status: int) -> None:
    daemon = serve(CREATED, refused("cannot execute nope"), answer({"id": ID, "exit_code": recorded}), EMPTY)
    assert run(daemon, "run", "-d", "nope") == status
    assert capsys.readouterr() == ("", "towline: cannot execute nope\n")
    assert daemon.requests[-1].line == f"DELETE /towline/v1/sandboxes/{ID}?force=1 HTTP/1.1"


def test_what_cannot_be_removed_is_named(serve: Serve, capsys: Capture) -> None:
    daemon = serve(CREATED, refused("no"), answer({}), refused("disk full", "500 Oops"))
    assert run(daemon, "run", "-d", "true") == 125
    assert f"towline: sandbox {ID[:12]} is left behind: disk full\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "`run` needs COMMAND..."),
        ("--netwrok web true", "unknown flag --netwrok for `run`; did you mean --network?"),
        ("-d --rm --restart always true", "--rm and --restart exclude each other"),
        ("--restart always true", "--restart needs --detach"),
        ("--json true", "--json is for --detach"),
        ("-d -e =x true", 'invalid variable "=x"'),
        ("-d --sysctl net.a true", 'invalid --sysctl "net.a": want KEY=VALUE'),
        ("-d --env-file nope true", "cannot read --env-file nope"),
        ("-d --network web,x=y true", '"x=y" is not understood'),
    ],
)
def test_a_wrong_command_line_ends_with_125(sockets: Path, capsys: Capture, words: str, message: str) -> None:
    """As docker run's: the statuses below 125 are the command's."""
    assert main(["-H", f"unix://{sockets}/none", "run", *words.split()]) == 125
    assert message in capsys.readouterr().err


def test_a_daemon_that_is_not_there_ends_with_125(sockets: Path) -> None:
    assert main(["-H", f"unix://{sockets}/none", "run", "-d", "true"]) == 125


def test_the_foreground_needs_a_daemon_on_this_host_and_root(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CliError, match="may be on another host"):
        foreground.check_place(Client(Address("tcp://h:1", "-H", host="h", port=1)))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CliError, match="only root"):
        foreground.check_place(Client(Address("unix:///s", "-H", path="/s")))


def test_a_foreground_run_that_is_refused_leaves_nothing(serve: Serve) -> None:
    """Two processes: the inner one asks, the outer one cleans up."""
    daemon = serve(CREATED, refused("port 80 is taken", "500 Oops"), EMPTY)
    done = subprocess.run(
        [sys.executable, "-c", _AS_ROOT, "-H", f"unix://{daemon.path}", "run", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (125, "", "towline: port 80 is taken\n")
    assert [request.line.split()[0] for request in daemon.requests] == ["POST", "POST", "DELETE"]
    process: dict[str, Any] = daemon.requests[1].json["process"]
    assert process["pid"] > 1
    assert process["started"] > 0


_AS_ROOT = """
import os, sys
os.geteuid = lambda: 0
from towline.cli.main import main
sys.exit(main())
"""


def test_attach_by_process_names_its_start(serve: Serve, capsys: Capture) -> None:
    daemon = serve(CREATED)
    assert run(daemon, "attach", "vm1", "--pid", str(os.getpid()), "--network", "web,ip=10.0.0.2", "-p", "80") == 0
    assert capsys.readouterr().out == ID + "\n"
    started = int(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19])
    assert daemon.requests[0].json == {
        "name": "vm1",
        "networks": [{"network": "web", "ipv4": "10.0.0.2"}],
        "ports": ["80"],
        "attach": {"process": {"pid": os.getpid(), "started": started}},
    }


def test_attach_by_path_makes_it_absolute(serve: Serve, capsys: Capture, tmp_path: Path) -> None:
    daemon = serve(answer({"id": ID, "warning": "careful\x07"}, "201 Created"))
    assert run(daemon, "--json", "attach", "--netns", "ns/x", "vm1") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"id": ID, "warning": "careful\x07"}
    assert err == "WARNING: careful\\x07\n"
    assert daemon.requests[0].json == {"name": "vm1", "attach": {"netns": str(tmp_path / "ns/x")}}


@pytest.mark.parametrize(
    ("words", "terminal", "told"),
    [
        ("--network web", True, True),
        ("--network bridge --network web", True, True),
        ("--network bridge", True, False),
        ("", True, False),
        ("--json --network web", True, False),
        ("--network web", False, False),
    ],
)
def test_attach_tells_a_person_where_names_are(
    serve: Serve, capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: str, terminal: bool, told: bool
) -> None:
    daemon = serve(CREATED)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert run(daemon, "attach", "vm1", "--netns", "/x", *words.split()) == 0
    out, err = capsys.readouterr()
    assert ID in out
    assert ("nameserver 127.0.0.11" in err) == told
    assert told or not err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("vm1", "attach wants either --pid or --netns"),
        ("vm1 --pid 1 --netns /x", "attach wants either --pid or --netns"),
        ("vm1 --pid x1", '"x1" is not a process id'),
        ("vm1 --pid 4194999999", "there is no process 4194999999"),
        ("--pid 1", "`attach` needs NAME"),
    ],
)
def test_attach_names_what_is_wrong(sockets: Path, capsys: Capture, words: str, message: str) -> None:
    assert main(["-H", f"unix://{sockets}/none", "attach", *words.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sandbox", "message"),
    [
        ({"state": "exited"}, "sandbox shop is not running"),
        ({"state": "running", "pid": 0, "netns": "/run/netns/x"}, "only its namespace /run/netns/x"),
        ({"state": "running", "pid": os.getpid(), "netns": "/nope"}, "only its namespace /nope"),
    ],
)
def test_exec_needs_a_process_in_the_sandbox(
    serve: Serve, capsys: Capture, monkeypatch: pytest.MonkeyPatch, sandbox: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert run(serve(answer(sandbox)), "exec", "shop", "--", "true") == 125
    assert message in capsys.readouterr().err
