"""Sandboxes on three managers and two workers: real packets between them over overlay networks."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import pytest

from tests.support.boxes import Box, connect, create, disconnect, make_network, no_way, pools, remove, running
from tests.support.equality_cluster import settled
from tests.support.five import cluster, knows, undisturbed
from tests.support.hosts import Host, hosts
from tests.support.polling import eventually, until


class Wide(NamedTuple):
    """boxes: one per host, on "wide" (two families); others: one per host, on "other" (three subnets)."""

    hosts: list[Host]
    boxes: list[Box]
    others: list[Box]

    @property
    def managers(self) -> list[Host]:
        return self.hosts[:3]


@pytest.fixture(scope="module")
def wide() -> Iterator[Wide]:
    with ExitStack() as stack:
        five = stack.enter_context(hosts(5))
        cluster(five)
        make = ("network", "create", "-d", "overlay", "--attachable")
        five[0].docker(*make, "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64", "wide")
        subnets = pools(
            "10.7.0.0/24", "10.8.0.0/24", "fd00:7::/64"
        )  # in this order, which the command line does not keep
        make_network(five[1].daemon, "other", Driver="overlay", Attachable=True, **subnets)
        until(lambda: all(knows(host, "wide", "other") for host in five[:3]))
        boxes = [stack.enter_context(running(host.daemon, f"w{host.number}", "wide")) for host in five]
        others = [stack.enter_context(running(host.daemon, f"o{host.number}", "other")) for host in five]
        settled(five[:3], five)
        yield Wide(five, boxes, others)


def test_all_reach_each_other_by_address_and_by_name(wide: Wide) -> None:
    for box in wide.boxes:
        for peer in wide.boxes:
            if peer is not box:
                for family in (4, 6):
                    assert box.dial(peer.address(family), 80), (box.name, peer.name, family)
                assert box.ask(peer.name) == [peer.ipv4]
                assert box.ask(peer.name, "AAAA") == [str(ip_address(peer.ipv6))]
                assert box.ask(ip_address(peer.ipv4).reverse_pointer, "PTR") == [f"{peer.name}.wide."]


def test_networks_are_apart(wide: Wide) -> None:
    for box in wide.others:
        for peer in wide.boxes:
            assert no_way(box, peer.ipv4)
            assert no_way(box, peer.ipv6)
        other = next(o for o in wide.others if o is not box)
        assert box.dial(other.ipv4, 80)
        assert box.dial(other.ipv6, 80)


def test_published_ports_answer_other_hosts(wide: Wide) -> None:
    """A port of a sandbox on an overlay network, at its own host's IPv4 address; of a manager and of a worker."""
    for at, caller in ((1, 4), (4, 0)):
        host, client = wide.hosts[at], wide.hosts[caller]
        with running(host.daemon, "shop", "wide", ports=["8080:80"]) as shop:
            until(lambda host=host, client=client: _answers(client, host.address))
            assert not _answers(wide.hosts[2], wide.hosts[2].address)
            assert shop.dial(wide.boxes[2].ipv4, 80)
    settled(wide.managers, wide.hosts)


def _answers(client: Host, address: str) -> bool:
    def dial() -> bool:
        try:
            socket.create_connection((address, 8080), 1).close()
        except OSError:
            return False
        return True

    return client.net.call(dial)


def test_a_drained_node_is_shown_and_still_runs_what_is_started_there(wide: Wide) -> None:
    """As with Docker, whose availability concerns its scheduler: containers that somebody runs stay and come."""
    manager, host = wide.hosts[0], wide.hosts[4]
    node = host.daemon.http("GET", "/info").json["Swarm"]["NodeID"]
    for word in ("drain", "pause", "active"):
        manager.docker("node", "update", "--availability", word, node)
        shown = manager.docker("node", "ls", "--format", "{{.ID}} {{.Availability}}").splitlines()
        assert f"{node} {word.capitalize()}" in shown
        assert wide.boxes[0].dial(wide.boxes[4].ipv4, 80)
        with running(host.daemon, "new", "wide") as new:
            assert new.dial(wide.boxes[0].ipv4, 80)
    settled(wide.managers, wide.hosts)


def test_full_size_packets_arrive_and_larger_ones_do_not(wide: Wide) -> None:
    box, peer = wide.boxes[0], wide.boxes[4]
    mtu = json.loads(box.ip("-j", "link", "show", "eth0"))[0]["mtu"]
    assert mtu == 1450
    for family, header in ((4, 28), (6, 48)):
        ping = ["ping", f"-{family}", "-n", "-c1", "-W5", "-M", "do", "-s"]
        assert " 0% packet loss" in box.ns.run([*ping, str(mtu - header), peer.address(family)], check=False)
        assert " 0% packet loss" not in box.ns.run([*ping, str(mtu - header + 1), peer.address(family)], check=False)


def test_several_subnets_are_one_network(wide: Wide) -> None:
    asked = {"network": "other", "ipv4": "10.8.0.77"}
    with running(wide.hosts[3].daemon, "second", asked) as second:
        assert second.ipv4 == "10.8.0.77"
        for peer in wide.others:
            assert ip_address(peer.ipv4) in ip_network("10.7.0.0/24")
            eventually(lambda peer=peer: _assert_dials(peer, second))
            assert second.dial(peer.ipv4, 80)


def _assert_dials(box: Box, peer: Box) -> None:
    assert box.dial(peer.ipv4, 80, 1), f"{box.name} -> {peer.name}"


def test_a_static_address_is_kept_and_is_nobody_elses(wide: Wide) -> None:
    asked = {"network": "wide", "ipv4": "10.9.0.200", "ipv6": "fd00:9::9:200"}
    with running(wide.hosts[4].daemon, "static", asked) as static:
        assert (static.ipv4, str(ip_address(static.ipv6))) == ("10.9.0.200", "fd00:9::9:200")
        eventually(lambda: _assert_dials(wide.boxes[1], static))
        refused = create(wide.hosts[1].daemon, "thief", asked, command=["sleep", "9"])
        if refused.status == 201:
            refused = wide.hosts[1].daemon.http("POST", "/towline/v1/sandboxes/thief/start", {})
            remove(wide.hosts[1].daemon, "thief")
        assert refused.status in (403, 409), refused
        assert "10.9.0.200" in refused.json["message"]
    settled(wide.managers, wide.hosts)


def test_connect_and_disconnect_while_it_runs(wide: Wide) -> None:
    box, host = wide.boxes[4], wide.hosts[4]
    assert no_way(box, wide.others[0].ipv4)
    connect(host.daemon, "other", box.name, Aliases=["both"])
    try:
        settled(wide.managers, wide.hosts)
        assert all(box.dial(peer.ipv4, 80) for peer in wide.others)
        until(lambda: wide.others[0].ask("both") == [box.address_on("other")])
    finally:
        disconnect(host.daemon, "other", box.name)
    assert no_way(box, wide.others[0].ipv4)
    assert box.dial(wide.boxes[0].ipv4, 80)
    settled(wide.managers, wide.hosts)


def test_docker_texts_for_what_is_refused(wide: Wide) -> None:
    manager = wide.hosts[0]
    manager.docker("network", "create", "-d", "overlay", "services")
    until(lambda: knows(wide.hosts[2], "services"))
    refused = create(wide.hosts[2].daemon, "alone", "services")
    if refused.status == 201:
        refused = wide.hosts[2].daemon.http("POST", "/towline/v1/sandboxes/alone/start", {})
        remove(wide.hosts[2].daemon, "alone")
    text = "Could not attach to network services: rpc error: code = PermissionDenied desc = network services not"
    assert f"{text} manually attachable" in refused.json["message"]
    manager.docker("network", "rm", "services")
    used = manager.docker("network", "rm", "wide", check=False)
    assert "rpc error: code = FailedPrecondition desc = network" in used
    assert "is in use by task" in used


def test_inspect_names_the_nodes_with_endpoints(wide: Wide) -> None:
    for host in (wide.hosts[0], wide.hosts[4]):
        shown = json.loads(host.docker("network", "inspect", "wide"))[0]
        assert {peer["IP"] for peer in shown["Peers"]} == {other.address for other in wide.hosts}
        assert [c["Name"] for c in shown["Containers"].values() if c["Name"].startswith("w")] == [f"w{host.number}"]


def test_what_is_changed_by_hand_is_set_right(wide: Wide) -> None:
    """Rows, a link and a rule that somebody deletes, on a host that is not part of the conversations."""
    host, box = wide.hosts[3], wide.boxes[3]
    network = host.daemon.http("GET", "/networks/wide").json["Id"][:12]
    device = f"vx-{network}"
    with undisturbed((wide.boxes[0], wide.boxes[1]), (wide.boxes[2], wide.boxes[4])):
        for command in (
            [
                "bridge",
                "fdb",
                "del",
                wide.boxes[0].endpoint("wide")["mac"],
                "dev",
                device,
                "dst",
                wide.hosts[0].address,
            ],
            ["bridge", "fdb", "add", "02:00:00:00:00:99", "dev", device, "dst", "192.0.2.9", "self"],
            ["ip", "neigh", "del", wide.boxes[1].ipv4, "dev", device],
            ["ip", "neigh", "replace", wide.boxes[2].ipv4, "lladdr", "02:00:00:00:00:98", "dev", device],
            ["ip", "link", "del", device],
            ["ip", "link", "del", f"br-{network}"],
            ["nft", "flush", "table", "bridge", "towline-overlay"],
        ):
            host.daemon.run_apart(*command)
            settled(wide.managers, wide.hosts)
            assert all(box.dial(peer.ipv4, 80) for peer in wide.boxes if peer is not box), command
