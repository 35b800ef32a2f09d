"""The real docker CLI: `docker swarm`, `docker node`, and what they print. First against the API over a fake cluster,
with nodes that a test puts there; then against a real daemon with a real etcd."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Daemon
from tests.support.fake_engine import FakeEngine
from tests.support.fake_swarm import OWN_ID, FakeSwarm, member
from tests.support.needs import need_tool
from tests.support.served import beside, served

Docker = Callable[..., Coroutine[None, None, str]]
WEB_ID = "w" * 25
INIT = ("swarm", "init", "--listen-addr", "127.0.0.1:12377", "--advertise-addr", "127.0.0.1")
TOKEN = r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}"
NETWORKS = r"Network:\s+bridge, host, ipvlan, macvlan, null, overlay"


@pytest.fixture
def cluster() -> FakeSwarm:
    return FakeSwarm()


@pytest.fixture
async def docker(cluster: FakeSwarm, tmp_path: Path) -> AsyncIterator[Docker]:
    """The CLI's stdout and stderr together, and its status where that is not 0."""
    engine = FakeEngine()
    engine.cluster = cluster
    async with served(engine) as socket:

        async def docker(*args: str) -> str:
            return await beside(_docker, socket, tmp_path, args)

        yield docker


def _docker(socket: str, config: Path, args: tuple[str, ...]) -> str:
    command = [need_tool("docker"), "-H", f"unix://{socket}", *args]
    environment = {**os.environ, "DOCKER_CONFIG": str(config)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


def _rows(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]


async def test_init_says_how_to_join(docker: Docker) -> None:
    assert (await docker("node", "ls")).startswith("Error response from daemon: This node is not a swarm manager. Use")
    said = await docker(*INIT)
    assert said.startswith(f"Swarm initialized: current node ({OWN_ID}) is now a manager.")
    assert re.search(rf"docker swarm join --token {TOKEN} 127\.0\.0\.1:12377\n", said)
    again = await docker(*INIT)
    assert again.startswith("Error response from daemon: This node is already part of a swarm.")


async def test_flags_of_init_reach_the_cluster(docker: Docker) -> None:
    await docker(
        *(*INIT, "--default-addr-pool", "10.90.0.0/16", "--default-addr-pool-mask-length", "26"),
        *("--data-path-port", "7777", "--task-history-limit", "3", "--cert-expiry", "48h", "--availability", "drain"),
    )
    info = await docker("system", "info")
    for line in ("Default Address Pool: 10.90.0.0/16", "SubnetSize: 26", "Data Path Port: 7777"):
        assert line in info
    assert "Task History Retention Limit: 3" in info
    assert "Expiry Duration: 2 days" in info
    assert "drain" in (await docker("node", "inspect", "self", "--format", "{{.Spec.Availability}}"))


async def test_join_tokens_are_shown_and_rotated(docker: Docker) -> None:
    await docker(*INIT)
    worker, manager = [await docker("swarm", "join-token", "-q", role) for role in ("worker", "manager")]
    assert re.fullmatch(TOKEN, worker.strip())
    assert worker != manager
    assert worker.strip() in await docker("swarm", "join-token", "worker")
    rotated = await docker("swarm", "join-token", "--rotate", "-q", "worker")
    assert rotated not in ("", worker)
    assert await docker("swarm", "join-token", "-q", "worker") == rotated
    assert await docker("swarm", "join-token", "-q", "manager") == manager


async def test_nodes(docker: Docker, cluster: FakeSwarm) -> None:
    await docker(*INIT)
    cluster.put(member(WEB_ID, "web"))
    assert _rows(await docker("node", "ls")) == [
        ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ENGINE VERSION"],
        [f"{OWN_ID} *", "here", "Ready", "Active", "Leader", "1.2.3"],
        [WEB_ID, "web", "Ready", "Active", "1.2.3"],
    ]
    assert await docker("node", "ls", "-q", "--filter", "role=worker") == f"{WEB_ID}\n"
    assert (await docker("node", "ls", "--filter", "nope=x")).startswith(
        "Error response from daemon: invalid filter 'nope'"
    )
    page = await docker("node", "inspect", "--pretty", "self")
    for line in (rf"ID:\s+{OWN_ID}", r"Hostname:\s+here", r"Leader:\s+Yes", NETWORKS):
        assert re.search(line, page)
    assert "-----BEGIN CERTIFICATE-----" in page
    assert _rows(await docker("node", "ps", "web"))[1:] == []
    assert "node nope not found" in (await docker("node", "inspect", "nope"))


async def test_nodes_are_changed_and_removed(docker: Docker, cluster: FakeSwarm) -> None:
    await docker(*INIT)
    cluster.put(member(WEB_ID, "web"))
    assert await docker("node", "update", "--label-add", "a=b", "--availability", "drain", "web") == "web\n"
    shown = await docker("node", "inspect", "web", "--format", "{{.Spec.Availability}} {{.Spec.Labels}}")
    assert shown == "drain map[a:b]\n"
    assert await docker("node", "promote", "web") == "Node web promoted to a manager in the swarm.\n"
    assert await docker("node", "demote", "web") == "Manager web demoted in the swarm.\n"
    refused = "Error response from daemon: rpc error: code = FailedPrecondition desc = "
    last = f"{refused}attempting to demote the last manager of the swarm\nexit 1"
    assert await docker("node", "demote", "self") == last
    alive = f"{refused}node {WEB_ID} is not down and can't be removed\nexit 1"
    assert await docker("node", "rm", "web") == alive
    assert await docker("node", "rm", "-f", "web") == "web\n"
    assert WEB_ID not in cluster.members


async def test_the_swarm_is_updated(docker: Docker) -> None:
    await docker(*INIT)
    assert await docker("swarm", "update", "--dispatcher-heartbeat", "10s") == "Swarm updated.\n"
    assert "Heartbeat Period: 10 seconds" in await docker("system", "info")
    assert "autolock is not supported" in await docker("swarm", "update", "--autolock=true")
    assert "no unlock key is set" in await docker("swarm", "unlock-key")
    assert (await docker("swarm", "ca")).startswith("-----BEGIN CERTIFICATE-----")
    assert "cannot be exchanged" in await docker("swarm", "ca", "--rotate", "--detach")


async def test_there_is_nothing_to_schedule(docker: Docker) -> None:
    await docker(*INIT)
    for kind in ("service", "secret", "config", "stack"):
        assert len(_rows(await docker(kind, "ls"))) == 1
    assert "schedules no containers" in await docker("service", "create", "--detach", "busybox")


async def test_leaving(docker: Docker) -> None:
    assert "This node is not part of a swarm" in await docker("swarm", "leave")
    await docker(*INIT)
    assert "Removing the last manager erases all current state of the swarm." in await docker("swarm", "leave")
    assert await docker("swarm", "leave", "--force") == "Node left the swarm.\n"
    assert "Swarm: inactive" in await docker("system", "info")


async def test_join(docker: Docker, cluster: FakeSwarm) -> None:
    said = await docker("swarm", "join", "--token", "t", "--availability", "pause", "192.0.2.9:2377")
    assert said == "This node joined a swarm as a worker.\n"
    (plan,) = cluster.joined
    assert (str(plan.remotes[0]), plan.token, plan.availability) == ("192.0.2.9:2377", "t", "pause")
    assert "Worker nodes can't be used to view or modify cluster state" in await docker("node", "ls")
    assert "Is Manager: false" in await docker("system", "info")


# a real daemon with a real etcd


def test_a_real_swarm_of_one_node(daemon: Daemon) -> None:
    said = daemon.docker(*INIT, "--default-addr-pool", "10.90.0.0/16")
    joining = re.search(rf"docker swarm join --token ({TOKEN}) 127\.0\.0\.1:12377\n", said)
    assert joining is not None
    assert daemon.docker("swarm", "join-token", "-q", "worker") == f"{joining[1]}\n"
    assert daemon.docker("swarm", "join-token", "--rotate", "-q", "worker") != f"{joining[1]}\n"
    head, node = _rows(daemon.docker("node", "ls"))
    assert head[:5] == ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS"]
    assert node[2:5] == ["Ready", "Active", "Leader"]
    page = daemon.docker("node", "inspect", "--pretty", "self")
    assert re.search(NETWORKS, page)
    made = daemon.docker("network", "create", "-d", "overlay", "--attachable", "ov").strip()
    assert re.fullmatch("[0-9a-z]{25}", made)
    assert daemon.docker("network", "ls", "--filter", "scope=swarm", "--format", "{{.Name}} {{.Driver}}") == (
        "ingress overlay\nov overlay\n"
    )
    shown = daemon.docker("network", "inspect", "ov", "--format", "{{range .IPAM.Config}}{{.Subnet}}{{end}}")
    assert shown == "10.90.1.0/24\n"
    assert daemon.docker("network", "rm", "ov") == "ov\n"
    assert daemon.docker("swarm", "update", "--cert-expiry", "48h") == "Swarm updated.\n"
    assert "Expiry Duration: 2 days" in daemon.docker("system", "info")
    assert daemon.docker("node", "update", "--label-add", "a=b", "self").strip() != ""
    assert daemon.docker("node", "inspect", "self", "--format", "{{.Spec.Labels.a}}") == "b\n"
    assert daemon.docker("swarm", "ca").startswith("-----BEGIN CERTIFICATE-----")
    assert "Removing the last manager erases" in daemon.docker("swarm", "leave", check=False)
    assert daemon.docker("swarm", "leave", "--force") == "Node left the swarm.\n"
    assert "This node is not a swarm manager" in daemon.docker("node", "ls", check=False)


def test_towlines_own_page_of_a_real_swarm(daemon: Daemon) -> None:
    own = [str(Path(sys.executable).with_name("towline")), "-H", f"unix://{daemon.socket}", "cluster", "status"]
    refused = subprocess.run(own, capture_output=True, text=True, check=False)
    assert (refused.returncode, "This node is not part of a swarm" in refused.stderr) == (1, True)
    daemon.docker(*INIT)
    cluster_id = daemon.http("GET", "/swarm").json["ID"]
    page = daemon.http("GET", "/towline/v1/cluster").json
    assert (page["cluster"], page["state"], page["manager"]) == (cluster_id, "active", True)
    (node,) = page["nodes"]
    assert (node["id"], node["state"], node["lag"], node["problem"]) == (page["node"], "ready", 0, "")
    assert abs(node["skew"]) < 60
    shown = subprocess.run(
        [*own, "--format", "{{.Role}} {{.State}} {{.Lag}}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "leader ready 0\n"
