"""Several hosts as one cluster: real daemons, real etcd, the docker command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.hosts import Host, hosts
from tests.support.polling import until


def _info(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _nodes(manager: Host) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = manager.daemon.http("GET", "/nodes").json
    return nodes


def _node_of(manager: Host, host: Host) -> dict[str, Any]:
    wanted = _info(host)["NodeID"]
    return next(node for node in _nodes(manager) if node["ID"] == wanted)


def _networks(host: Host) -> set[str]:
    return set(host.docker("network", "ls", "--format", "{{.Name}}").split())


def _ready(manager: Host, count: int) -> Callable[[], bool]:
    return lambda: [node["Status"]["State"] for node in _nodes(manager)].count("ready") == count


def _etcd_pids(host: Host) -> list[int]:
    """Children of the daemon that are etcd."""
    children = Path(f"/proc/{host.daemon.pid}/task/{host.daemon.pid}/children").read_text().split()
    threads = Path(f"/proc/{host.daemon.pid}/task").iterdir()
    children += [pid for thread in threads for pid in (thread / "children").read_text().split()]
    return sorted({int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "etcd"})


def test_one_node_begins_and_leaves() -> None:
    with hosts(1) as (only,):
        only.init()
        assert _info(only)["LocalNodeState"] == "active"
        assert [node["Status"]["State"] for node in _nodes(only)] == ["ready"]
        assert "ingress" in _networks(only)
        only.docker("network", "create", "-d", "overlay", "--attachable", "wide")
        said = only.docker("swarm", "leave", check=False)
        assert "Removing the last manager erases all current state of the swarm" in said
        only.docker("swarm", "leave", "--force")
        assert _info(only)["LocalNodeState"] == "inactive"
        assert _networks(only) == {"bridge", "host", "none", "docker_gwbridge"}
        assert _etcd_pids(only) == []
        assert not (only.daemon.data_root / "cluster").exists()
        only.init()
        assert _networks(only) == {"bridge", "host", "none", "ingress", "docker_gwbridge"}


def test_a_restarted_manager_goes_on() -> None:
    with hosts(1) as (only,):
        only.init()
        only.docker("network", "create", "-d", "overlay", "--attachable", "wide")
        before = _info(only)["NodeID"], only.docker("network", "inspect", "-f", "{{.Id}}", "wide")
        only.daemon.kill()
        only.daemon.start()
        until(lambda: _info(only)["ControlAvailable"] is True)
        assert (_info(only)["NodeID"], only.docker("network", "inspect", "-f", "{{.Id}}", "wide")) == before
        only.docker("network", "rm", "wide")


def test_etcd_that_is_killed_comes_back() -> None:
    with hosts(1) as (only,):
        only.init()
        (pid,) = _etcd_pids(only)
        only.net.run(["kill", "-9", str(pid)])
        until(lambda: _etcd_pids(only) not in ([], [pid]))
        until(lambda: _info(only)["ControlAvailable"] is True)
        only.docker("network", "create", "-d", "overlay", "wide")


def test_a_worker_joins_sees_networks_and_is_told_what_it_may_not() -> None:
    with hosts(2) as (manager, worker):
        manager.init()
        worker.join(manager)
        assert _ready(manager, 2)()
        manager.docker("network", "create", "-d", "overlay", "--attachable", "wide")
        refused = worker.docker("network", "create", "-d", "overlay", "other", check=False)
        assert "This node is not a swarm manager" in refused
        assert "Worker nodes can't be used" in worker.docker("node", "ls", check=False)
        assert "network wide not found" in worker.docker("network", "rm", "wide", check=False)
        worker.docker("swarm", "leave")
        until(lambda: _ready(manager, 1)())
        assert _info(worker)["LocalNodeState"] == "inactive"
        name = next(node["ID"] for node in _nodes(manager) if node["Status"]["State"] == "down")
        manager.docker("node", "rm", name)
        assert len(_nodes(manager)) == 1


def test_a_wrong_token_and_a_wrong_cluster_are_refused() -> None:
    with hosts(3) as (manager, other, worker):
        manager.init()
        other.init()
        token = manager.docker("swarm", "join-token", "-q", "worker").strip()
        manager.docker("swarm", "join-token", "--rotate", "-q", "worker")
        join = ("swarm", "join", "--advertise-addr", worker.address, "--token")
        stale = worker.docker(*join, token, f"{manager.address}:2377", check=False)
        assert "A valid join token is necessary to join this cluster" in stale
        foreign = worker.docker(*join, token, f"{other.address}:2377", check=False)
        assert "remote CA does not match fingerprint" in foreign
        assert "invalid join token" in worker.docker(*join, "SWMTKN-1-x", f"{manager.address}:2377", check=False)
        assert _info(worker)["LocalNodeState"] == "inactive"
        assert not (worker.daemon.data_root / "cluster").exists()
        assert token not in manager.daemon.log + worker.daemon.log


def test_three_managers_survive_the_loss_of_one() -> None:
    with hosts(3) as three:
        first, second, third = three
        first.init()
        second.join(first, "manager")
        third.join(first, "manager")
        until(lambda: all(_info(host)["ControlAvailable"] for host in three))
        assert sorted(node["ManagerStatus"]["Reachability"] for node in _nodes(second)) == ["reachable"] * 3
        second.docker("network", "create", "-d", "overlay", "before")
        first.daemon.kill()
        until(lambda: third.daemon.http("POST", "/networks/create", _overlay("after")).status in (201, 409), 40)
        until(lambda: {"before", "after"} <= _networks(second))
        first.daemon.start()
        until(lambda: "after" in _networks(first), seconds=40)


def _overlay(name: str) -> dict[str, str]:
    return {"Name": name, "Driver": "overlay"}


def test_promotion_and_demotion() -> None:
    with hosts(2) as (manager, worker):
        manager.init()
        worker.join(manager)
        name = _info(worker)["NodeID"]
        manager.docker("node", "promote", name)
        until(lambda: _info(worker)["ControlAvailable"] is True, seconds=40)
        assert len(_etcd_pids(worker)) == 1
        worker.docker("network", "create", "-d", "overlay", "wide")
        manager.docker("node", "demote", name)
        until(lambda: _info(worker)["ControlAvailable"] is False and _etcd_pids(worker) == [], seconds=40)
        manager.docker("network", "rm", "wide")
        assert _node_of(manager, worker)["Spec"]["Role"] == "worker"
        refused = manager.docker("node", "demote", _info(manager)["NodeID"], check=False)
        assert "attempting to demote the last manager of the swarm" in refused


def test_networks_follow_the_mtu_of_the_uplink() -> None:
    with hosts(1) as (only,):
        only.init()
        only.docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        only.docker("network", "create", "-d", "overlay", "--attachable", "wide")
        only.towline("run", "-d", "--name", "one", "--network", "wide", "--", "sleep", "600")
        name = only.docker("network", "inspect", "-f", "{{.Id}}", "wide")[:12]
        assert _mtu(only, f"vx-{name}") == 1450
        only.net.run(["ip", "link", "set", "eth0", "mtu", "1400"])
        until(lambda: _mtu(only, f"vx-{name}") == 1350 and _mtu(only, f"br-{name}") == 1350)
        until(lambda: only.towline("exec", "one", "--", "cat", "/sys/class/net/eth0/mtu").strip() == "1350")


def _mtu(host: Host, link: str) -> int:
    return int(json.loads(host.daemon.run_apart("ip", "-j", "link", "show", link))[0]["mtu"])


def test_the_daemon_ends_in_the_middle_of_beginning() -> None:
    with hosts(1) as (only,):
        only.init()
        state = only.daemon.data_root / "cluster" / "node.json"
        only.daemon.kill()
        state.write_text(json.dumps({**json.loads(state.read_text()), "complete": False}))
        only.daemon.start()
        assert _info(only)["LocalNodeState"] == "inactive"
        assert not state.parent.exists()
        only.init()
