"""`towline network` against canned answers: what is asked, what is shown, which status it ends with."""

from __future__ import annotations

import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import EMPTY, answer, run
from towline.cli.main import main

Capture = pytest.CaptureFixture[str]


def network(name: str, **more: object) -> dict[str, object]:
    return {
        "Name": name,
        "Id": (name.encode().hex() * 64)[:64],
        "Created": "2025-01-31T10:00:00.123456789Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Internal": False,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}]},
        "Labels": {},
        **more,
    }


def test_ls_shows_dockers_table_in_natural_order(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer([network("net10"), network("net9"), network("a-very-long-name", Driver="null")]))
    assert run(daemon, "network", "ls") == 0
    assert capsys.readouterr().out == (
        "NETWORK ID     NAME               DRIVER    SCOPE\n"
        "612d76657279   a-very-long-name   null      local\n"
        "6e6574396e65   net9               bridge    local\n"
        "6e657431306e   net10              bridge    local\n"
    )
    assert daemon.requests[0].line == "GET /networks HTTP/1.1"


def test_ls_sends_filters_as_docker_does(serve: Serve) -> None:
    daemon = serve(answer([]))
    assert run(daemon, "network", "ls", "-f", "driver=bridge", "--filter", "label=a=b", "-f", "driver=host") == 0
    query = parse_qs(urlsplit(daemon.requests[0].line.split()[1]).query)
    assert json.loads(query["filters"][0]) == {"driver": {"bridge": True, "host": True}, "label": {"a=b": True}}


@pytest.mark.parametrize(
    ("args", "want"),
    [
        (["-q"], "776562776562\n"),
        (["-q", "--no-trunc"], ("776562" * 22)[:64] + "\n"),
        (["--format", "{{.Name}} {{.IPv6}}"], "web false\n"),
        (["--format", '{{.ID}}\\t{{.Labels}}\\t{{.Label "k"}}'], "776562776562\tk=v\tv\n"),
        (["--format", "table {{.Name}}\\t{{.Driver}}"], "NAME      DRIVER\nweb       bridge\n"),
        (["--format", "{{.CreatedAt}}"], "2025-01-31 10:00:00.123456789 +0000 UTC\n"),
    ],
)
def test_ls_formats(serve: Serve, capsys: Capture, args: list[str], want: str) -> None:
    assert run(serve(answer([network("web", Labels={"k": "v"})])), "network", "ls", *args) == 0
    assert capsys.readouterr().out == want


@pytest.mark.parametrize("args", [["--json", "network", "ls"], ["network", "ls", "--json"]])
def test_json_is_the_daemons_objects(serve: Serve, capsys: Capture, args: list[str]) -> None:
    assert run(serve(answer([network("web")])), *args) == 0
    assert json.loads(capsys.readouterr().out) == [network("web")]


def test_ls_format_json_is_dockers_line(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer([network("web")])), "network", "ls", "--format", "json") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["Name"] == "web"
    assert line["IPv4"] == "true"
    assert "Label" not in line


def test_names_cannot_drive_the_terminal(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer([network("a\x1b[31m\nb\u202e")])), "network", "ls") == 0
    out = capsys.readouterr().out
    assert "a\\x1b[31m\\nb\\u202e" in out
    assert "\x1b" not in out


def test_create_sends_what_the_docker_cli_sends(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"Id": "abc", "Warning": ""}, "201 Created"))
    assert run(daemon, "network", "create", "web") == 0
    assert capsys.readouterr().out == "abc\n"
    assert daemon.requests[0].json == {
        "Name": "web",
        "Driver": "bridge",
        "Scope": "",
        "IPAM": {"Driver": "default", "Options": {}, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigOnly": False,
        "ConfigFrom": None,
        "Options": {},
        "Labels": {},
    }


def test_create_sends_every_flag(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"Id": "abc", "Warning": "careful\x07"}, "201 Created"))
    flags = "-d macvlan --scope swarm --ipam-driver x --ipam-opt a=b --internal --attachable --ingress --config-only"
    more = "--config-from c -o mtu=1400 -o bare --label l=1 --label m --ipv4=false --ipv6"
    pools = "--subnet 10.0.0.0/24,fd00::/64 --ip-range 10.0.0.128/25 --gateway fd00::9 --gateway 10.0.0.9"
    aux = "--aux-address r1=10.0.0.5 --aux-address r2=10.0.0.6"
    assert run(daemon, "network", "create", *f"{flags} {more} {pools} {aux}".split(), "web") == 0
    assert daemon.requests[0].json == {
        "Name": "web",
        "Driver": "macvlan",
        "Scope": "swarm",
        "EnableIPv4": False,
        "EnableIPv6": True,
        "IPAM": {
            "Driver": "x",
            "Options": {"a": "b"},
            "Config": [
                {
                    "Subnet": "10.0.0.0/24",
                    "IPRange": "10.0.0.128/25",
                    "Gateway": "10.0.0.9",
                    "AuxiliaryAddresses": {"r1": "10.0.0.5", "r2": "10.0.0.6"},
                },
                {"Subnet": "fd00::/64", "Gateway": "fd00::9"},
            ],
        },
        "Internal": True,
        "Attachable": True,
        "Ingress": True,
        "ConfigOnly": True,
        "ConfigFrom": {"Network": "c"},
        "Options": {"mtu": "1400", "bare": ""},
        "Labels": {"l": "1", "m": ""},
    }
    assert capsys.readouterr().err == "WARNING: careful\\x07\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--gateway 10.0.0.1", "every --ip-range, --gateway and --aux-address needs a --subnet that it lies in"),
        ("--aux-address a=10.0.0.1", "every --ip-range, --gateway and --aux-address needs a --subnet that it lies in"),
        ("--subnet 10.0.0.0/24 --aux-address 10.0.0.1", "--aux-address wants NAME=ADDRESS"),
        (
            "--subnet 10.0.0.0/24,10.1.0.0/24 --gateway 10.0.0.1,10.0.0.2",
            "two --gateway for the subnet 10.0.0.0/24: 10.0.0.1 and 10.0.0.2",
        ),
        ("--subnet 10.0.0.0/24,10.1.0.0/24 --gateway 10.2.0.1", "no --subnet holds --gateway 10.2.0.1"),
        ("--subnet 10.0.0.0/24,x --gateway 10.2.0.1", "invalid --subnet: 'x' does not appear to be"),
    ],
)
def test_create_refuses_pools_that_do_not_fit(serve: Serve, capsys: Capture, flags: str, message: str) -> None:
    daemon = serve()
    assert run(daemon, "network", "create", *flags.split(), "web") == 2
    assert f"towline: {message}" in capsys.readouterr().err
    assert daemon.requests == []


def test_an_api_error_is_shown_as_it_is(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"message": "network with name web already exists"}, "409 Conflict"))
    assert run(daemon, "network", "create", "web") == 1
    assert capsys.readouterr() == ("", "towline: network with name web already exists\n")


def test_inspect_shows_what_it_finds_and_goes_on(serve: Serve, capsys: Capture) -> None:
    missing = answer({"message": "network b not found"}, "404 Not Found")
    daemon = serve(answer(network("a")), missing, answer(network("c/d é")))
    assert run(daemon, "network", "inspect", "-v", "a", "b", "c/d é") == 1
    out, err = capsys.readouterr()
    assert [found["Name"] for found in json.loads(out)] == ["a", "c/d é"]
    assert err == "towline: network b not found\n"
    paths = [request.line.split()[1] for request in daemon.requests]
    assert paths == [f"/networks/{name}?verbose=true" for name in ("a", "b", "c%2Fd%20%C3%A9")]


def test_inspect_fills_a_template_a_network(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer(network("a")), answer(network("b")))
    template = "{{.Name}}:{{range .IPAM.Config}} {{.Subnet}}{{end}}"
    assert run(daemon, "network", "inspect", "-f", template, "a", "b") == 0
    assert capsys.readouterr().out == "a: 10.0.0.0/24 fd00::/64\nb: 10.0.0.0/24 fd00::/64\n"


@pytest.mark.parametrize("command", ["inspect", "rm"])
def test_an_empty_name_is_not_the_list(serve: Serve, capsys: Capture, command: str) -> None:
    assert run(serve(), "network", command, "") == 2
    assert "the network name is empty" in capsys.readouterr().err


def test_rm_goes_on_after_an_error(serve: Serve, capsys: Capture) -> None:
    missing = answer({"message": "network b not found"}, "404 Not Found")
    daemon = serve(EMPTY, missing, EMPTY)
    assert run(daemon, "network", "rm", "a", "b", "c") == 1
    assert capsys.readouterr() == ("a\nc\n", "towline: network b not found\n")
    assert daemon.requests[2].line == "DELETE /networks/c HTTP/1.1"


def test_rm_force_forgives_what_is_missing_only(serve: Serve, capsys: Capture) -> None:
    missing = answer({"message": "network a not found"}, "404 Not Found")
    busy = answer({"message": "in use"}, "403 Forbidden")
    daemon = serve(missing, busy)
    assert run(daemon, "--json", "network", "rm", "--force", "--wait", "a", "b") == 1
    out = json.loads(capsys.readouterr().out)
    assert out == {"Removed": [], "Errors": [{"Network": "b", "Message": "in use"}]}
    assert daemon.requests[0].line == "DELETE /networks/a?wait=1 HTTP/1.1"


def test_prune_asks_first(serve: Serve, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = serve(answer({"NetworksDeleted": ["a"]}))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(daemon, "network", "prune") == 1
    assert "[y/N]" in capsys.readouterr().err
    assert daemon.requests == []
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run(daemon, "network", "prune", "--filter", "label!=keep") == 0
    assert capsys.readouterr().out == "Deleted Networks:\na\n\n"
    filters = parse_qs(urlsplit(daemon.requests[0].line.split()[1]).query)["filters"]
    assert json.loads(filters[0]) == {"label!": {"keep": True}}


def test_prune_force_does_not_ask(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer({"NetworksDeleted": None}))
    assert run(daemon, "network", "prune", "-f", "--wait") == 0
    assert capsys.readouterr() == ("", "")
    assert daemon.requests[0].line == "POST /networks/prune?wait=1 HTTP/1.1"


def test_a_name_that_is_not_utf8_is_refused_before_asking(serve: Serve, capsys: Capture) -> None:
    assert run(serve(), "network", "create", "a\udcff") == 2
    assert "not valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("network create", "`network create` needs NETWORK"),
        ("network create a b", "`network create` takes one NETWORK; too many: b"),
        ("network ls a", "`network ls` takes no names; too many: a"),
        ("network creat", "unknown command creat for `network`; did you mean create?"),
        ("netwrk", "unknown command netwrk; did you mean network?"),
        ("network ls -f x", 'invalid filter "x": want KEY=VALUE'),
        ("network ls --json --format x", "--json and --format exclude each other"),
        ("--nope", "unknown flag --nope"),
        ("help nope", "unknown command nope"),
        ("completion tcsh", 'no completion for "tcsh"; there are: bash, zsh, fish'),
        ("events --since yesterday", 'time "yesterday" is not understood'),
    ],
)
def test_wrong_command_lines_end_with_2(capsys: Capture, words: str, message: str) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"towline: {message}")
