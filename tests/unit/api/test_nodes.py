"""/nodes and /towline/v1/cluster, over a fake cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.support.fake_engine import FakeEngine
from tests.support.fake_swarm import OWN_ID, FakeSwarm, member
from tests.support.served import ask
from towline.model.cluster import Alive, NodeSpec
from towline.policy import swarm as texts

INIT = {"ListenAddr": "127.0.0.1:12377", "AdvertiseAddr": "127.0.0.1"}
WEB_ID = "w" * 25


@pytest.fixture
async def cluster(engine: FakeEngine, socket: str) -> FakeSwarm:
    engine.cluster = fake = FakeSwarm()
    await ask(socket, "POST", "/swarm/init", INIT)
    fake.put(member(WEB_ID, "web", NodeSpec(labels={"disk": "ssd"}, availability="drain")))
    return fake


async def test_a_worker_has_no_manager_status(socket: str, cluster: FakeSwarm) -> None:
    shown = (await ask(socket, "GET", "/nodes/web")).json
    assert shown["Spec"] == {"Labels": {"disk": "ssd"}, "Role": "worker", "Availability": "drain"}
    assert shown["Status"] == {"State": "ready", "Addr": "192.0.2.2"}
    assert "ManagerStatus" not in shown
    assert shown["Description"]["TLSInfo"] == (await ask(socket, "GET", "/swarm")).json["TLSInfo"]
    cluster.put(replace(cluster.members[WEB_ID], state="down", message="heartbeat failure"))
    shown = (await ask(socket, "GET", f"/nodes/{WEB_ID[:5]}")).json
    assert shown["Status"] == {"State": "down", "Message": "heartbeat failure", "Addr": "192.0.2.2"}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("", ["here", "web"]),
        ('{"role":["manager"]}', ["here"]),
        ('{"name":{"we":true}}', ["web"]),
        ('{"node.label":["disk=ssd"]}', ["web"]),
        ('{"membership":["pending"]}', []),
    ],
)
async def test_list(socket: str, filters: str, names: list[str]) -> None:
    nodes = (await ask(socket, "GET", f"/v1.50/nodes?filters={quote(filters)}")).json
    assert [node["Description"]["Hostname"] for node in nodes] == names


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("filters", "status", "message"),
    [
        ('{"nope":["x"]}', 400, "invalid filter 'nope'"),
        ('{"role":["king"]}', 500, "Invalid role filter: 'king'"),
        ('{"role":"king"}', 400, "invalid filter"),
    ],
)
async def test_refused_filters(socket: str, filters: str, status: int, message: str) -> None:
    refused = await ask(socket, "GET", f"/nodes?filters={quote(filters)}")
    assert (refused.status, refused.json) == (status, {"message": message})


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("term", ["self", "here", OWN_ID, "oo"])
async def test_inspect(socket: str, term: str) -> None:
    assert (await ask(socket, "GET", f"/nodes/{term}")).json["ID"] == OWN_ID


async def test_inspect_of_what_is_not_one_node(socket: str, cluster: FakeSwarm) -> None:
    missing = await ask(socket, "GET", "/nodes/nope")
    assert (missing.status, missing.json) == (404, {"message": "node nope not found"})
    cluster.put(member("x" * 25, "web"))
    twice = await ask(socket, "GET", "/nodes/web")
    assert (twice.status, twice.json) == (500, {"message": "node web is ambiguous (2 matches found)"})


async def test_update(socket: str, cluster: FakeSwarm) -> None:
    index = (await ask(socket, "GET", "/nodes/web")).json["Version"]["Index"]
    path = f"/nodes/web/update?version={index}"
    spec = {"Role": "Manager", "Availability": "active", "Labels": None}
    assert (await ask(socket, "POST", path, spec)).body == b""
    assert cluster.members[WEB_ID].node.spec == NodeSpec(role="manager")
    stale = await ask(socket, "POST", path, spec)
    assert (stale.status, stale.json) == (500, {"message": texts.OUT_OF_SEQUENCE})


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "web/update",
            {"Role": "worker"},
            400,
            "invalid node version '': strconv.ParseUint: parsing \"\": invalid syntax",
        ),
        ("web/update?version=9", {}, 400, 'invalid Role: ""'),
        ("web/update?version=9", {"Role": "worker", "Availability": "x"}, 400, 'invalid Availability: "x"'),
        ("nope/update?version=9", {"Role": "worker", "Availability": "active"}, 404, "node nope not found"),
        (
            "self/update?version=9",
            {"Role": "worker", "Availability": "active"},
            400,
            "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm",
        ),
        (
            "web/update?version=9",
            {"Role": 1},
            400,
            "invalid JSON: json: cannot unmarshal number into Go struct field NodeSpec.Role of type string",
        ),
    ],
)
async def test_refused_updates(socket: str, path: str, body: dict[str, Any], status: int, message: str) -> None:
    refused = await ask(socket, "POST", f"/nodes/{path}", body)
    assert (refused.status, refused.json) == (status, {"message": message})


async def test_remove(socket: str, cluster: FakeSwarm) -> None:
    refused = await ask(socket, "DELETE", "/nodes/web")
    message = f"rpc error: code = FailedPrecondition desc = node {WEB_ID} is not down and can't be removed"
    assert (refused.status, refused.json) == (400, {"message": message})
    gone = await ask(socket, "DELETE", "/nodes/web?force=1")
    assert (gone.status, gone.body) == (200, b"")
    assert WEB_ID not in cluster.members
    refused = await ask(socket, "DELETE", "/nodes/self?force=1")
    assert refused.status == 400
    assert refused.json["message"].endswith("It must be demoted to worker before removal")


async def test_slashes_do_not_belong_to_ids(socket: str) -> None:
    assert (await ask(socket, "GET", "/nodes/a/b")).status == 404
    assert (await ask(socket, "GET", "/nodes/a/b")).json == {"message": "page not found"}
    assert (await ask(socket, "POST", "/nodes/a")).json == {"message": "page not found"}


async def test_how_each_node_is(socket: str, cluster: FakeSwarm) -> None:
    web = cluster.members[WEB_ID]
    cluster.put(replace(web, alive=Alive(WEB_ID, revision=7, skew=-0.25, repairs=3, problem="no room")))
    cluster.put(replace(member("x" * 25, "away"), state="down", alive=None))
    page = (await ask(socket, "GET", "/towline/v1/cluster")).json
    assert (page["node"], page["manager"], page["revision"], page["silence"]) == (OWN_ID, True, 10, 0.5)
    away, here, web_page = page["nodes"]
    assert (away["state"], away["revision"], away["lag"], away["skew"]) == ("down", None, None, None)
    assert here["manager"] == {"address": "127.0.0.1:12377", "leader": True, "reachable": True}
    assert (here["lag"], here["role"]) == (0, "manager")
    assert (web_page["revision"], web_page["lag"], web_page["skew"], web_page["repairs"]) == (7, 3, -0.25, 3)
    assert (web_page["problem"], web_page["manager"], web_page["data_path"]) == ("no room", None, "192.0.2.2")


async def test_the_node_that_answers_is_where_it_knows_to_be(socket: str, cluster: FakeSwarm) -> None:
    cluster.put(replace(cluster.members[OWN_ID], alive=Alive(OWN_ID, revision=2)))
    here = (await ask(socket, "GET", "/towline/v1/cluster")).json["nodes"][0]
    assert (here["id"], here["revision"], here["lag"]) == (OWN_ID, 10, 0)


async def test_a_node_that_is_ahead_of_what_is_known_here_is_not_behind(socket: str, cluster: FakeSwarm) -> None:
    cluster.put(replace(cluster.members[WEB_ID], alive=Alive(WEB_ID, revision=99)))
    assert (await ask(socket, "GET", "/towline/v1/cluster")).json["nodes"][1]["lag"] == 0


async def test_without_a_cluster(socket: str) -> None:
    refused = await ask(socket, "GET", "/towline/v1/cluster")
    assert (refused.status, refused.json) == (503, {"message": texts.NO_SWARM})
