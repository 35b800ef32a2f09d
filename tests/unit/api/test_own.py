"""Towline's own paths, and what the daemon says about itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from aiohttp import ClientSession
from msgspec.structs import replace

from tests.support.fake_engine import TEST_CONFIG, FakeEngine
from tests.support.served import ask, served
from towline import __version__
from towline.api.metrics import route_label
from towline.api.openapi import document
from towline.api.routes import CONTAINER, DOCKER, NETWORK, OBJECT, OWN
from towline.api.server import make_runner
from towline.model.errors import Failure
from towline.model.info import Finding


async def test_leases(socket: str) -> None:
    body = {"Name": "web", "IPAM": {"Config": [{"Subnet": "10.50.0.0/24", "AuxiliaryAddresses": {"h": "10.50.0.7"}}]}}
    network_id = (await ask(socket, "POST", "/networks/create", body)).json["Id"]
    leases = (await ask(socket, "GET", "/towline/v1/networks/web/leases")).json
    assert [(lease["address"], lease["reason"]) for lease in leases] == [
        ("10.50.0.0", "network"),
        ("10.50.0.1", "gateway"),
        ("10.50.0.7", "auxiliary"),
        ("10.50.0.255", "broadcast"),
    ]
    assert {lease["owner"] for lease in leases} == {network_id}
    assert (await ask(socket, "GET", "/towline/v1/networks/host/leases")).json == []
    assert (await ask(socket, "GET", "/towline/v1/networks/nope/leases")).status == 404


async def test_diagnose_changes_nothing_and_repair_answers_what_it_found(socket: str, engine: FakeEngine) -> None:
    engine.findings = [Finding("network web", "the bridge is down", "set it up")]
    shown = [{"object": "network web", "problem": "the bridge is down", "repair": "set it up"}]
    assert (await ask(socket, "GET", "/towline/v1/diagnose")).json == shown
    assert (await ask(socket, "POST", "/towline/v1/repair")).json == shown
    assert (await ask(socket, "GET", "/towline/v1/diagnose")).json == []


async def test_state(socket: str, engine: FakeEngine) -> None:
    state = (await ask(socket, "GET", "/towline/v1/state")).json
    resident = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert resident is not None
    assert state.pop("memory") == pytest.approx(int(resident[1]) * 1024, rel=0.2)
    counters = state.pop("counters")
    assert (counters["created"], counters["dns_queries"]) == (3, 7)
    known = {"daemon_id": "f" * 32, "version": __version__, "revision": engine.revision}
    assert state == {**known, "networks": 3, "sandboxes": 0}


async def test_info_is_honest(socket: str) -> None:
    info = (await ask(socket, "GET", "/info")).json
    assert (info["Containers"], info["Images"], info["Swarm"]["LocalNodeState"]) == (0, 0, "inactive")
    assert info["Plugins"]["Network"] == ["bridge", "host", "null", "overlay"]
    assert info["DefaultAddressPools"] == [{"Base": "10.0.0.0/8", "Size": 24}]
    assert (info["Name"], info["NCPU"]) == (os.uname().nodename, os.cpu_count())


async def test_version_by_every_path(socket: str) -> None:
    bare = (await ask(socket, "GET", "/version")).json
    assert (bare["Version"], bare["ApiVersion"], bare["MinAPIVersion"]) == (__version__, "1.56", "1.24")
    assert (await ask(socket, "GET", "/v1.45/version")).json == bare
    assert bare["Components"][0]["Details"]["ApiVersion"] == "1.56"


async def test_there_are_no_images(socket: str) -> None:
    assert (await ask(socket, "GET", "/v1.50/images/json")).json == {"message": "page not found"}


async def test_the_document_is_served_and_names_every_route(socket: str) -> None:
    served_document = (await ask(socket, "GET", "/towline/v1/openapi.json")).json
    assert served_document == document()
    described = {(m.upper(), path) for path, item in document()["paths"].items() for m in item if m != "parameters"}
    by_network = {(method, f"/networks/{{id}}{action}") for method, action in NETWORK}
    by_container = {(method, f"/containers/{{id}}{action}") for method, action in CONTAINER}
    by_object = {(method, f"{collection}/{{id}}{action}") for method, collection, action in OBJECT}
    bare = {(method, path) for method, path in DOCKER if path != "/networks/"}
    assert described == bare | by_network | by_container | by_object | set(OWN)


async def test_what_metrics_say(unused_tcp_port: int) -> None:
    engine = FakeEngine(replace(TEST_CONFIG, metrics_addr=f"127.0.0.1:{unused_tcp_port}"))
    base = f"http://127.0.0.1:{unused_tcp_port}"
    async with served(engine) as socket, ClientSession(base) as session:
        await ask(socket, "POST", "/v1.50/networks/create", {"Name": "web"})
        await ask(socket, "PROPFIND", "/files/1")
        async with session.get("/metrics") as response:
            text = await response.text()
        async with session.get("/networks") as other:
            assert other.status == 404
        assert (await ask(socket, "GET", "/metrics")).status == 404
    assert "towline_created_total 4.0" in text
    assert 'towline_networks{driver="bridge"} 2.0' in text
    assert 'towline_http_requests_total{method="POST",route="networks/create",status="201"} 1.0' in text
    assert 'towline_http_requests_total{method="other",route="other",status="404"} 1.0' in text
    assert 'towline_http_request_seconds_count{method="POST",route="networks/create"} 1.0' in text
    assert f"towline_store_revision {float(engine.revision)}" in text


async def test_a_metrics_address_in_use_is_an_error_that_names_it(unused_tcp_port: int) -> None:
    config = replace(TEST_CONFIG, metrics_addr=f"127.0.0.1:{unused_tcp_port}")
    async with served(FakeEngine(config)):
        with pytest.raises(Failure, match=f"cannot serve metrics on 127.0.0.1:{unused_tcp_port}: .*--metrics-addr"):
            await make_runner(FakeEngine(config)).setup()


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("/_ping", "_ping"),
        ("/v1.50/networks?filters=x", "networks"),
        ("/networks/some/name", "networks/{id}"),
        ("/networks/web/connect", "networks/connect"),
        ("/towline/v1/sandboxes/web/start", "towline/sandboxes"),
        ("/towline/v1/nothing", "towline/other"),
        ("/v1.50/nodes/self/update", "nodes"),
        ("/towline/v1/cluster", "towline/cluster"),
        ("/v1.50/../etc", "other"),
        ("/", "other"),
    ],
)
def test_route_labels_are_few(target: str, label: str) -> None:
    assert route_label(target) == label
