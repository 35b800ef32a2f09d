"""The docker command line and SDK on sandboxes: they are containers to them, read-only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError
from docker.errors import NotFound as SdkNotFound

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.polling import eventually

SANDBOXES = "/towline/v1/sandboxes"
SLEEP = ["sleep", "600"]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with fresh_daemon() as made:
        made.start()
        made.docker("network", "create", "--subnet", "10.80.0.0/24", "--subnet", "fd00:80::/64", "--ipv6", "web")
        yield made


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[str]:
    """Id of a running sandbox `box` on the network bridge."""
    made = run(daemon, name="box", hostname="hbox", ports=["127.0.0.1:18080:80", "81/udp"], labels={"tier": "front"})
    yield made
    daemon.http("DELETE", f"{SANDBOXES}/{made}?force=1")


def run(daemon: Daemon, **body: Any) -> str:
    created = daemon.http("POST", SANDBOXES, {"command": SLEEP, **body})
    assert created.status == 201, created
    started = daemon.http("POST", f"{SANDBOXES}/{created.json['id']}/start")
    assert started.status == 200, started
    return str(created.json["id"])


def inspect(daemon: Daemon, name: str, template: str = "{{json .}}") -> Any:
    return json.loads(daemon.docker("inspect", "--format", template, name))


def test_ps(daemon: Daemon, sandbox: str) -> None:
    columns = "{{.ID}} {{.Names}} {{.State}} {{.Networks}} {{.Command}}|{{.Ports}}"
    shown = daemon.docker("ps", "--format", columns)
    names, ports = shown.rstrip("\n").split("|")
    assert names == f'{sandbox[:12]} box running bridge "sleep 600"'
    assert ports.startswith("127.0.0.1:18080->80/tcp, 0.0.0.0:")
    assert ports.endswith("->81/udp")
    assert (
        daemon.docker("ps", "-q", "--filter", "label=tier=front", "--filter", "network=bridge") == f"{sandbox[:12]}\n"
    )
    assert daemon.docker("ps", "-q", "--filter", "name=^nobody$") == ""
    daemon.http("POST", f"{SANDBOXES}/box/stop?t=0")
    assert daemon.docker("ps", "-q") == ""
    assert daemon.docker("ps", "-a", "--format", "{{.Status}}").startswith("Exited (")


def test_inspect_port_and_top(daemon: Daemon, sandbox: str) -> None:
    shown = inspect(daemon, "box")
    assert (shown["Id"], shown["Name"], shown["Config"]["Hostname"]) == (sandbox, "/box", "hbox")
    assert shown["State"]["Running"] is True
    assert daemon.docker("port", "box", "80") == "127.0.0.1:18080\n"
    assert "81/udp -> 0.0.0.0:" in daemon.docker("port", "box")
    pid = shown["State"]["Pid"]
    assert f" {pid} " in daemon.docker("top", "box")
    assert "sleep 600" in daemon.docker("top", "box")


def test_connect_with_every_option_and_disconnect(daemon: Daemon, sandbox: str) -> None:
    daemon.docker(
        *("network", "connect", "--ip", "10.80.0.50", "--ip6", "fd00:80::50", "--link-local-ip", "169.254.8.8"),
        *("--alias", "al", "--link", "other:o", "--gw-priority", "5"),
        *("--driver-opt", "com.docker.network.endpoint.ifname=web0", "web", "box"),
    )
    shown = inspect(daemon, "box", "{{json .NetworkSettings.Networks.web}}")
    assert (shown["IPAddress"], shown["GlobalIPv6Address"]) == ("10.80.0.50", "fd00:80::50")
    assert (shown["Gateway"], shown["IPv6Gateway"], shown["GwPriority"]) == ("10.80.0.1", "fd00:80::1", 5)
    assert (shown["Aliases"], shown["Links"]) == (["al"], ["other:o"])
    assert shown["DNSNames"] == ["box", "al", sandbox[:12], "hbox"]
    assert shown["IPAMConfig"]["LinkLocalIPs"] == ["169.254.8.8"]
    (web,) = json.loads(daemon.docker("network", "inspect", "web"))
    assert web["Containers"][sandbox]["IPv4Address"] == "10.80.0.50/24"
    assert web["Containers"][sandbox]["MacAddress"] == shown["MacAddress"]
    assert inside(daemon, sandbox, "web0") >= {"10.80.0.50/24", "fd00:80::50/64", "169.254.8.8/16"}
    again = daemon.docker("network", "connect", "web", "box", check=False)
    assert "endpoint with name box already exists in network web" in again
    assert "has active endpoints" in daemon.docker("network", "rm", "web", check=False)
    daemon.docker("network", "disconnect", "web", "box")
    assert list(inspect(daemon, "box", "{{json .NetworkSettings.Networks}}")) == ["bridge"]
    again = daemon.docker("network", "disconnect", "web", "box", check=False)
    assert f"container {sandbox} is not connected to network web" in again


def inside(daemon: Daemon, sandbox: str, ifname: str) -> set[str]:
    """Addresses of an interface in the sandbox."""
    netns = daemon.http("GET", f"{SANDBOXES}/{sandbox}").json["netns"]
    (link,) = json.loads(daemon.run("nsenter", f"--net={netns}", "ip", "-j", "address", "show", ifname))
    return {f"{address['local']}/{address['prefixlen']}" for address in link["addr_info"]}


def test_a_mac_from_a_new_client(daemon: Daemon, sandbox: str) -> None:
    wanted = {"Container": "box", "EndpointConfig": {"MacAddress": "02:aa:bb:cc:dd:01"}}
    assert daemon.http("POST", "/v1.56/networks/web/connect", wanted).status == 200
    assert inspect(daemon, "box", "{{json .NetworkSettings.Networks.web.MacAddress}}") == "02:aa:bb:cc:dd:01"
    other = daemon.http("POST", SANDBOXES, {"networks": [{"network": "web", "mac": "02:aa:bb:cc:dd:01"}]})
    assert (other.status, "is in use in network web by box" in other.json["message"]) == (409, True)


def test_logs(daemon: Daemon) -> None:
    made = run(daemon, name="talker", command=["sh", "-c", "echo out; echo err >&2; exec sleep 600"])

    def has_spoken() -> None:
        assert daemon.docker("logs", "talker") == "out\n"

    eventually(has_spoken)
    assert daemon.docker("logs", "--tail", "0", "talker") == ""
    daemon.http("DELETE", f"{SANDBOXES}/{made}?force=1")


def test_events(daemon: Daemon, sandbox: str) -> None:
    since = time.time()
    daemon.docker("network", "connect", "web", "box")
    daemon.docker("network", "disconnect", "web", "box")
    template = "{{.Action}} {{.Actor.Attributes.container}} {{.Actor.Attributes.name}}"
    window = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}")
    shown = daemon.docker("events", *window, "--filter", "type=network", "--format", template)
    assert shown == f"connect {sandbox} web\ndisconnect {sandbox} web\n"


def test_words_for_mistakes(daemon: Daemon, sandbox: str) -> None:
    refused = {
        ("inspect", "nobody"): "nobody",
        ("network", "connect", "web", "nobody"): "No such container: nobody",
        ("network", "connect", "nope", "box"): "network nope not found",
        ("network", "connect", "host", "box"): "cannot connect container to host network",
        ("network", "connect", "none", "box"): "in private (none) mode",
        ("network", "connect", "--ip", "10.9.9.9", "web", "box"): "no configured subnet contains IP address 10.9.9.9",
        ("network", "connect", "--ip", "10.80.0.1", "web", "box"): "Address already in use",
        ("network", "connect", "--alias", "a b", "web", "box"): "invalid network-scoped alias",
        ("network", "disconnect", "-f", "web", "nobody"): "endpoint nobody not found",
        ("stop", "box"): "page not found",
    }
    for command, words in refused.items():
        assert words in daemon.docker(*command, check=False), command


def test_sdk(daemon: Daemon, sandbox: str) -> None:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto")
    try:
        (listed,) = client.containers.list()
        assert (listed.id, listed.name, listed.status, listed.labels) == (sandbox, "box", "running", {"tier": "front"})
        assert listed.ports["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18080"}]
        web = client.networks.get("web")
        web.connect("box", ipv4_address="10.80.0.77", aliases=["db"], driver_opt={"x": "y"})
        web.reload()
        assert [container.name for container in web.containers] == ["box"]
        listed.reload()
        settings = listed.attrs["NetworkSettings"]["Networks"]["web"]
        assert (settings["IPAddress"], settings["Aliases"], settings["DriverOpts"]) == (
            "10.80.0.77",
            ["db"],
            {"x": "y"},
        )
        with pytest.raises(APIError) as refused:
            web.connect("box")
        assert refused.value.status_code == 403
        web.disconnect("box")
        with pytest.raises(SdkNotFound):
            client.containers.get("nobody")
        assert any("sleep 600" in row[-1] for row in listed.top()["Processes"])
    finally:
        client.close()
