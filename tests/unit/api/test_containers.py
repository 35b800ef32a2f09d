"""Sandboxes as Docker shows containers; connect and disconnect beside the recorded answers."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.served import ask
from towline.api.durations import human
from towline.api.wire_container import status
from towline.model.sandbox import Sandbox

SANDBOXES = "/towline/v1/sandboxes"
SECOND = 10**9
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


async def make(socket: str, name: str, **body: Any) -> str:
    answer = await ask(socket, "POST", SANDBOXES, {"name": name, "command": ["sleep", "600"], **body})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def start(socket: str, name: str, **body: Any) -> None:
    assert (await ask(socket, "POST", f"{SANDBOXES}/{name}/start", body)).status == 200


async def network(socket: str, name: str, subnet: str) -> None:
    await ask(socket, "POST", "/networks/create", {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})


async def settings(socket: str, name: str, version: str = "") -> Any:
    return (await ask(socket, "GET", f"{version}/containers/{name}/json")).json["NetworkSettings"]


async def test_the_list(socket: str) -> None:
    first = await make(socket, "one", labels={"k": "v"}, exposed=["90/udp"])
    await make(socket, "two")
    await start(socket, "one")
    listed = (await ask(socket, "GET", "/v1.50/containers/json")).json
    assert [c["Id"] for c in listed] == [first]
    shown = listed[0]
    assert (shown["Names"], shown["Command"], shown["State"]) == (["/one"], "sleep 600", "running")
    assert (shown["Labels"], shown["HostConfig"]) == ({"k": "v"}, {"NetworkMode": "bridge"})
    assert shown["Ports"] == [{"PrivatePort": 90, "Type": "udp"}]
    assert shown["Status"].startswith("Up ")
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "10.0.0.2"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["b"]),
        ("?all=1", ["c", "b", "a"]),
        ("?all=true&limit=2", ["c", "b"]),
        ("?limit=1", ["c"]),
        ("?limit=-1", ["b"]),
        ('?filters={"status":["exited","created"]}', ["c", "a"]),
        ('?filters={"exited":["0"]}', ["a"]),
        ('?all=1&filters={"name":["^/a$"]}', ["a"]),
        ('?all=1&filters={"name":{"b":true}}', ["b"]),
        ('?all=1&filters={"network":["web"]}', ["c"]),
        ('?all=1&filters={"network":["none"]}', []),
        ('?filters={"label":["x"]}', []),
    ],
)
async def test_which_are_listed(socket: str, query: str, names: list[str]) -> None:
    await network(socket, "web", "10.80.0.0/24")
    for name in ("a1", "b1", "c1"):
        await make(socket, name, networks=[{"network": "web" if name == "c1" else "bridge"}])
    for name in ("a1", "b1"):
        await start(socket, name)
    await ask(socket, "POST", f"{SANDBOXES}/a1/stop")
    query = query.replace("^/a$", "^/a1$")
    listed = (await ask(socket, "GET", "/containers/json" + quote(query, safe="?&="))).json
    assert [c["Names"][0][1] for c in listed] == names


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?limit=x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("?all=x", "invalid value for all: x"),
        ('?filters={"status":["odd"]}', "invalid filter 'status=odd'"),
        ('?filters={"exited":["x"]}', "invalid filter 'exited=x'"),
        ('?filters={"ancestor":["x"]}', "invalid filter 'ancestor'"),
    ],
)
async def test_bad_list_queries(socket: str, query: str, message: str) -> None:
    answer = await ask(socket, "GET", "/containers/json" + quote(query, safe="?&="))
    assert answer.status == 400
    assert answer.json["message"].startswith(message)


async def test_inspect(socket: str) -> None:
    sandbox_id = await make(socket, "one", hostname="h1", ports=["127.0.0.1:8080-8081:80", "81/udp"], exposed=["90"])
    await start(socket, "one", process={"pid": 4711, "started": 1})
    shown = (await ask(socket, "GET", f"/v1.50/containers/{sandbox_id[:7]}/json")).json
    assert (shown["Id"], shown["Name"], shown["Path"], shown["Args"]) == (sandbox_id, "/one", "sleep", ["600"])
    assert (shown["State"]["Status"], shown["State"]["Pid"]) == ("running", 4711)
    assert shown["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert shown["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080-8081"}],
        "81/udp": [{"HostIp": "", "HostPort": ""}],
    }
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}, "81/udp": {}, "90/tcp": {}}
    assert (shown["Config"]["Hostname"], shown["Config"]["Cmd"]) == ("h1", ["sleep", "600"])
    assert shown["NetworkSettings"]["Ports"]["90/tcp"] is None
    assert shown["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8080"}]


async def test_unknown_containers_and_paths(socket: str) -> None:
    for word in ("json", "top", "logs"):
        answer = await ask(socket, "GET", f"/v1.50/containers/nope/{word}")
        assert (answer.status, answer.json) == (404, {"message": "No such container: nope"})
    for method, path in (("POST", "/containers/x/start"), ("POST", "/containers/create"), ("GET", "/containers//json")):
        answer = await ask(socket, method, path)
        assert answer.status in (301, 404)


async def test_top_shows_what_runs_in_the_sandbox(socket: str) -> None:
    await make(socket, "one")
    assert (await ask(socket, "GET", "/containers/one/top")).status == 409
    await make(socket, "me", attach={"process": {"pid": os.getpid(), "started": 1}})
    shown = (await ask(socket, "GET", "/containers/me/top")).json
    assert shown["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    (mine,) = (row for row in shown["Processes"] if row[1] == str(os.getpid()))
    assert mine[2] == str(os.getppid())
    assert "pytest" in mine[7]
    answer = await ask(socket, "GET", "/containers/me/top?ps_args=aux")
    assert (answer.status, answer.json) == (400, {"message": "ps_args is not supported: leave it out"})


@pytest.mark.parametrize(
    ("version", "mac", "priority"), [("1.47", False, False), ("1.53", False, True), ("1.54", True, True)]
)
async def test_what_older_clients_cannot_ask(socket: str, version: str, mac: bool, priority: bool) -> None:
    await network(socket, "web", "10.80.0.0/24")
    await make(socket, "one")
    wanted = {"MacAddress": "02:00:00:00:00:09", "GwPriority": 7}
    answer = await ask(
        socket, "POST", f"/v{version}/networks/web/connect", {"Container": "one", "EndpointConfig": wanted}
    )
    assert answer.status == 200
    shown = (await settings(socket, "one"))["Networks"]["web"]
    assert (shown["MacAddress"] == "02:00:00:00:00:09", shown["GwPriority"] == 7) == (mac, priority)


async def test_what_the_docker_command_line_sends_to_connect(socket: str) -> None:
    await network(socket, "web", "10.80.0.0/24")
    await make(socket, "one")
    sent = {
        "IPAMConfig": {},
        "Links": None,
        "Aliases": ["al"],
        "MacAddress": "",
        "DriverOpts": {},
        "GwPriority": 0,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }
    body = {"Container": "one", "EndpointConfig": sent}
    assert (await ask(socket, "POST", "/v1.50/networks/web/connect", body)).status == 200
    shown = (await settings(socket, "one", "/v1.44"))["Networks"]["web"]
    assert shown["Aliases"][0] == "al"
    assert len(shown["Aliases"]) == 2
    again = await ask(socket, "POST", "/v1.50/networks/web/connect", body)
    assert (again.status, again.json["message"]) == (403, "endpoint with name one already exists in network web")


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"IPAddress": "x"}, 'ParseAddr("x"): unable to parse IP'),
        ({"ipamconfig": {"ipv4address": "1.2.3"}}, 'ParseAddr("1.2.3"): IPv4 address too short'),
        ({"MacAddress": "02:00"}, "address 02:00: invalid MAC address"),
        (
            {"GwPriority": 2**63},
            f"json: cannot unmarshal number {2**63} into Go struct field "
            "ConnectRequest.EndpointConfig.GwPriority of type int",
        ),
        (
            {"DriverOpts": {"a": 1}},
            "json: cannot unmarshal number into Go struct field "
            "ConnectRequest.EndpointConfig.DriverOpts.a of type string",
        ),
    ],
)
async def test_malformed_settings(socket: str, settings_: dict[str, Any], message: str) -> None:
    await make(socket, "one")
    answer = await ask(socket, "POST", "/networks/bridge/connect", {"Container": "one", "EndpointConfig": settings_})
    assert (answer.status, answer.json["message"]) == (400, f"invalid JSON: {message}")


async def test_none_can_be_left_for_another_network(socket: str) -> None:
    await make(socket, "one", networks=[{"network": "none"}])
    await start(socket, "one")
    body = {"Container": "one"}
    assert (await ask(socket, "POST", "/networks/bridge/connect", body)).status == 400
    assert (await ask(socket, "POST", "/networks/none/disconnect", body)).status == 200
    assert (await ask(socket, "POST", "/networks/bridge/connect", body)).status == 200
    assert list((await settings(socket, "one"))["Networks"]) == ["bridge"]


async def test_an_unknown_endpoint_forced_away(socket: str) -> None:
    for force, message in ((True, "endpoint nope not found"), (False, "No such container: nope")):
        answer = await ask(socket, "POST", "/networks/bridge/disconnect", {"Container": "nope", "Force": force})
        assert (answer.status, answer.json) == (404, {"message": message})


async def test_a_network_of_stopped_sandboxes_can_go_and_they_still_start(socket: str) -> None:
    await network(socket, "web", "10.80.0.0/24")
    await make(socket, "one", networks=[{"network": "web"}, {"network": "bridge"}])
    await start(socket, "one")
    assert (await ask(socket, "DELETE", "/networks/web")).status == 403
    await ask(socket, "POST", f"{SANDBOXES}/one/stop")
    assert (await ask(socket, "GET", "/networks/web")).json["Containers"] == {}
    assert (await ask(socket, "DELETE", "/networks/web")).status == 204
    await start(socket, "one")
    assert list((await settings(socket, "one"))["Networks"]) == ["bridge"]


async def test_info_counts_them(socket: str, engine: FakeEngine) -> None:
    await make(socket, "one")
    await make(socket, "two")
    await start(socket, "two")
    info = (await ask(socket, "GET", "/info")).json
    assert (info["Containers"], info["ContainersRunning"], info["ContainersStopped"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [
        (0, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (MINUTE, "About a minute"),
        (59 * MINUTE, "59 minutes"),
        (HOUR, "About an hour"),
        (89 * MINUTE, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (14 * 24 * HOUR, "2 weeks"),
        (61 * 24 * HOUR, "2 months"),
        (731 * 24 * HOUR, "2 years"),
    ],
)
def test_durations_in_words(nanoseconds: int, words: str) -> None:
    assert human(nanoseconds) == words


def test_status_in_words() -> None:
    now = 100 * HOUR
    assert status(Sandbox("1", "s", 1), now) == "Created"
    assert status(Sandbox("1", "s", 1, state="running", started=now - HOUR), now) == "Up About an hour"
    ended = Sandbox("1", "s", 1, state="exited", finished=now - 5 * SECOND, exit_code=137)
    assert status(ended, now) == "Exited (137) 5 seconds ago"
