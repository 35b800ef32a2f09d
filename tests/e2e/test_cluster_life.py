"""What befalls a cluster while it begins, grows and shrinks: refused clearly, or done, and never half of it left."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.crashing_cluster import Crash
from tests.support.daemon import Answer
from tests.support.disk import tmpfs
from tests.support.equality_cluster import etcd_records
from tests.support.hosts import Host, hosts, start_all
from tests.support.polling import until


def _swarm(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _nothing_left(host: Host) -> None:
    assert _swarm(host)["LocalNodeState"] == "inactive"
    assert not [path for path in host.daemon.data_root.iterdir() if path.name.startswith("cluster")]


def _init(host: Host) -> Answer:
    return host.daemon.http("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": host.address})


def _join(host: Host, manager: Host, token: str) -> Answer:
    asked = {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": host.address,
        "RemoteAddrs": [f"{manager.address}:2377"],
        "JoinToken": token,
    }
    return host.daemon.http("POST", "/swarm/join", asked)


def _token(manager: Host, role: str) -> str:
    return manager.docker("swarm", "join-token", "-q", role).strip()


def _at_once(calls: Sequence[Any]) -> list[Answer]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def _create(host: Host, name: str) -> Answer:
    return host.daemon.http("POST", "/networks/create", {"Name": name, "Driver": "overlay", "Attachable": True})


def test_of_two_inits_and_of_two_joins_at_once_one_is_done() -> None:
    with hosts(2) as (one, two):
        answers = _at_once([lambda: _init(one)] * 2)
        assert sorted(answer.status for answer in answers) == [200, 503]
        assert "already part of a swarm" in next(a.json["message"] for a in answers if a.status == 503)
        token = _token(one, "worker")
        answers = _at_once([lambda: _join(two, one, token)] * 2)
        assert sorted(answer.status for answer in answers) == [200, 503]
        nodes = one.daemon.http("GET", "/nodes").json
        assert len(nodes) == 2
        assert {node["ID"] for node in nodes} == {_swarm(one)["NodeID"], _swarm(two)["NodeID"]}


def test_a_full_disk_leaves_nothing_begun() -> None:
    """etcd makes a log of 64 MB before it serves, which is too much for this one."""
    with hosts(2, start=False) as (manager, host), tmpfs(host.daemon, "32m") as disk:
        start_all([manager, host])
        manager.init()

        def begun() -> list[str]:
            return [path.name for path in disk.path.iterdir() if path.name.startswith("cluster")]

        said = _init(host)
        assert (said.status, "space" in said.json["message"] or "disk" in said.json["message"]) == (503, True), said
        assert (_swarm(host)["LocalNodeState"], begun()) == ("inactive", [])
        disk.fill()
        for answer in (_init(host), _join(host, manager, _token(manager, "worker"))):
            assert answer.status >= 500, answer
            assert "space" in answer.json["message"], answer
            assert (_swarm(host)["LocalNodeState"], begun()) == ("inactive", [])
        disk.free()
        host.join(manager)
        assert _swarm(host)["LocalNodeState"] == "active"
        # The node of the join that failed had been let in: it is shown as what it is, and can go.
        until(
            lambda: len([n for n in manager.daemon.http("GET", "/nodes").json if n["Status"]["State"] == "ready"]) == 2
        )


def test_one_of_three_managers_leaves_and_two_go_on() -> None:
    with hosts(3) as made:
        one, two, three = made
        one.init("--dispatcher-heartbeat", "1s")
        two.join(one, "manager")
        three.join(one, "manager")
        refused = one.docker("swarm", "leave", check=False)
        assert "You are attempting to leave the swarm on a node that is participating as a manager" in refused
        one.docker("swarm", "leave", "--force")
        _nothing_left(one)
        until(lambda: _create(two, "after").status == 201, 30)
        assert _create(three, "later").status == 201
        records = etcd_records(two)
        assert sum(bool(r.get("manager_address")) for k, r in records.items() if k.startswith("node/")) == 2
        one.join(three, "manager")
        until(lambda: bool(_swarm(one)["ControlAvailable"]), 30)


def test_a_daemon_that_is_stopped_while_it_joins_has_joined_or_has_not() -> None:
    with hosts(3, start=False) as (manager, first, second):
        crashes = [Crash(host.daemon) for host in (first, second)]
        start_all([manager, first, second])
        manager.init("--dispatcher-heartbeat", "1s")
        for host, crash, step in zip((first, second), crashes, ("begin before", "save before"), strict=True):
            crash.at(f"IdentityFiles.{step}")
            with pytest.raises(OSError):
                _join(host, manager, _token(manager, "worker"))
            host.daemon.wait()
            assert not crash.due
            host.daemon.start()
            _nothing_left(host)
            host.join(manager)
        waiting = _at_once([lambda: _stop_while_joining(first, manager)])
        assert waiting
        first.daemon.start()
        until(lambda: _swarm(first)["LocalNodeState"] in ("inactive", "active"), 30)


def _stop_while_joining(host: Host, manager: Host) -> Answer:
    """As a manager this time, so that it takes a while."""
    host.docker("swarm", "leave", "--force")
    token = _token(manager, "manager")
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(_join, host, manager, token)
        until(lambda: (host.daemon.data_root / "cluster" / "etcd-tls").exists() or joining.done(), 30)
        host.daemon.process.send_signal(signal.SIGTERM)
        assert host.daemon.wait() == 0
        try:
            return joining.result()
        except OSError:
            return host.daemon and manager.daemon.http("GET", "/_ping")


def test_force_new_cluster_is_cut_short_and_done_again_and_the_old_managers_do_no_harm() -> None:
    with hosts(3, start=False) as made:
        one, two, three = made
        crash = Crash(one.daemon)
        start_all(made)
        one.init("--dispatcher-heartbeat", "1s")
        two.join(one, "manager")
        three.join(one, "manager")
        assert _create(one, "kept").status == 201
        two.daemon.kill()
        three.daemon.kill()
        until(lambda: _create(one, "refused").status == 503, 30)
        for step in ("Member.start after", "Nodes.begin_era after"):
            crash.at(step)
            one.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", one.address, check=False)
            one.daemon.wait()
            assert not crash.due, step
            one.daemon.start()
        one.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", one.address)
        until(lambda: _create(one, "alone").status == 201, 30)
        # The old ones come back, at first without the new one: together they were a majority.
        one.cut()
        start_all([two, three])
        until(lambda: bool(_swarm(two)["ControlAvailable"]), 30)
        one.mend()
        for host in (two, three):
            until(lambda host=host: "alone" in _names(host), 60)  # type: ignore[misc]
        for host in made:
            assert {"kept", "alone"} <= _names(host)
        until(lambda: all(bool(_swarm(host)["ControlAvailable"]) for host in made), 60)
        assert _create(three, "together").status == 201


def _names(host: Host) -> set[str]:
    return {network["Name"] for network in host.daemon.http("GET", "/networks").json}


def test_a_member_that_was_removed_from_etcd_comes_again_at_once() -> None:
    with hosts(2) as (one, two):
        one.init("--dispatcher-heartbeat", "1s")
        two.join(one, "manager")
        tls = one.daemon.data_root / "cluster" / "etcd-tls"
        files = [f"--{flag}={tls / name}" for flag, name in (("cacert", "ca.pem"), ("cert", "member.pem"))]
        ctl = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints=https://127.0.0.1:2379", *files]
        ctl.append(f"--key={tls / 'member.key'}")
        members = one.net.run([*ctl, "member", "list"]).splitlines()
        ours = next(line.partition(",")[0] for line in members if _swarm(two)["NodeID"] in line)
        until(lambda: "removed" in one.net.run([*ctl, "member", "remove", ours], check=False), 20)
        until(lambda: _swarm(two)["NodeID"] in one.net.run([*ctl, "member", "list"], check=False), 40)
        until(lambda: bool(_swarm(two)["ControlAvailable"]), 40)
        assert _create(two, "again").status == 201


def test_a_worker_is_told_of_managers_with_new_addresses() -> None:
    with hosts(2) as (one, two):
        one.init("--dispatcher-heartbeat", "1s")
        two.join(one)
        two.daemon.stop()
        path = two.daemon.data_root / "cluster" / "node.json"
        path.write_text(path.read_text().replace(f"{one.address}:2377", "192.0.2.77:2377"))
        two.daemon.start()
        assert _swarm(two)["LocalNodeState"] == "pending"
        assert two.towline("cluster", "managers", "x/y", check=False) == ""
        two.towline("cluster", "managers", one.address)
        until(lambda: _swarm(two)["LocalNodeState"] == "active", 30)
        shutil.copy(path, path.with_suffix(".seen"))
        assert f"{one.address}:2377" in path.read_text()


def test_wrong_modes_are_mended() -> None:
    with hosts(1) as (one,):
        one.init()
        one.daemon.stop()
        root = one.daemon.data_root / "cluster"
        for path in (root, *root.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        one.daemon.start()
        until(lambda: bool(_swarm(one)["ControlAvailable"]), 30)
        for path in (root, *root.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
        assert "had a mode that let others read it" in one.daemon.log
