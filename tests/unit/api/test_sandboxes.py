"""/towline/v1/sandboxes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.fake_sandboxes import FakeEntry
from tests.support.served import ask
from towline.model.errors import KernelError

SANDBOXES = "/towline/v1/sandboxes"
JSON = {"Content-Type": "application/json"}
WEB = {"Name": "web", "IPAM": {"Config": [{"Subnet": "10.80.0.0/24"}]}}


async def make(socket: str, **body: Any) -> str:
    answer = await ask(socket, "POST", SANDBOXES, body)
    assert answer.status == 201, answer.body
    assert answer.json["warning"] == ""
    return str(answer.json["id"])


async def test_everything_that_was_asked_is_shown(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", WEB)
    network = {
        "network": "web",
        "ipv4": "10.80.0.9",
        "mac": "02-42-00-00-00-09",
        "aliases": ["db"],
        "links": ["c:x"],
        "link_local": ["169.254.1.9"],
        "driver_opts": {"a": "b"},
        "gw_priority": -5,
    }
    asked = {
        "name": "s1",
        "hostname": "h1",
        "command": ["sleep", "600"],
        "environment": ["A=b"],
        "directory": "/tmp",
        "restart": "on-failure:2",
        "auto_remove": False,
        "dns": {"servers": ["10.0.0.1"], "search": ["example.org"], "options": ["ndots:2"]},
        "extra_hosts": ["x:10.0.0.9"],
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "exposed": ["90/udp"],
        "labels": {"k": "v"},
    }
    sandbox_id = await make(
        socket, **asked, networks=[network, {"network": "bridge"}], ports=["127.0.0.1:8080-8081:80"]
    )
    shown = (await ask(socket, "GET", f"{SANDBOXES}/s1")).json
    assert {key: shown[key] for key in asked} == asked
    assert (shown["id"], shown["origin"], shown["state"], shown["mode"]) == (sandbox_id, "run", "created", "web")
    assert (shown["started"], shown["finished"], shown["pid"], shown["netns"]) == ("", "", 0, "")
    assert shown["ports"] == [
        {"port": 80, "protocol": "tcp", "host_ip": "127.0.0.1", "host_port": 8080, "host_port_end": 8081}
    ]
    first, second = shown["endpoints"]
    assert (first["network_name"], first["ipv4"], first["gateway_ipv4"]) == ("web", "10.80.0.9/24", "10.80.0.1")
    assert (first["mac"], first["config"]["mac"]) == ("02:42:00:00:00:09",) * 2
    assert first["config"] == {
        **{k: network[k] for k in network if k not in ("network", "mac")},
        "ipv6": "",
        "mac": first["mac"],
    }
    assert first["dns_names"] == ["s1", "db", sandbox_id[:12], "h1"]
    assert (second["network_name"], second["dns_names"], second["published"]) == ("bridge", [], [])


async def test_its_life(socket: str) -> None:
    sandbox_id = await make(socket, name="s1", ports=["8080:80"], command=["sleep", "600"])
    started = await ask(socket, "POST", f"{SANDBOXES}/s1/start")
    assert (started.status, started.json["id"]) == (200, sandbox_id)
    assert list(started.json) == ["id", "netns", "hosts", "resolv_conf", "hostname", "hidden"]
    shown = (await ask(socket, "GET", f"{SANDBOXES}/{sandbox_id[:9]}")).json
    assert (shown["state"], shown["netns"]) == ("running", started.json["netns"])
    (endpoint,) = shown["endpoints"]
    assert endpoint["published"] == [{"protocol": "tcp", "host_ip": "0.0.0.0", "host_port": 8080, "port": 80}]
    assert endpoint["ifname"] == "eth0"
    assert (await ask(socket, "POST", f"{SANDBOXES}/s1/start")).status == 409
    assert (await ask(socket, "DELETE", f"{SANDBOXES}/s1")).status == 409
    assert (await ask(socket, "POST", f"{SANDBOXES}/s1/stop?t=0")).status == 204
    assert (await ask(socket, "POST", f"{SANDBOXES}/s1/stop")).status == 304
    stopped = (await ask(socket, "GET", f"{SANDBOXES}/s1")).json
    assert (stopped["state"], stopped["endpoints"][0]["ipv4"]) == ("exited", endpoint["ipv4"])
    assert (await ask(socket, "DELETE", f"{SANDBOXES}/s1")).status == 204
    assert (await ask(socket, "GET", f"{SANDBOXES}/s1")).json == {"message": "No such container: s1"}


async def test_a_process_of_the_client(socket: str, engine: FakeEngine) -> None:
    await make(socket, name="s1")
    body = {"process": {"pid": 4711, "started": 99}}
    assert (await ask(socket, "POST", f"{SANDBOXES}/s1/start", body)).status == 200
    assert (await ask(socket, "GET", f"{SANDBOXES}/s1")).json["pid"] == 4711
    await make(socket, name="s2", attach={"process": {"pid": 4712, "started": 99}})
    await make(socket, name="s3", attach={"netns": "/run/netns/x"})
    shown = (await ask(socket, "GET", SANDBOXES)).json
    assert [(s["name"], s["origin"], s["state"], s["pid"]) for s in shown] == [
        ("s1", "run", "running", 4711),
        ("s2", "attach", "running", 4712),
        ("s3", "attach", "running", 0),
    ]


async def test_a_list_can_be_filtered(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", WEB)
    await make(socket, name="one", labels={"tier": "front"})
    await make(socket, name="two", networks=[{"network": "web"}])

    async def names(**filters: list[str]) -> list[str]:
        text = quote(str(filters).replace("'", '"'))
        return [s["name"] for s in (await ask(socket, "GET", f"{SANDBOXES}?filters={text}")).json]

    assert await names() == ["one", "two"]
    assert await names(label=["tier=front"]) == ["one"]
    assert await names(network=["web"]) == ["two"]
    assert await names(name=["t.o"]) == ["two"]
    assert await names(status=["running"]) == []
    assert (await ask(socket, "GET", f"{SANDBOXES}?filters=" + quote('{"color":["x"]}'))).status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "invalid JSON: Input data was truncated"),
        (b"[]", "invalid JSON: Expected `object`, got `array`"),
        (b'{"nome":"x"}', "invalid JSON: Object contains unknown field `nome`"),
        (b'{"name":7}', "invalid JSON: Expected `str | null`, got `int` - at `$.name`"),
        (b'{"name":"\xff\xff"}', "invalid JSON: "),
        (b'{"networks":[{}]}', "invalid JSON: Object missing required field `network` - at `$.networks[0]`"),
        (b'{"networks":[{"network":"a"},{"network":"a"}]}', "network a is named twice"),
        (b'{"networks":[{"network":"a","ipv4":"x"}]}', 'network a: ParseAddr("x"): unable to parse IP'),
        (b'{"networks":[{"network":"a","mac":"x"}]}', "network a: address x: invalid MAC address"),
        (b'{"networks":[{"network":"a","gw_priority":99999999999999999999}]}', "network a: gw_priority is not"),
        (b'{"networks":[{"network":"nope"}]}', "network nope not found"),
        (b'{"ports":["90-80:80"]}', 'invalid port specification: "90-80"'),
        (b'{"exposed":["0"]}', 'invalid port specification: "0"'),
        (b'{"attach":{}}', "attach: name a network namespace or a process"),
        (b'{"attach":{"process":{"pid":0,"started":0}}}', "process 0: this is no process id and start time"),
        (b'{"attach":{"process":{"pid":4294967296,"started":0}}}', "process 4294967296: this is no process id"),
        (b'{"name":"../x"}', "Invalid container name (../x)"),
    ],
)
async def test_bad_requests(socket: str, body: bytes, message: str) -> None:
    answer = await ask(socket, "POST", SANDBOXES, body, headers=JSON)
    assert answer.status in (400, 404)
    assert answer.json["message"].startswith(message)
    assert (await ask(socket, "GET", SANDBOXES)).json == []


async def test_other_bad_requests(socket: str, engine: FakeEngine) -> None:
    await make(socket, name="s1")
    assert (await ask(socket, "POST", SANDBOXES, {"name": "s1"})).status == 409
    assert (await ask(socket, "POST", SANDBOXES, b"{}", headers={"Content-Type": "text/plain"})).status == 400
    bad = await ask(socket, "POST", f"{SANDBOXES}/s1/stop?t=-1")
    assert bad.json == {"message": "invalid value for t: -1: whole seconds, at most 86400"}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop"), ("GET", "/logs")):
        answer = await ask(socket, method, f"{SANDBOXES}/nope{path}")
        assert (answer.status, answer.json) == (404, {"message": "No such container: nope"})
    engine.fault = KernelError(28, "pin network namespace x")
    answer = await ask(socket, "POST", f"{SANDBOXES}/s1/start")
    assert (answer.status, answer.json["message"]) == (500, "pin network namespace x: no space left on device")


async def test_a_refused_sandbox_gives_its_addresses_back(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", WEB)
    body = {"networks": [{"network": "bridge"}, {"network": "web", "ipv4": "10.80.0.1"}]}
    refused = await ask(socket, "POST", SANDBOXES, body)
    assert (refused.status, refused.json) == (403, {"message": "Address already in use"})
    leases = (await ask(socket, "GET", "/towline/v1/networks/bridge/leases")).json
    assert "endpoint" not in {lease["reason"] for lease in leases}


async def test_logs_come_in_frames(socket: str, engine: FakeEngine) -> None:
    sandbox_id = await make(socket, name="s1")
    engine.boxes.written[sandbox_id] = [
        FakeEntry("2026-01-01T00:00:01.000000000Z", "stdout", b"one\n"),
        FakeEntry("2026-01-01T00:00:02.000000000Z", "stderr", b"two\n"),
        FakeEntry("2026-01-01T00:00:03.000000000Z", "stdout", b"three\n"),
    ]
    one, two, three = b"\x01\0\0\0\0\0\0\x04one\n", b"\x02\0\0\0\0\0\0\x04two\n", b"\x01\0\0\0\0\0\0\x06three\n"

    async def logs(path: str) -> bytes:
        return bytes((await ask(socket, "GET", path)).body)

    assert await logs(f"{SANDBOXES}/s1/logs") == one + two + three
    assert await logs(f"{SANDBOXES}/s1/logs?tail=1") == three
    assert await logs(f"{SANDBOXES}/s1/logs?tail=all") == one + two + three
    assert await logs("/containers/s1/logs?stderr=1") == two
    assert await logs("/containers/s1/logs?stdout=1&since=1767225602") == three
    assert await logs("/containers/s1/logs?stdout=1&until=1767225601.5") == one
    stamped = await logs("/containers/s1/logs?stderr=1&timestamps=1")
    assert stamped[8:] == b"2026-01-01T00:00:02.000000000Z two\n"
    assert (await ask(socket, "GET", "/containers/s1/logs?stdout=0&stderr=0")).status == 400
    assert (await ask(socket, "GET", "/containers/s1/logs?since=x")).status == 400
