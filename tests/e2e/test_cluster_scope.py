"""Networks of scope swarm whose driver knows one host only: each of two hosts makes its own part of them, from its own
configuration network; by the docker command line, with real packets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.boxes import create, disconnect, no_way, running
from tests.support.hosts import Host, hosts
from tests.support.polling import eventually, until

CONFIG = ("network", "create", "--config-only")
SWARM = ("network", "create", "--scope", "swarm", "--attachable")


@pytest.fixture(scope="module")
def two() -> Iterator[list[Host]]:
    """Both hosts have a `wire` configuration, with parts of one subnet, and a `yard` of their own."""
    with hosts(2) as made:
        made[0].init()
        made[1].join(made[0], "worker")
        for host, part in zip(made, ("10.60.0.0/28", "10.60.0.16/28"), strict=True):
            host.docker(*CONFIG, "--subnet", "10.60.0.0/24", "--ip-range", part, "-o", "parent=eth0", "wire")
            host.docker(*CONFIG, "--subnet", "10.61.0.0/24", "-o", "com.docker.network.bridge.name=yard0", "yard")
        made[0].docker(*SWARM, "-d", "macvlan", "--config-from", "wire", "lan")
        made[0].docker(*SWARM, "-d", "bridge", "--config-from", "yard", "court")
        yield made


def shown(host: Host, name: str) -> dict[str, Any]:
    (found,) = json.loads(host.docker("network", "inspect", name))
    return dict(found)


def agrees(host: Host) -> None:
    assert host.daemon.http("GET", "/towline/v1/diagnose").json == []


def test_on_the_manager_it_is_a_network_of_the_cluster(two: list[Host]) -> None:
    lan = shown(two[0], "lan")
    assert (lan["Scope"], lan["Driver"], lan["ConfigFrom"]) == ("swarm", "macvlan", {"Network": "wire"})
    listed = two[0].docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").splitlines()
    assert [line for line in listed if line.startswith(("lan ", "court ", "wire ", "yard "))] == [
        "court bridge swarm",
        "lan macvlan swarm",
        "wire null local",
        "yard null local",
    ]


def test_macvlan_over_two_hosts(two: list[Host]) -> None:
    a_host, b_host = two
    with (
        running(a_host.daemon, "aa", "lan") as a,
        running(b_host.daemon, "bb", {"network": "lan", "ipv4": "10.60.0.20"}) as b,
    ):
        assert (a.ipv4, b.ipv4) == ("10.60.0.1", "10.60.0.20")
        assert a.dial(b.ipv4, 80)
        assert b.caller() == a.ipv4
        eventually(lambda: _is(a.ask("bb"), [b.ipv4]))
        eventually(lambda: _is(b.ask("aa"), [a.ipv4]))
        for host, part in ((a_host, "10.60.0.0/28"), (b_host, "10.60.0.16/28")):
            lan = shown(host, "lan")
            assert lan["IPAM"]["Config"] == [{"Subnet": "10.60.0.0/24", "IPRange": part}]
            assert (lan["ConfigFrom"], lan["Options"]) == ({"Network": "wire"}, {"parent": "eth0"})
            assert host.docker("network", "ls", "-q", "--filter", "name=lan").count("\n") == 1
            agrees(host)
        until(lambda: "in use by task" in a_host.docker("network", "rm", "lan", check=False))
        assert "configuration network" in b_host.docker("network", "rm", "wire", check=False)
        b_host.daemon.kill()
        b_host.daemon.start()
        assert b.dial(a.ipv4, 80)
        agrees(b_host)


def test_bridges_of_one_name_on_two_hosts_are_two(two: list[Host]) -> None:
    with (
        running(two[0].daemon, "aa", "court") as a,
        running(two[1].daemon, "bb", "court", ports=["8099:80"]) as b,
        running(two[1].daemon, "cc", "court") as c,
    ):
        assert (a.ipv4, b.ipv4, c.ipv4) == ("10.61.0.2", "10.61.0.2", "10.61.0.3")
        assert c.dial(b.ipv4, 80)
        assert c.ask("bb") == [b.ipv4]
        assert no_way(a, c.ipv4)
        assert a.ask("cc") == []
        links = {link["ifname"] for link in json.loads(two[1].net.run(["ip", "-j", "link"]))}
        assert "yard0" in links
        assert (b.endpoint("court")["gateway_ipv4"], len(b.shown["endpoints"])) == ("10.61.0.1", 1)
        published = b.endpoint("court")["published"]
        assert [(p["host_port"], p["port"]) for p in published if ":" not in p["host_ip"]] == [(8099, 80)]
        for host in two:
            agrees(host)
    eventually(lambda: _is("court" in two[1].docker("network", "ls"), False))
    eventually(lambda: _is("yard0" in two[1].net.run(["ip", "link"]), False))


def test_after_the_last_endpoint_the_configuration_may_change(two: list[Host]) -> None:
    worker = two[1]
    with running(worker.daemon, "aa", "bridge"):
        worker.docker("network", "connect", "court", "aa")
        said = worker.docker("network", "rm", "yard", check=False)
        assert 'error while removing network: configuration network "yard" is in use' in said
        disconnect(worker.daemon, "court", "aa")
        until(lambda: worker.docker("network", "rm", "yard", check=False) == "yard\n")
        said = worker.docker("network", "connect", "court", "aa", check=False)
        assert 'configuration network "yard" does not exist: make it on this node too' in said
        worker.docker(*CONFIG, "--subnet", "10.62.0.0/24", "yard")
        worker.docker("network", "connect", "--ip", "10.62.0.9", "court", "aa")
        assert shown(worker, "court")["IPAM"]["Config"] == [{"Subnet": "10.62.0.0/24", "Gateway": "10.62.0.1"}]
        agrees(worker)


def test_a_removed_network_goes_from_both_hosts(two: list[Host]) -> None:
    assert create(two[1].daemon, "aa", "court").status == 201, "it does not run: that is no use of the network"
    until(
        lambda: two[0].docker("network", "rm", "court", check=False) == "court\n"
    )  # the last test's endpoint has gone
    until(lambda: "court" not in two[1].docker("network", "ls"))
    until(lambda: two[1].docker("network", "rm", "yard", check=False) == "yard\n")
    agrees(two[1])


def _is(found: object, wanted: object) -> None:
    assert found == wanted
