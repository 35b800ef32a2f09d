"""The daemon killed between the steps of beginning, joining, being promoted, demoted and leaving: it is in the cluster
afterwards or it is not, and the cluster works in either case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.crashing_cluster import Crash
from tests.support.hosts import Host, hosts, start_all
from tests.support.polling import until

SLOW = 90.0


@contextmanager
def _crashing(count: int) -> Iterator[tuple[list[Host], Crash]]:
    """The last one crashes."""
    with hosts(count, start=False) as made:
        crash = Crash(made[-1].daemon)
        start_all(made)
        yield made, crash


def _info(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _works(host: Host) -> bool:
    return bool(_info(host)["ControlAvailable"])


def _members(host: Host) -> list[str]:
    """Names of etcd's members, as a manager of the cluster sees them."""
    tls = host.daemon.data_root / "cluster" / "etcd-tls"
    files = f"--cacert={tls}/ca.pem --cert={tls}/member.pem --key={tls}/member.key".split()
    said = host.net.run(
        ["etcdctl", "--endpoints=https://127.0.0.1:2379", *files, "member", "list", "-w", "json"], check=False
    )
    return sorted(member.get("name", "") for member in json.loads(said or '{"members": []}')["members"])


GATEWAY = "docker_gwbridge"


def _nothing_left(host: Host) -> None:
    assert _info(host)["LocalNodeState"] == "inactive", _info(host)
    assert [path.name for path in host.daemon.data_root.iterdir() if path.name.startswith("cluster")] == []
    names = set(host.docker("network", "ls", "--format", "{{.Name}}").split())
    assert names - {GATEWAY} == {"bridge", "host", "none"}, "the host's own gateway network stays, as Docker's"
    links = {link["ifname"] for link in json.loads(host.net.run(["ip", "-j", "link", "show"]))}
    assert links - {GATEWAY} == {"lo", "eth0", "docker0"}, links
    assert not host.daemon.overlay_namespace.exists()


def _crashed(host: Host, crash: Crash, step: str) -> None:
    host.daemon.wait()
    assert not crash.due, step
    host.daemon.start()


BEGIN = (
    "IdentityFiles.begin after",
    "IdentityFiles.save_member_tls after",
    "Member.start after",
    "NodeApi.start after",
    "IdentityFiles.save before",
)


def test_beginning_is_all_or_nothing() -> None:
    with _crashing(1) as ((only,), crash):
        for step in BEGIN:
            crash.at(step)
            only.docker("swarm", "init", "--advertise-addr", only.address, check=False)
            _crashed(only, crash, step)
            _nothing_left(only)
        crash.at("IdentityFiles.save after")
        only.docker("swarm", "init", "--advertise-addr", only.address, check=False)
        _crashed(only, crash, "save")
        until(lambda: _works(only))
        only.docker("swarm", "leave", "--force")
        _nothing_left(only)
        only.init()


def test_a_worker_is_in_or_out() -> None:
    with _crashing(2) as ((manager, worker), crash):
        manager.init()
        for step, joined in (
            ("IdentityFiles.begin before", False),
            ("IdentityFiles.begin after", False),
            ("IdentityFiles.save after", True),
        ):
            crash.at(step)
            _join(worker, manager, "worker")
            _crashed(worker, crash, step)
            if joined:
                until(lambda: _info(worker)["LocalNodeState"] == "active")
            else:
                _nothing_left(worker)
        crash.at("SwarmNode._vanish after")
        worker.docker("swarm", "leave", check=False)
        _crashed(worker, crash, "vanish")
        until(lambda: _info(worker)["LocalNodeState"] == "active")
        worker.docker("swarm", "leave")
        _nothing_left(worker)
        worker.join(manager)
        manager.docker("network", "create", "-d", "overlay", "wide")


def _join(host: Host, manager: Host, role: str) -> None:
    token = manager.docker("swarm", "join-token", "-q", role).strip()
    words = ("--advertise-addr", host.address, "--token", token, f"{manager.address}:2377")
    host.docker("swarm", "join", *words, check=False)


COME = (
    "RemoteLink.grant_member after",
    "Member.start before",
    "Member.start after",
    "RemoteLink.promote_member after",
    "NodeApi.start after",
    "RemoteLink.manager_ready after",
)


@pytest.mark.parametrize("steps", [COME[:3], COME[3:]])
def test_a_manager_that_joins_goes_on(steps: Sequence[str]) -> None:
    with _crashing(2) as ((first, second), crash):
        first.init()
        for step in steps:
            crash.at(step)
            _join(second, first, "manager")
            _crashed(second, crash, step)
            _two_managers(first, second, step)
            _leave(first, second)


def _two_managers(first: Host, second: Host, step: str) -> None:
    until(lambda: _works(second) and _works(first), SLOW)
    until(lambda: len(_members(first)) == 2, SLOW)
    second.docker("network", "create", "-d", "overlay", f"n{abs(hash(step)) % 10000}")


def _leave(first: Host, second: Host) -> None:
    name = _info(second)["NodeID"]
    second.docker("swarm", "leave", "--force")
    _nothing_left(second)
    until(lambda: len(_members(first)) == 1 and _works(first), SLOW)
    first.docker("node", "demote", name)
    first.docker("node", "rm", name)


CHANGES = (
    ("promote", "RemoteLink.renew after"),
    ("demote", "Nodes.set_manager after"),
    ("promote", "IdentityFiles.save_certificate after"),
    ("demote", "Members.remove after"),
    ("promote", "RemoteLink.promote_member after"),
    ("demote", "IdentityFiles.erase_member after"),
    ("promote", "RemoteLink.manager_ready before"),
    ("demote", "IdentityFiles.save_certificate after"),
)


@pytest.mark.parametrize("changes", [CHANGES[:4], CHANGES[4:]])
def test_a_role_changes_in_the_end(changes: Sequence[tuple[str, str]]) -> None:
    with _crashing(2) as ((first, second), crash):
        first.init("--dispatcher-heartbeat", "1s")
        second.join(first)
        name = _info(second)["NodeID"]
        for change, step in changes:
            crash.at(step)
            first.docker("node", change, name)
            _crashed(second, crash, step)
            if change == "promote":
                _two_managers(first, second, step)
            else:
                until(lambda: _works(first) and len(_members(first)) == 1, SLOW)
                until(lambda: not _works(second) and _info(second)["LocalNodeState"] == "active", SLOW)
                until(lambda: not (second.daemon.data_root / "cluster" / "etcd").exists(), SLOW)


def test_a_manager_leaves_in_the_end() -> None:
    with _crashing(2) as ((first, second), crash):
        first.init()
        for step in ("Stack.withdraw before", "Members.remove after", "SwarmNode._vanish after"):
            second.join(first, "manager")
            crash.at(step)
            second.docker("swarm", "leave", "--force", check=False)
            _crashed(second, crash, step)
            _two_managers(first, second, step)
            _leave(first, second)
        second.join(first, "manager")
        crash.at("IdentityFiles.erase after")
        second.docker("swarm", "leave", "--force", check=False)
        _crashed(second, crash, "erase")
        _nothing_left(second)
        until(lambda: len(_members(first)) == 1 and _works(first), SLOW)
