"""The docker command line and the docker SDK for Python work against a real daemon."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from tests.support.daemon import Daemon, fresh_daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with fresh_daemon("--label", "rack=7") as made:
        yield made.start()


@pytest.fixture
def sdk(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    yield client
    client.close()


def test_cli_creates_lists_inspects_and_removes(daemon: Daemon) -> None:
    options = ("--subnet", "10.50.0.0/24", "--ip-range", "10.50.0.128/25", "--aux-address", "h=10.50.0.7", "--ipv6")
    created = daemon.docker("network", "create", *options, "--label", "tier=front", "-o", "x.y=z", "web").strip()
    assert re.fullmatch("[0-9a-f]{64}", created)
    (shown,) = json.loads(daemon.docker("network", "inspect", "-v", "web"))
    assert shown["Id"] == created
    assert shown["IPAM"]["Config"][0] == {
        "Subnet": "10.50.0.0/24",
        "IPRange": "10.50.0.128/25",
        "Gateway": "10.50.0.128",
        "AuxiliaryAddresses": {"h": "10.50.0.7"},
    }
    assert (shown["EnableIPv6"], shown["Options"], shown["Labels"]) == (True, {"x.y": "z"}, {"tier": "front"})
    names = daemon.docker("network", "ls", "--filter", "label=tier=front", "--format", "{{.ID}} {{.Name}} {{.Driver}}")
    assert names == f"{created[:12]} web bridge\n"
    assert daemon.run("ip", "-br", "addr", "show", f"br-{created[:12]}").split()[2] == "10.50.0.128/24"
    assert daemon.docker("network", "rm", created[:12]) == f"{created[:12]}\n"
    assert "network web not found" in daemon.docker("network", "inspect", "web", check=False)


def test_cli_shows_docker_s_own_words_for_mistakes(daemon: Daemon) -> None:
    refused = {
        ("network", "rm", "bridge"): "bridge is a pre-defined network and cannot be removed",
        ("network", "rm", "nope"): "network nope not found",
        ("network", "create", "-d", "nope", "x"): 'plugin "nope" not found',
        ("network", "create", "--subnet", "10.5.0.1/24", "x"): "invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24",
        ("network", "connect", "--ip", "10.0.0.9", "bridge", "c1"): "No such container: c1",
        ("network", "disconnect", "-f", "bridge", "c1"): "endpoint c1 not found",
    }
    for command, words in refused.items():
        assert words in daemon.docker(*command, check=False)


def test_cli_prunes(daemon: Daemon) -> None:
    for name in ("keep", "drop"):
        daemon.docker("network", "create", "--label", name, name)
    assert daemon.docker("network", "prune", "-f", "--filter", "label!=keep") == "Deleted Networks:\ndrop\n\n"
    assert daemon.docker("network", "prune", "-f") == "Deleted Networks:\nkeep\n\n"
    assert daemon.docker("network", "prune", "-f") == ""


def test_cli_streams_events(daemon: Daemon) -> None:
    daemon.docker("ps")  # skips where there is no docker CLI
    since = f"{time.time():.9f}"
    command = ["docker", "-H", f"unix://{daemon.socket}", "events", "--since", since, "--filter", "type=network"]
    with subprocess.Popen(
        [*command, "--format", "{{.Action}} {{.Actor.Attributes.name}}"], stdout=subprocess.PIPE
    ) as cli:
        assert cli.stdout is not None
        daemon.docker("network", "create", "seen")
        assert cli.stdout.readline() == b"create seen\n"
        daemon.docker("network", "rm", "seen")
        assert cli.stdout.readline() == b"destroy seen\n"
        cli.terminate()


def test_cli_asks_about_the_daemon(daemon: Daemon) -> None:
    assert daemon.docker("version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}") == "1.56 1.24\n"
    info = daemon.docker("info")
    assert "Swarm: inactive" in info
    assert "rack=7" in info
    assert daemon.docker("ps", "-q", "-a") == ""


def test_sdk(sdk: docker.DockerClient) -> None:
    assert sdk.ping() is True
    assert sdk.version()["ApiVersion"] == sdk.api.api_version == "1.56"
    assert sdk.info()["Labels"] == ["rack=7"]
    pool = IPAMPool(subnet="10.51.0.0/24", gateway="10.51.0.9")
    made = sdk.networks.create(
        "sdk", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"a": "b"}, internal=True
    )
    assert made.attrs["IPAM"]["Config"] == [{"Subnet": "10.51.0.0/24", "Gateway": "10.51.0.9"}]
    assert sdk.networks.get(made.short_id).name == "sdk"
    assert [network.id for network in sdk.networks.list(filters={"label": "a=b"}, greedy=True)] == [made.id]
    with pytest.raises(APIError) as refused:
        sdk.networks.create("sdk", driver="bridge")
    assert (refused.value.status_code, refused.value.explanation) == (409, "network with name sdk already exists")
    with pytest.raises(NotFound):
        made.connect("nobody")
    made.remove()
    assert sdk.networks.prune() == {"NetworksDeleted": None}


def test_sdk_reads_events(sdk: docker.DockerClient) -> None:
    since = time.time()
    made = sdk.networks.create("told", driver="bridge")
    made.remove()
    events = sdk.events(since=since, until=time.time(), filters={"network": made.id}, decode=True)
    assert [(event["Action"], event["Actor"]["ID"]) for event in events] == [("create", made.id), ("destroy", made.id)]
