"""/swarm, /info, /_ping and the paths of what Towline has none of, over a fake cluster."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support import differences
from tests.support.fake_engine import FakeEngine
from tests.support.fake_swarm import OWN_ID, FakeSwarm, member
from tests.support.replay import replay, scenarios
from tests.support.served import ask, beside, served
from tests.support.swarm_engine import swarm_engine
from towline.api.gojson.decode import TypeMismatch, decode
from towline.api.gotext import loose_bool, parse_uint
from towline.api.wire_node import GO_NODE_SPEC
from towline.api.wire_swarm import GO_INIT, GO_JOIN, GO_SPEC, GO_UNLOCK, tls_info
from towline.model.cluster import NetworkPeer, NodeSpec, SwarmState
from towline.model.errors import InvalidParameter, Unavailable
from towline.model.network import Network
from towline.model.requests import RestoreCluster
from towline.policy import swarm as texts
from towline.store.contract import Put

ONE_NODE = scenarios()["one node"]
WITHOUT_SANDBOXES = (*range(38), 44, 46, *range(48, 52))
INIT = {"ListenAddr": "127.0.0.1:12377", "AdvertiseAddr": "127.0.0.1"}
WORKER = SwarmState(state="active", node_id=OWN_ID, address="192.0.2.1")


@pytest.fixture
def cluster(engine: FakeEngine) -> FakeSwarm:
    engine.cluster = fake = FakeSwarm()
    return fake


async def test_a_swarm_of_one_node_answers_as_docker_did() -> None:
    """All but the steps with sandboxes, which need a kernel (tests/e2e/test_recorded_swarm.py)."""
    listed = differences.of("one node")
    async with swarm_engine("10.90.0.0/16") as engine, served(engine) as socket:
        found = await beside(
            replay,
            socket,
            [ONE_NODE[number] for number in WITHOUT_SANDBOXES],
            {place: listed[number] for place, number in enumerate(WITHOUT_SANDBOXES) if number in listed},
        )
    assert found == []


@pytest.mark.usefixtures("cluster")
async def test_update_rotates_tokens_and_wants_the_right_index(socket: str) -> None:
    assert (await ask(socket, "POST", "/swarm/init", INIT)).json == OWN_ID
    before = (await ask(socket, "GET", "/swarm")).json
    path = f"/swarm/update?version={before['Version']['Index']}"
    spec = {**before["Spec"], "Labels": {"a": "b"}, "Raft": {"SnapshotInterval": 5}}
    assert (await ask(socket, "POST", f"{path}&rotateWorkerToken=1", spec)).body == b""
    after = (await ask(socket, "GET", "/swarm")).json
    assert (after["Spec"]["Labels"], after["Spec"]["Raft"]["SnapshotInterval"]) == ({"a": "b"}, 5)
    assert after["Version"]["Index"] > before["Version"]["Index"]
    assert after["JoinTokens"]["Worker"] != before["JoinTokens"]["Worker"]
    assert after["JoinTokens"]["Manager"] == before["JoinTokens"]["Manager"]
    stale = await ask(socket, "POST", path, spec)
    assert (stale.status, stale.json) == (
        500,
        {"message": "rpc error: code = Unknown desc = update out of sequence"},
    )


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", {}, "invalid swarm version '': strconv.ParseUint: parsing \"\": invalid syntax"),
        ("version=-1", {}, "invalid swarm version '-1': strconv.ParseUint: parsing \"-1\": invalid syntax"),
        (
            f"version={2**64}",
            {},
            f"invalid swarm version '{2**64}': strconv.ParseUint: parsing \"{2**64}\": value out of range",
        ),
        ("version=10&rotateWorkerToken=x", {}, "invalid value for rotateWorkerToken: x"),
        ("version=10&rotateManagerUnlockKey=x", {}, "invalid value for rotateManagerUnlockKey: x"),
        ("version=10", {"Name": "x"}, 'swarm spec must be named "default"'),
        (
            "version=10",
            {"Raft": {"ElectionTick": "x"}},
            "invalid JSON: json: cannot unmarshal string into Go struct field Spec.Raft.ElectionTick of type int",
        ),
        (
            "version=10",
            {"Dispatcher": {"HeartbeatPeriod": 1.5}},
            "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field Spec.Dispatcher.HeartbeatPeriod "
            "of type time.Duration",
        ),
    ],
)
async def test_refused_updates(socket: str, query: str, body: dict[str, Any], message: str) -> None:
    await ask(socket, "POST", "/swarm/init", INIT)
    refused = await ask(socket, "POST", f"/swarm/update?{query}", body)
    assert (refused.status, refused.json) == (400, {"message": message})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"ListenAddr": 1},
            "invalid JSON: json: cannot unmarshal number into Go struct field InitRequest.ListenAddr of type string",
        ),
        (
            {"SubnetSize": -1},
            "invalid JSON: json: cannot unmarshal number -1 into Go struct field InitRequest.SubnetSize of type uint32",
        ),
        ({"ListenAddr": "x", "DefaultAddrPool": [""]}, "invalid JSON: netip.ParsePrefix(\"\"): no '/'"),
        (
            {"DefaultAddrPool": ["10.0.0.0/33"]},
            'invalid JSON: netip.ParsePrefix("10.0.0.0/33"): prefix length out of range',
        ),
    ],
)
async def test_refused_bodies(socket: str, body: dict[str, Any], message: str) -> None:
    refused = await ask(socket, "POST", "/swarm/init", body)
    assert (refused.status, refused.json) == (400, {"message": message})


async def test_old_clients_know_no_pools_and_no_port(socket: str, cluster: FakeSwarm) -> None:
    asked = {**INIT, "DefaultAddrPool": ["10.90.0.0/16"], "SubnetSize": 26, "DataPathPort": 7000}
    assert (await ask(socket, "POST", "/v1.39/swarm/init", asked)).status == 200
    shown = (await ask(socket, "GET", "/swarm")).json
    assert (shown["DefaultAddrPool"], shown["SubnetSize"], shown["DataPathPort"]) == (["10.90.0.0/16"], 26, 4789)
    await cluster.leave_swarm(force=True)
    assert (await ask(socket, "POST", "/v1.38/swarm/init", asked)).status == 200
    shown = (await ask(socket, "GET", "/swarm")).json
    assert (shown["DefaultAddrPool"], shown["SubnetSize"]) == (["10.0.0.0/8"], 24)


async def test_join(socket: str, cluster: FakeSwarm) -> None:
    body = {"ListenAddr": "0.0.0.0:2377", "RemoteAddrs": ["192.0.2.9"], "JoinToken": "t", "Availability": "pause"}
    answer = await ask(socket, "POST", "/swarm/join", body)
    assert (answer.status, answer.body) == (200, b"")
    (plan,) = cluster.joined
    assert (str(plan.remotes[0]), plan.token, plan.availability) == ("192.0.2.9:2377", "t", "pause")
    again = await ask(socket, "POST", "/swarm/join", body)
    assert (again.status, again.json) == (503, {"message": texts.SWARM_EXISTS})
    assert (await ask(socket, "POST", "/swarm/leave")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/swarm"),
        ("GET", "/swarm/unlockkey"),
        ("POST", "/swarm/update?version=1"),
        ("POST", "/swarm/unlock"),
        ("GET", "/nodes"),
        ("GET", "/nodes/self"),
        ("DELETE", "/nodes/x"),
        ("GET", "/services"),
        ("POST", "/services/create"),
        ("GET", "/services/x"),
        ("DELETE", "/services/x"),
        ("GET", "/towline/v1/services"),
        ("POST", "/towline/v1/services"),
        ("POST", "/towline/v1/services/x/update"),
        ("DELETE", "/towline/v1/services/x"),
        ("GET", "/tasks"),
        ("GET", "/secrets"),
        ("GET", "/configs"),
        ("GET", "/configs/x"),
    ],
)
async def test_a_worker_says_that_it_is_one(socket: str, cluster: FakeSwarm, method: str, path: str) -> None:
    cluster.become(WORKER)
    refused = await ask(socket, method, path, {} if method == "POST" else None)
    assert (refused.status, refused.json) == (503, {"message": texts.WORKER})


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (SwarmState(), "inactive"),
        (SwarmState(state="pending"), "pending"),
        (SwarmState(state="error", error="x"), "error"),
        (SwarmState(state="locked"), "locked"),
        (WORKER, "active/worker"),
        (replace(WORKER, manager=True), "active/worker"),
        (replace(WORKER, manager=True, control=True), "active/manager"),
    ],
)
async def test_ping_and_info_tell_the_state(socket: str, cluster: FakeSwarm, state: SwarmState, shown: str) -> None:
    cluster.become(state)
    assert (await ask(socket, "HEAD", "/_ping")).headers["swarm"] == shown
    info = (await ask(socket, "GET", "/info")).json["Swarm"]
    assert (info["LocalNodeState"], info["Error"], info["NodeID"]) == (state.state, state.error, state.node_id)
    assert "Cluster" not in info


async def test_info_warns_of_two_managers(socket: str, cluster: FakeSwarm) -> None:
    cluster.become(replace(WORKER, control=True, warnings=("careful",)))
    assert (await ask(socket, "GET", "/info")).json["Swarm"]["Warnings"] == ["careful"]


@pytest.mark.usefixtures("cluster")
async def test_a_manager_has_no_services_of_its_own(socket: str) -> None:
    await ask(socket, "POST", "/swarm/init", INIT)
    for kind in ("services", "tasks", "secrets", "configs"):
        assert (await ask(socket, "GET", f"/v1.50/{kind}")).json == []
        assert (await ask(socket, "GET", f"/{kind}/x")).json == {"message": f"{kind[:-1]} x not found"}
        wrong = await ask(socket, "GET", f'/{kind}?filters={{"nope":["x"]}}'.replace('"', "%22"))
        assert (wrong.status, wrong.json) == (400, {"message": "invalid filter 'nope'"})
    assert (await ask(socket, "POST", "/services/create", {})).status == 501
    assert (await ask(socket, "POST", "/tasks/create", {})).status == 404


@pytest.mark.usefixtures("cluster")
async def test_a_swarm_that_is_not_locked(socket: str) -> None:
    await ask(socket, "POST", "/swarm/init", INIT)
    assert (await ask(socket, "GET", "/swarm/unlockkey")).json == {"UnlockKey": ""}
    refused = await ask(socket, "POST", "/swarm/unlock", {"UnlockKey": "x"})
    assert (refused.status, refused.json) == (409, {"message": "swarm is not locked"})


async def test_what_a_verb_raises_is_answered(socket: str, cluster: FakeSwarm) -> None:
    cluster.fault = Unavailable("the cluster cannot be reached")
    refused = await ask(socket, "GET", "/swarm")
    assert (refused.status, refused.json) == (503, {"message": "the cluster cannot be reached"})


# networks of a swarm


OVERLAY = Network("n" * 25, "ov", 1, "overlay", "ready", "swarm")


def _put(engine: FakeEngine, network: Network) -> None:
    engine._store.update([Put(network)])


async def test_a_worker_hides_networks_without_endpoints(socket: str, engine: FakeEngine, cluster: FakeSwarm) -> None:
    _put(engine, OVERLAY)
    cluster.become(replace(WORKER, manager=True, control=True))
    names = [network["Name"] for network in (await ask(socket, "GET", "/networks")).json]
    assert "ov" in names
    cluster.become(WORKER)
    shown = [network["Name"] for network in (await ask(socket, "GET", "/networks")).json]
    assert shown == [name for name in names if name != "ov"]
    for path in ("/networks/ov", "/networks/nnnn", f"/networks/{OVERLAY.id}"):
        missing = await ask(socket, "GET", path)
        assert (missing.status, missing.json) == (404, {"message": f"network {path[10:]} not found"})
    kept = await ask(socket, "DELETE", "/networks/ov")
    assert (kept.status, kept.json) == (404, {"message": "network ov not found"})
    assert engine.network(OVERLAY.id) is OVERLAY


async def test_peers_and_labels_where_a_network_has_endpoints(
    socket: str, engine: FakeEngine, cluster: FakeSwarm
) -> None:
    cluster.become(replace(WORKER, manager=True, control=True))
    _put(engine, OVERLAY)
    bare = (await ask(socket, "GET", "/networks/ov")).json
    assert bare["Labels"] is None
    assert "Peers" not in bare
    cluster.seen[OVERLAY.id] = (NetworkPeer("o" * 12, "192.0.2.1"),)
    shown = (await ask(socket, "GET", "/networks/ov")).json
    assert shown["Peers"] == [{"Name": "o" * 12, "IP": "192.0.2.1"}]
    assert (shown["Labels"], list(shown)[-4:]) == ({}, ["Labels", "Peers", "Containers", "Status"])
    assert shown["Containers"] == {}
    assert (await ask(socket, "GET", "/networks/bridge")).json["Labels"] == {}


# values


def test_tls_info_of_what_is_no_certificate() -> None:
    assert tls_info("") == {}
    assert tls_info("rubbish") == {"TrustRoot": "rubbish"}


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("0", 0), ("No ", 0), ("FALSE", 0), ("none", 0), ("1", 1), ("x", 1)]
)
def test_loose_bool(text: str, value: int) -> None:
    assert loose_bool(text) is bool(value)


@given(st.text() | st.integers(-10, 2**70).map(str) | st.just("9" * 100_000) | st.just("0" * 100_000 + "7"))
def test_parse_uint(text: str) -> None:
    with suppress(InvalidParameter):
        assert 0 <= parse_uint("thing", text) < 2**64


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_NAMES = st.sampled_from(
    [
        "Spec",
        "Labels",
        "Raft",
        "CAConfig",
        "ExternalCAs",
        "SubnetSize",
        "DefaultAddrPool",
        "RemoteAddrs",
        "Role",
        "name",
    ]
)


@given(st.dictionaries(_NAMES, _ANY), st.sampled_from([GO_INIT, GO_JOIN, GO_SPEC, GO_UNLOCK, GO_NODE_SPEC]))
def test_any_body_is_decoded_or_refused(body: dict[str, Any], go: Any) -> None:
    try:
        decoded = decode(body, go)
    except TypeMismatch:
        return
    assert set(decoded) <= {
        "Spec",
        "Labels",
        "Raft",
        "CAConfig",
        "SubnetSize",
        "DefaultAddrPool",
        "RemoteAddrs",
        "Role",
        "Name",
    }


_HOSTILE = st.fixed_dictionaries(
    {
        "ListenAddr": st.sampled_from(["127.0.0.1", "x", ""]),
        "Spec": st.fixed_dictionaries(
            {},
            optional={
                "Labels": st.none() | st.dictionaries(st.text(), st.text(), max_size=2),
                "Raft": st.none() | st.dictionaries(st.sampled_from(["ElectionTick", "KeepOldSnapshots"]), _ANY),
                "CAConfig": st.none() | st.dictionaries(st.sampled_from(["NodeCertExpiry", "ExternalCAs"]), _ANY),
                "Orchestration": _ANY,
            },
        ),
    }
)


@given(_HOSTILE)
def test_any_init_is_a_request_or_refused(body: dict[str, Any]) -> None:
    import msgspec

    from towline.api.wire_swarm import InitRequest, init_swarm
    from towline.model.errors import TowlineError
    from towline.policy.swarm import resolve_init

    try:
        request = init_swarm(msgspec.convert(decode(body, GO_INIT), InitRequest), (1, 56))
        resolve_init(request, ())
    except (TypeMismatch, TowlineError):
        pass


async def test_a_second_manager_and_a_worker_are_counted(socket: str, cluster: FakeSwarm) -> None:
    await ask(socket, "POST", "/swarm/init", INIT)
    cluster.put(member("m" * 25, "second", NodeSpec(role="manager"), manager_address="192.0.2.2:2377"))
    cluster.put(member("w" * 25, "worker"))
    info = (await ask(socket, "GET", "/info")).json["Swarm"]
    assert (info["Nodes"], info["Managers"]) == (3, 2)


async def test_a_backup_goes_out_and_comes_back_as_bytes(cluster: FakeSwarm, socket: str) -> None:
    refused = await ask(socket, "GET", "/towline/v1/cluster/backup")
    assert refused.status == 503
    assert (await ask(socket, "POST", "/towline/v1/cluster/managers", {"managers": ["x"]})).status == 503
    assert (await ask(socket, "POST", "/swarm/init", INIT)).json == OWN_ID
    answer = await ask(socket, "GET", "/towline/v1/cluster/backup")
    assert (answer.status, answer.body) == (200, b"a backup")
    assert answer.headers["content-type"] == "application/octet-stream"
    path = "/towline/v1/cluster/restore?advertise-addr=eth0&force=1"
    assert (await ask(socket, "POST", path, b"something else")).status == 400
    assert (await ask(socket, "POST", path, answer.body)).json == {"node": "n" * 25}
    assert cluster.restored == RestoreCluster("0.0.0.0:2377", "eth0", "", force=True)
    assert (await ask(socket, "POST", "/towline/v1/cluster/managers", {"managers": ["192.0.2.9"]})).status == 200
    assert cluster.told == ("192.0.2.9",)
