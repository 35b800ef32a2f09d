"""What goes wrong on one node of a cluster: told in clear words, and nothing is left of what failed."""

from __future__ import annotations

import stat
from typing import Any

from tests.support.hosts import Host, hosts
from tests.support.polling import until


def _info(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _nothing_left(host: Host) -> None:
    assert _info(host)["LocalNodeState"] == "inactive"
    assert not (host.daemon.data_root / "cluster").exists()


def test_taken_ports_are_told_and_nothing_is_left() -> None:
    with hosts(2) as (manager, other):
        for port in (2377, 2378, 2379):
            taken = other.net.popen(["python3", "-c", _HOLD, str(port)], stdout=-1)
            try:
                assert taken.stdout is not None
                taken.stdout.readline()
                said = other.docker("swarm", "init", "--advertise-addr", other.address, check=False)
                assert f":{port}: bind: address already in use" in said
                _nothing_left(other)
                if port == 2377:
                    manager.init()
                token = manager.docker("swarm", "join-token", "-q", "manager").strip()
                words = ("--advertise-addr", other.address, "--token", token, f"{manager.address}:2377")
                said = other.docker("swarm", "join", *words, check=False)
                assert f":{port}: bind: address already in use" in said
                _nothing_left(other)
            finally:
                taken.kill()
                taken.wait()
        other.join(manager, "manager")
        until(lambda: _info(other)["ControlAvailable"] is True)


_HOLD = """
import socket, sys, time
held = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("held", flush=True)
time.sleep(600)
"""


def test_a_damaged_identity_is_shown_and_can_be_left() -> None:
    with hosts(2) as (manager, worker):
        manager.init()
        worker.join(manager)
        manager.docker("network", "create", "-d", "overlay", "--attachable", "wide")
        until(lambda: worker.towline("run", "-d", "--name", "one", "--network", "wide", "--", "sleep", "600") != "")
        links = worker.daemon.run_apart("ip", "-o", "link", "show", "type", "vxlan")
        assert links
        worker.daemon.kill()
        (worker.daemon.data_root / "cluster" / "node.pem").write_text("nothing")
        worker.daemon.start()
        assert _info(worker)["LocalNodeState"] == "error"
        assert "identity in its cluster is damaged" in _info(worker)["Error"]
        assert worker.daemon.run_apart("ip", "-o", "link", "show", "type", "vxlan").split(":")[1] == links.split(":")[1]
        worker.towline("rm", "-f", "one")
        worker.docker("swarm", "leave", "--force")
        _nothing_left(worker)
        worker.join(manager)


def test_a_removed_node_that_comes_back_is_refused() -> None:
    with hosts(2) as (manager, worker):
        manager.init("--dispatcher-heartbeat", "1s")
        worker.join(manager)
        name = _info(worker)["NodeID"]
        worker.daemon.kill()
        until(lambda: "Removed" not in manager.docker("node", "ls") and _state(manager, name) == "down", 30)
        manager.docker("node", "rm", name)
        worker.daemon.start()
        until(lambda: bool(_info(worker)["Error"]))
        assert _info(worker)["LocalNodeState"] != "active"
        worker.docker("swarm", "leave", "--force")
        _nothing_left(worker)
        worker.join(manager)


def _state(manager: Host, name: str) -> str:
    state: str = manager.daemon.http("GET", f"/nodes/{name}").json["Status"]["State"]
    return state


def test_secrets_are_the_owners_alone() -> None:
    with hosts(1) as (only,):
        only.init()
        tokens = [only.docker("swarm", "join-token", "-q", role).strip() for role in ("worker", "manager")]
        root = only.daemon.data_root / "cluster"
        for path in (root, *root.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0, (path, oct(mode))
        for secret in (*tokens, "PRIVATE KEY"):
            assert secret not in only.daemon.log
