"""`towline service` against canned answers: what is asked, what is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import EMPTY, answer, run

Capture = pytest.CaptureFixture[str]
SERVICE: dict[str, Any] = {
    "id": "s" * 25,
    "name": "web",
    "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z",
    "version": 7,
    "mode": "vip",
    "networks": [
        {"id": "w" * 25, "name": "wide", "ingress": False, "ipv4": "10.0.1.250/24", "ipv6": "fd00::9/64"},
        {"id": "i" * 25, "name": "ingress", "ingress": True, "ipv4": "10.0.0.250/24", "ipv6": ""},
    ],
    "ports": [
        {"target": 80, "published": 8080, "protocol": "tcp", "mode": "ingress", "name": "http"},
        {"target": 53, "published": 0, "protocol": "udp", "mode": "host", "name": ""},
    ],
    "labels": {"a": "b", "c": "d"},
    "members": [
        {
            "sandbox": "1" * 64,
            "name": "one\x1b",
            "node": "n" * 25,
            "hostname": "here",
            "up": True,
            "addresses": {"wide": ["10.0.1.2/24"]},
        },
        {"sandbox": "2" * 64, "name": "two", "node": "m" * 25, "hostname": "far", "up": False, "addresses": {}},
    ],
}


def sent(daemon: Any, at: int = 0) -> Any:
    return json.loads(daemon.requests[at].body)


def test_create_asks_for_what_is_named(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer(SERVICE))
    publish = ["-p", "8080:80", "-p", "53/udp", "--publish", "target=9,published=90,mode=host,name=x", "-p", "1-2:3-4"]
    flags = ["--network", "wide", "--label", "a=b", "--endpoint-mode", "vip"]
    assert run(daemon, "service", "create", *flags, *publish, "web") == 0
    assert capsys.readouterr().out == "s" * 25 + "\n"
    assert daemon.requests[0].line == "POST /towline/v1/services HTTP/1.1"
    assert sent(daemon) == {
        "name": "web",
        "networks": ["wide"],
        "labels": {"a": "b"},
        "mode": "vip",
        "ports": [
            {"target": 80, "published": 8080},
            {"target": 53, "protocol": "udp"},
            {"target": 9, "published": 90, "mode": "host", "name": "x"},
            {"target": 3, "published": 1},
            {"target": 4, "published": 2},
        ],
    }


@pytest.mark.parametrize("text", ["x", "1:2:3", "1-2:3", "2-1:2-1", "published=1", "target=x", "target=1,a=b", "1e5"])
def test_ports_that_cannot_be_read(serve: Serve, capsys: Capture, text: str) -> None:
    assert run(serve(), "service", "create", "-p", text, "web") != 0
    assert f'invalid port "{text}"' in capsys.readouterr().err


def test_ls_shows_names_addresses_and_ports(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer([SERVICE]), answer([SERVICE]), answer([SERVICE]))
    assert run(daemon, "service", "ls") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["SERVICE", "ID", "NAME", "MODE", "MEMBERS", "ADDRESSES", "PORTS"]
    assert row.startswith("s" * 25)
    assert row.split()[1:6] == ["web", "vip", "1/2", "10.0.1.250,", "fd00::9"]
    assert "*:8080->80/tcp (http), host:any->53/udp" in row
    assert run(daemon, "service", "ls", "--format", '{{.Name}} {{.Label "c"}} {{.Networks}}') == 0
    assert capsys.readouterr().out == "web d wide, ingress\n"
    assert run(daemon, "service", "ls", "-q") == 0
    assert capsys.readouterr().out == "s" * 25 + "\n"


def test_inspect_shows_members_and_goes_on_after_one_that_is_missing(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"message": "service x not found"}, "404 Not Found"), answer(SERVICE))
    assert run(daemon, "service", "inspect", "x", "web") == 1
    said = capsys.readouterr()
    assert "service x not found" in said.err
    assert "10.0.1.250/24, fd00::9/64" in said.out
    assert "ingress (ingress)" in said.out
    assert "one\\x1b" in said.out
    assert "far (down)" in said.out


def test_update_changes_what_is_named_and_nothing_else(serve: Serve) -> None:
    daemon = serve(answer(SERVICE), answer(SERVICE))
    change = ["--label-rm", "a", "--label-add", "e=f", "--network-rm", "wide", "--network-add", "other"]
    ports = ["--publish-rm", "53/udp", "--publish-add", "9:8"]
    assert run(daemon, "service", "update", *change, *ports, "--endpoint-mode", "dnsrr", "web") == 0
    assert daemon.requests[1].line == f"POST /towline/v1/services/{'s' * 25}/update HTTP/1.1"
    assert sent(daemon, 1) == {
        "version": 7,
        "mode": "dnsrr",
        "labels": {"c": "d", "e": "f"},
        "networks": ["other"],
        "ports": [SERVICE["ports"][0], {"target": 8, "published": 9}],
    }


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "nothing to change is named"),
        (["--network-rm", "x"], "service web is not on network x"),
        (["--network-rm", "ingress"], "service web is not on network ingress"),
        (["--publish-rm", "80/udp"], "service web publishes no target port 80/udp"),
    ],
)
def test_updates_that_mean_nothing(serve: Serve, capsys: Capture, flags: list[str], why: str) -> None:
    assert run(serve(answer(SERVICE)), "service", "update", *flags, "web") != 0
    assert why in capsys.readouterr().err


def test_rm_goes_on_and_forces(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"message": "it has members"}, "409 Conflict"), EMPTY)
    assert run(daemon, "service", "rm", "one", "two") == 1
    said = capsys.readouterr()
    assert ("it has members" in said.err, said.out) == (True, "two\n")


def test_rm_by_force_of_one_that_is_gone(serve: Serve) -> None:
    daemon = serve(answer({"message": "gone"}, "404 Not Found"))
    assert run(daemon, "service", "rm", "-f", "web") == 0
    assert daemon.requests[0].line == "DELETE /towline/v1/services/web?force=1 HTTP/1.1"


def test_run_names_its_service(serve: Serve) -> None:
    daemon = serve(answer({"id": "a" * 64, "warning": ""}), answer({}))
    assert run(daemon, "run", "-d", "--service", "web", "true") == 0
    assert sent(daemon)["service"] == "web"
