"""A backup put back, with everything that happened since then in the way: three managers that lost etcd, endpoints that
run, blocks of addresses that the backup does not know, or knows of another node."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

from tests.support.equality_cluster import etcd_records, settled
from tests.support.hosts import Host, hosts
from tests.support.polling import until

SLEEP = ("--", "sleep", "600")


def _info(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _networks(host: Host) -> set[str]:
    return {n["Name"] for n in host.daemon.http("GET", "/networks").json if n["Scope"] == "swarm"}


def _run(host: Host, name: str, network: str) -> str:
    """Its address on the network."""
    host.towline("run", "-d", "--name", name, "--network", network, *SLEEP)
    return _address(host, name)


def _address(host: Host, name: str) -> str:
    found = [
        e for s in host.daemon.http("GET", "/towline/v1/sandboxes").json for e in s["endpoints"] if s["name"] == name
    ]
    return str(next(e["ipv4"] for e in found if e["ipv4"].startswith("10.")).partition("/")[0])


def _pings(host: Host, name: str, target: str) -> bool:
    return " 0% packet loss" in host.towline("exec", name, "--", "ping", "-c1", "-W1", target, check=False)


def test_the_cluster_is_that_of_the_backup_and_what_runs_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "towline.backup"
    with hosts(4) as made:
        one, two, three, worker = made
        one.init("--dispatcher-heartbeat", "1s")
        two.join(one, "manager")
        three.join(one, "manager")
        worker.join(one)
        for name in ("keep", "drop"):
            one.docker("network", "create", "-d", "overlay", "--attachable", name)
        _run(one, "aa", "keep")
        worker.towline("run", "-d", "--name", "bb", "--network", "keep", *SLEEP)
        worker.towline("run", "-d", "--name", "gone", "--network", "drop", *SLEEP)
        said = one.towline("cluster", "backup", str(file))
        assert "with its secrets: keep it as those" in said
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert one.docker("swarm", "join-token", "-q", "worker").strip() in file.read_text()

        # Since then: a network goes, another comes; the worker gives a block back, and two gets it; two leases another.
        worker.towline("rm", "-f", "gone")
        worker.towline("rm", "-f", "bb")
        until(lambda: not _blocks(one, _info(worker)["NodeID"]))
        one.docker("network", "rm", "drop")
        one.docker("network", "create", "-d", "overlay", "--attachable", "late")
        late = _run(two, "cc", "keep")
        other = _run(two, "dd", "late")
        assert other
        before = _blocks(one, _info(two)["NodeID"])
        assert before

        # All managers lose their etcd; one its whole identity.
        for host in (one, two, three):
            host.daemon.kill()
            shutil.rmtree(host.daemon.data_root / "cluster" / "etcd")
        shutil.rmtree(three.daemon.data_root / "cluster")
        for host in (one, two, three):
            host.daemon.start()
        refused = worker.towline("cluster", "backup", str(file), check=False)
        assert refused == ""
        _assert_nothing_changes_where_it_fails(worker, file.read_bytes())
        one.towline("cluster", "restore", str(file))

        # Nobody gets what another holds: three never comes back, and is waited for.
        until(lambda: bool(_info(two)["ControlAvailable"]), 40)
        until(lambda: _networks(one) == {"ingress", "keep", "drop"} == _networks(two))
        until(lambda: "Missing: " in _try_join(worker), 20)
        assert _address(two, "cc") == late
        one.docker("node", "demote", _down(one))
        one.docker("node", "rm", "--force", _down(one))
        until(lambda: _try_join(worker) == "", 20)
        assert before.keys() & _blocks(one, _info(two)["NodeID"]).keys()
        taken = _address(worker, "ee")
        assert taken not in (late, _address(one, "aa"))
        settled([one, two], [one, two, worker], 40)
        until(lambda: _pings(two, "cc", "aa") and _pings(worker, "ee", "cc") and _pings(one, "aa", "ee"), 20)
        records = etcd_records(one)
        owners = [r for k, r in records.items() if k.startswith("block/") and r.get("node")]
        prefixes = [(r["network"], r["prefix"]) for r in owners]
        assert len(set(prefixes)) == len(prefixes)
        # The host that lost all comes as a new node.
        three.join(one, "manager")
        until(lambda: bool(_info(three)["ControlAvailable"]), 40)
        until(lambda: _networks(three) == {"ingress", "keep", "drop"})


def _assert_nothing_changes_where_it_fails(host: Host, backup: bytes) -> None:
    """A port that a manager needs is taken."""
    root = host.daemon.data_root / "cluster"
    before = {name: (root / name).read_text() for name in ("node.json", "node.pem")}
    taken = host.net.popen(["python3", "-c", _HOLD], stdout=-1)
    try:
        assert taken.stdout is not None
        taken.stdout.readline()
        answer = host.daemon.http("POST", "/towline/v1/cluster/restore", backup)
        assert (answer.status, ":2378: bind: address already in use" in answer.json["message"]) == (503, True), answer
    finally:
        taken.kill()
        taken.wait()
    assert {name: (root / name).read_text() for name in before} == before
    assert not (root / "etcd").exists()
    assert _info(host)["NodeID"]
    assert not _info(host)["ControlAvailable"]


_HOLD = """
import socket, time
held = socket.create_server(("0.0.0.0", 2378))
print("held", flush=True)
time.sleep(600)
"""


def _try_join(host: Host) -> str:
    """Runs `ee` on network keep: "" or why not."""
    answer = host.net.run(["sh", "-c", f"{_TOWLINE(host)} run -d --name ee --network keep -- sleep 600 2>&1 || true"])
    if "Missing" in answer or "rror" in answer or "no " in answer:
        host.towline("rm", "-f", "ee", check=False)
        return answer
    return ""


def _TOWLINE(host: Host) -> str:
    from tests.support.hosts import TOWLINE

    return f"{TOWLINE} -H unix://{host.daemon.socket}"


def _blocks(manager: Host, node: str) -> dict[str, dict[str, Any]]:
    return {k: r for k, r in etcd_records(manager).items() if k.startswith("block/") and r.get("node") == node}


def _down(manager: Host) -> str:
    nodes = manager.daemon.http("GET", "/nodes").json
    return str(next(n["ID"] for n in nodes if n["Status"]["State"] == "down"))


def test_a_restore_is_refused_where_it_would_do_harm(tmp_path: Path) -> None:
    file, other = tmp_path / "one", tmp_path / "two"
    with hosts(2) as (one, two):
        one.init("--dispatcher-heartbeat", "1s")
        two.init("--dispatcher-heartbeat", "1s")
        one.towline("cluster", "backup", str(file))
        two.towline("cluster", "backup", str(other))
        one.docker("network", "create", "-d", "overlay", "after")

        def refusal(host: Host, data: bytes, query: str = "") -> tuple[int, str]:
            answer = host.daemon.http("POST", f"/towline/v1/cluster/restore{query}", data)
            return answer.status, answer.json["message"]

        whole = file.read_bytes()
        assert refusal(one, whole)[0] == 409
        assert "this manager works" in refusal(one, whole)[1]
        assert "the backup is of cluster" in refusal(one, other.read_bytes(), "?force=1")[1]
        for damaged in (b"", b"{}", whole[:-10], whole[: len(whole) // 2], whole.replace(b"ingress", b"ingrass")):
            status, text = refusal(one, damaged, "?force=1")
            assert (status, "backup" in text) == (400, True), text
        assert "after" in _networks(one)
        one.towline("cluster", "restore", "--force", str(file))
        assert "after" not in _networks(one)
        until(lambda: bool(_info(one)["ControlAvailable"]), 20)
        one.docker("network", "create", "-d", "overlay", "--attachable", "again")
        until(lambda: bool(_run(one, "aa", "again")), 20)

        # A new host, in no cluster, takes the first one's place; the old one, alive, is not listened to.
        two.docker("swarm", "leave", "--force")
        answer = two.daemon.http("POST", f"/towline/v1/cluster/restore?advertise-addr={two.address}", whole)
        assert answer.status == 200, answer
        assert _info(two)["Cluster"]["ID"] == _info(one)["Cluster"]["ID"]
        assert json.loads(whole.splitlines()[0])["cluster"] == _info(two)["Cluster"]["ID"]
        assert _networks(two) == {"ingress"}
