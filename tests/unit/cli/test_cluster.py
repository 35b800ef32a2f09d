"""`towline cluster status`, against canned answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import answer, run

COLUMNS = ["ID", "HOSTNAME", "ROLE", "STATE", "AVAILABILITY", "ADDRESS", "LAG", "SKEW", "REPAIRS", "PROBLEM"]
Capture = pytest.CaptureFixture[str]

NODE: dict[str, Any] = {
    "id": "w" * 25,
    "hostname": "web",
    "role": "worker",
    "availability": "active",
    "state": "ready",
    "address": "192.0.2.2",
    "data_path": "198.51.100.2",
    "engine_version": "0.2",
    "manager": None,
    "revision": 97,
    "lag": 3,
    "skew": -0.25,
    "repairs": 2,
    "problem": "",
}
LEADER = {
    **NODE,
    "id": "o" * 25,
    "hostname": "here",
    "role": "manager",
    "manager": {"address": "192.0.2.1:2377", "leader": True, "reachable": True},
    "lag": 0,
    "skew": 0.0,
}
AWAY = {**NODE, "hostname": "a\x1b[31m", "state": "down", "problem": "no\nword"} | dict.fromkeys(
    ("revision", "lag", "skew", "repairs")
)
PAGE: dict[str, Any] = {
    "cluster": "c" * 25,
    "node": "o" * 25,
    "state": "active",
    "manager": True,
    "error": "",
    "revision": 100,
    "silence": 0.46,
    "nodes": [LEADER, NODE, AWAY],
}


def test_a_table_for_people(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer(PAGE))
    assert run(daemon, "cluster", "status") == 0
    assert daemon.requests[0].line == "GET /towline/v1/cluster HTTP/1.1"
    head, _, table = capsys.readouterr().out.partition("\n\n")
    assert [line.split(None, 1)[0] for line in head.splitlines()] == ["Cluster:", "This", "Revision:", "Heard"]
    assert f"{'o' * 25} (manager)" in head
    assert head.endswith("0.5s ago")
    lines = table.splitlines()
    assert lines[0].split() == [
        "ID",
        "HOSTNAME",
        "ROLE",
        "STATE",
        "AVAILABILITY",
        "ADDRESS",
        "LAG",
        "SKEW",
        "REPAIRS",
        "PROBLEM",
    ]
    assert lines[1].split() == f"{'o' * 25} * here leader ready active 192.0.2.2 0 +0.000s 2".split()
    assert lines[2].split() == f"{'w' * 25} web worker ready active 192.0.2.2 3 -0.250s 2".split()
    assert lines[3].split() == f"{'w' * 25} a\\x1b[31m worker down active 192.0.2.2 - - - no\\nword".split()


@pytest.mark.parametrize(
    ("change", "role", "state"),
    [
        ({"role": "manager"}, "worker (to be manager)", "ready"),
        ({"manager": {"leader": False, "reachable": False}}, "manager (to be worker)", "ready, unreachable"),
        ({"role": "manager", "manager": {"leader": False, "reachable": True}}, "manager", "ready"),
    ],
)
def test_roles_on_their_way(serve: Serve, capsys: Capture, change: dict[str, Any], role: str, state: str) -> None:
    daemon = serve(answer({**PAGE, "nodes": [{**NODE, **change}]}))
    assert run(daemon, "cluster", "status", "--format", "{{.Role}}|{{.State}}|{{.DataPath}}") == 0
    assert capsys.readouterr().out == f"{role}|{state}|198.51.100.2\n"


def test_json_of_the_page_and_of_each_node(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer(PAGE)), "cluster", "status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == PAGE


def test_format_json(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer(PAGE)), "cluster", "status", "--format", "json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["Hostname"], row["Lag"], row["Self"]) for row in rows[:2]] == [
        ("here", "0", True),
        ("web", "3", False),
    ]


def test_table_format(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer(PAGE)), "cluster", "status", "--format", "table {{.Hostname}}\t{{.DataPath}}") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["HOSTNAME", "DATA", "PATH"]


def test_a_node_that_hears_no_manager(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer({**PAGE, "silence": None, "error": "cut off", "manager": False})), "cluster", "status") == 0
    out = capsys.readouterr().out
    assert "(worker)" in out
    assert "never" in out
    assert "cut off" in out


@pytest.mark.parametrize(
    ("status", "message", "shown"),
    [
        ("503 Service Unavailable", "This node is not part of a swarm", "This node is not part of a swarm"),
        ("404 Not Found", "page not found", "is not Towline: it has no /towline/v1/cluster"),
    ],
)
def test_refusals(serve: Serve, capsys: Capture, status: str, message: str, shown: str) -> None:
    assert run(serve(answer({"message": message}, status)), "cluster", "status") == 1
    assert shown in capsys.readouterr().err
