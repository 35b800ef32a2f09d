"""Beginning, joining, leaving and updating a cluster: Docker's checks, in its order."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.fake_swarm import INTERFACES, OWN_ID, member
from towline.model.cluster import NodeSpec, NodeStatus, SwarmState
from towline.model.errors import Failure, InvalidParameter, TowlineError, Unavailable, Unsupported
from towline.model.requests import InitSwarm, JoinSwarm
from towline.policy import swarm
from towline.policy.swarm import check_leave, not_a_manager, resolve_init, resolve_join
from towline.policy.swarm_address import HostPort
from towline.policy.swarm_spec import LARGEST, cert_expiry, default_spec, updated

HERE = InitSwarm(listen_addr="127.0.0.1:12377", advertise_addr="127.0.0.1")
THERE = JoinSwarm(listen_addr="0.0.0.0:2377", remote_addrs=("192.0.2.9",), token="t")


def test_everything_has_a_default() -> None:
    plan = resolve_init(InitSwarm(listen_addr="0.0.0.0:2377"), INTERFACES)
    assert (plan.listen, plan.advertise, plan.local) == (
        HostPort("0.0.0.0", 2377),
        HostPort("192.0.2.1", 2377),
        "192.0.2.1",
    )
    assert (plan.data_path, plan.data_path_port) == ("192.0.2.1", 4789)
    assert (plan.pools, plan.subnet_size, plan.availability) == (("10.0.0.0/8",), 24, "active")
    assert plan.spec == default_spec()


def test_what_is_asked_is_taken() -> None:
    asked = replace(
        HERE, data_path_addr="eth0", data_path_port=7777, pools=("10.90.0.0/16",), subnet_size=26, availability="Drain"
    )
    plan = resolve_init(asked, INTERFACES)
    assert (plan.data_path, plan.data_path_port) == ("192.0.2.1", 7777)
    assert (plan.pools, plan.subnet_size, plan.availability) == (("10.90.0.0/16",), 26, "drain")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"listen_addr": ""}, InvalidParameter('invalid ListenAddr "": invalid empty address')),
        ({"spec": {"Name": "x"}, "listen_addr": "x"}, InvalidParameter('swarm spec must be named "default"')),
        ({"data_path_port": 80}, Failure("Datapath port number is not in valid range (1024-49151) : 80")),
        ({"data_path_port": 49152}, Failure("Datapath port number is not in valid range (1024-49151) : 49152")),
        (
            {"pools": ("10.90.0.0/16",), "subnet_size": 8},
            Failure('invalid CIDR: "10.90.0.0/16". Subnet size is too small for pool: 8'),
        ),
        ({"pools": ("10.90.0.0/16",), "subnet_size": 30}, Failure("subnet size is out of range: 30")),
        ({"pools": ("10.90.0.0/25",)}, Failure('invalid CIDR: "10.90.0.0/25". Subnet size is too small for pool: 24')),
        ({"pools": ("fd00::/8",)}, InvalidParameter("invalid base pool fd00::/8: ")),
        ({"availability": "x"}, Failure('invalid Availability: "x"')),
        ({"autolock": True}, Unsupported("autolock is not supported")),
        (
            {"spec": {"CAConfig": {"NodeCertExpiry": 1}}},
            Failure(
                "error updating cluster settings: rpc error: code = InvalidArgument desc = "
                "minimum certificate expiry time is: 1h0m0s"
            ),
        ),
        ({"spec": {"CAConfig": {"ForceRotate": 1}}}, Unsupported("the swarm's root certificate")),
        ({"spec": {"CAConfig": {"ExternalCAs": [{"URL": "x"}]}}}, Unsupported("the swarm's root certificate")),
        ({"spec": {"EncryptionConfig": {"AutoLockManagers": True}}}, Unsupported("autolock is not supported")),
    ],
)
def test_refused_init(change: dict[str, Any], refusal: TowlineError) -> None:
    with pytest.raises(type(refusal)) as refused:
        resolve_init(replace(HERE, **change), INTERFACES)
    assert str(refused.value).startswith(str(refusal))


def test_a_size_without_pools_means_nothing_as_in_docker() -> None:
    assert resolve_init(replace(HERE, subnet_size=99), INTERFACES).subnet_size == 24


def test_join() -> None:
    plan = resolve_join(THERE, INTERFACES)
    assert (plan.listen, plan.advertise, plan.data_path) == (HostPort("0.0.0.0", 2377), None, "")
    assert plan.remotes == (HostPort("192.0.2.9", 2377),)
    plan = resolve_join(replace(THERE, advertise_addr="eth0:7", data_path_addr="eth0"), INTERFACES)
    assert (plan.advertise, plan.data_path) == (HostPort("192.0.2.1", 7), "192.0.2.1")


def test_the_daemon_may_know_what_to_advertise() -> None:
    """moby daemon/cluster/listen_addr.go resolveAdvertiseAddr: for init and join, unless they say otherwise."""
    for default in ("eth0", "192.0.2.1"):
        assert resolve_init(replace(HERE, advertise_addr=""), INTERFACES, default).advertise.host == "192.0.2.1"
        assert resolve_join(THERE, INTERFACES, default).advertise == HostPort("192.0.2.1", 2377)
    assert resolve_join(replace(THERE, advertise_addr="192.0.2.7"), INTERFACES, "eth0").advertise == (
        HostPort("192.0.2.7", 2377)
    )
    with pytest.raises(InvalidParameter, match="default advertise address must be"):
        resolve_init(replace(HERE, advertise_addr=""), INTERFACES, "nonsense")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"listen_addr": "", "remote_addrs": ()}, 'invalid ListenAddr "": invalid empty address'),
        ({"listen_addr": "x", "remote_addrs": ()}, "at least 1 RemoteAddr is required to join"),
        ({"remote_addrs": ("192.0.2.9", "")}, 'invalid remoteAddr "": invalid empty address'),
        ({"advertise_addr": "0.0.0.0"}, "advertise address must be a non-zero IP address"),
    ],
)
def test_refused_join(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        resolve_join(replace(THERE, **change), INTERFACES)
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (SwarmState(), swarm.NOT_IN_SWARM),
        (SwarmState(state="locked"), swarm.LOCKED),
        (SwarmState(state="error", error="x"), swarm.NOT_IN_SWARM),
        (SwarmState(state="error", error=swarm.CERTIFICATES_EXPIRED), swarm.CERTIFICATES_EXPIRED),
        (SwarmState(state="active"), swarm.WORKER),
        (SwarmState(state="pending"), swarm.WORKER),
        (SwarmState(state="active", manager=True), swarm.PREPARING),
    ],
)
def test_why_this_is_no_manager(state: SwarmState, text: str) -> None:
    assert str(not_a_manager(state)) == text


MANAGER = SwarmState(state="active", node_id=OWN_ID, manager=True, control=True)


def _managers(reachable: int, unreachable: int) -> list[NodeStatus]:
    spec = NodeSpec(role="manager")
    up = [member(f"u{n}", "up", spec, manager_address="192.0.2.2:2377") for n in range(reachable)]
    away = [member(f"a{n}", "away", spec, manager_address="192.0.2.2:2377") for n in range(unreachable)]
    return [*up, *(replace(status, reachable=False, state="down") for status in away), member("w", "worker")]


def test_a_worker_leaves_freely() -> None:
    check_leave(SwarmState(state="active"), [])


@pytest.mark.parametrize(
    ("state", "nodes", "text"),
    [
        (MANAGER, _managers(1, 0), "Removing the last manager erases all current state of the swarm."),
        (MANAGER, _managers(2, 0), "Removing this node leaves 1 managers out of 2. Without a Raft quorum"),
        (MANAGER, _managers(2, 1), "Removing this node leaves 1 managers out of 3. Without a Raft quorum"),
        (MANAGER, _managers(3, 0), "The only way to restore a swarm that has lost consensus"),
        (replace(MANAGER, control=False), [], "Doing so may lose the consensus of your cluster."),
    ],
)
def test_a_manager_is_warned(state: SwarmState, nodes: list[NodeStatus], text: str) -> None:
    with pytest.raises(Unavailable) as refused:
        check_leave(state, nodes)
    begin = "You are attempting to leave the swarm on a node that is participating as a manager. "
    assert str(refused.value).startswith(begin + text)


def test_an_update_is_the_whole_spec() -> None:
    spec = updated({"Labels": {"b": "2", "a": "1"}, "Raft": {"SnapshotInterval": 7, "KeepOldSnapshots": 0}})
    assert spec["Labels"] == {"a": "1", "b": "2"}
    assert spec["Raft"] == {**default_spec()["Raft"], "SnapshotInterval": 7}  # type: ignore[dict-item]
    assert updated(updated({"Labels": {"a": "1"}})) == {**default_spec(), "Labels": {"a": "1"}}
    assert list(spec) == list(default_spec())


def test_zero_is_a_value_only_where_docker_has_pointers() -> None:
    spec = updated({"Orchestration": {"TaskHistoryRetentionLimit": 0}, "Raft": {"SnapshotInterval": 0}})
    assert spec["Orchestration"] == {"TaskHistoryRetentionLimit": 0}
    assert spec["Raft"] == default_spec()["Raft"]
    assert cert_expiry(spec) == 90 * 24 * 3600


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"Name": "other"}, 'swarm spec must be named "default"'),
        (
            {"Dispatcher": {"HeartbeatPeriod": -1}},
            "rpc error: code = InvalidArgument desc = heartbeat time period cannot be a negative duration",
        ),
        ({"Labels": {"a": "x" * LARGEST}}, "the swarm's labels are longer than"),
    ],
)
def test_refused_update(spec: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        updated(spec)
    assert str(refused.value).startswith(text)
