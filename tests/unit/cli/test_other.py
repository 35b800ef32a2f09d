"""doctor, events, info, version, help: against canned answers."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import answer, chunked, run
from towline.cli import catalog
from towline.cli.main import main

Capture = pytest.CaptureFixture[str]
FINDING = {"Object": "network web", "Problem": "link br-0123 is missing", "Repair": "make the link"}
EVENT = {
    "Type": "network",
    "Action": "create",
    "Actor": {"ID": "abc", "Attributes": {"type": "bridge", "name": "web"}},
    "scope": "local",
    "time": 1738317600,
    "timeNano": 1738317600123456789,
}


def test_doctor_is_content_with_equality(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"Findings": []}))
    assert run(daemon, "doctor") == 0
    assert capsys.readouterr().out == "Store and kernel are equal.\n"
    assert daemon.requests[0].line == "GET /towline/v1/diagnose HTTP/1.1"


@pytest.mark.parametrize("reply", [{"Findings": [FINDING]}, [{key.lower(): text for key, text in FINDING.items()}]])
def test_doctor_explains_each_difference(serve: Serve, capsys: Capture, reply: object) -> None:
    assert run(serve(answer(reply)), "doctor") == 1
    assert capsys.readouterr().out == (
        "1 difference between what is stored and what the kernel has:\n\n"
        "  1. network web\n     link br-0123 is missing\n     repair: make the link\n\n"
        "Run `towline doctor --fix` to repair.\n"
    )


def test_doctor_fix_repairs_and_looks_again(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"Findings": [FINDING, FINDING]}), answer({"Findings": []}))
    assert run(daemon, "doctor", "--fix") == 0
    out = capsys.readouterr().out
    assert out.startswith("2 differences found and repaired:")
    assert out.endswith("Store and kernel are equal.\n")
    assert [request.line.split()[0] for request in daemon.requests] == ["POST", "GET"]


def test_doctor_fix_that_does_not_help_ends_with_1(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"Findings": [FINDING]}), answer({"Findings": [FINDING]}))
    assert run(daemon, "--json", "doctor", "--fix") == 1
    assert json.loads(capsys.readouterr().out) == {"Equal": False, "Repaired": [FINDING], "Findings": [FINDING]}


def test_doctor_knows_a_daemon_that_is_not_towline(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer({"message": "page not found"}, "404 Not Found")), "doctor") == 1
    assert "is not Towline: it has no /towline/v1/diagnose" in capsys.readouterr().err


def test_events_stream_as_dockers_lines(serve: Serve, capsys: Capture) -> None:
    line = json.dumps(EVENT).encode() + b"\n"
    daemon = serve(chunked(line[:10], line[10:] + line))
    assert run(daemon, "events", "--since", "1738317600", "--until", "0s", "-f", "type=network") == 0
    want = "2025-01-31T10:00:00.123456789Z network create abc (name=web, type=bridge)\n"
    assert capsys.readouterr().out == want * 2
    query = parse_qs(urlsplit(daemon.requests[0].line.split()[1]).query)
    assert query["since"] == ["1738317600"]
    assert float(query["until"][0]) > 1738317600
    assert json.loads(query["filters"][0]) == {"type": {"network": True}}


@pytest.mark.parametrize(
    ("args", "want"), [(["--format", "{{.Action}} {{.Actor.ID}}"], "create abc\n"), (["--json"], None)]
)
def test_events_formats(serve: Serve, capsys: Capture, args: list[str], want: str | None) -> None:
    assert run(serve(chunked(json.dumps(EVENT).encode() + b"\n")), "events", *args) == 0
    out = capsys.readouterr().out
    assert out == want if want else json.loads(out) == EVENT


def test_a_stream_that_is_cut_shows_what_came_and_fails(serve: Serve, capsys: Capture) -> None:
    daemon = serve(chunked(json.dumps(EVENT).encode() + b"\n")[:-5])
    assert run(daemon, "events", "--format", "{{.Action}}") == 125
    assert capsys.readouterr() == (
        "create\n",
        "towline: the daemon closed the connection in the middle of its answer\n",
    )


def test_version_shows_both_sides(serve: Serve, capsys: Capture) -> None:
    server = {"Platform": {"Name": "Towline"}, "Version": "9.9", "ApiVersion": "1.56", "Os": "linux"}
    assert run(serve(answer(server)), "version") == 0
    out = capsys.readouterr().out
    assert out.startswith("Client: Towline\n Version:")
    assert "Server: Towline\n Version:       9.9\n API version:   1.56\n" in out


def test_version_without_a_daemon_shows_the_client_and_fails(sockets: os.PathLike[str], capsys: Capture) -> None:
    assert main(["-H", f"unix://{os.fspath(sockets)}/none", "--json", "version"]) == 125
    out, err = capsys.readouterr()
    assert json.loads(out)["Server"] is None
    assert "there is no such socket" in err


def test_info_shows_what_the_daemon_says(serve: Serve, capsys: Capture) -> None:
    state = {
        "Name": "host1",
        "NCPU": 0,
        "Plugins": {"Network": ["bridge", "host", "null"]},
        "DefaultAddressPools": [{"Base": "10.0.0.0/8", "Size": 24}],
        "Warnings": ["no forwarding"],
    }
    assert run(serve(answer(state)), "info") == 0
    out = capsys.readouterr().out
    assert "Host name:         host1\n" in out
    assert "Network drivers:   bridge host null\n" in out
    assert "Address pool:      10.0.0.0/8 in /24\n" in out
    assert out.endswith("WARNING: no forwarding\n")


@pytest.mark.parametrize("command", catalog.COMMANDS, ids=lambda command: command.path)
def test_every_command_has_its_help(command: catalog.Command, capsys: Capture) -> None:
    words = command.path.split()
    assert main(["help", *words]) == 0
    page = capsys.readouterr().out
    assert main([*words, "--help"]) == 0
    if command.path != "help":
        assert capsys.readouterr().out == page
    assert command.summary in page
    assert all(f"--{flag.long}" in page for flag in command.flags)
    assert max(map(len, page.splitlines())) <= 120


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["help"]])
def test_the_top_page_names_every_command(args: list[str], capsys: Capture) -> None:
    assert main(args) == 0
    page = capsys.readouterr().out
    assert all(f"  {command.path} " in page for command in catalog.children(""))
