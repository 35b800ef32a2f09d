"""macvlan networks by the docker command line: a real parent with a router behind it, real packets, crashes, drift."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import boxes
from tests.support.daemon import Daemon, fresh_daemon
from tests.support.faulty_daemon import FaultyDaemon, faulty_daemon
from tests.support.netns import Namespace, namespace, veth
from tests.support.polling import eventually

CUT = (http.client.HTTPException, ConnectionError)
WIRE4 = ("--subnet", "10.77.0.0/24", "--gateway", "10.77.0.1")
WIRE6 = ("--ipv6", "--subnet", "fd77::/64", "--gateway", "fd77::1")
FAMILIES = (4, 6)


@pytest.fixture(scope="module")
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """A host with eth0 on a wire, and the router 10.77.0.1, fd77::1 at the wire's other end, with more behind it."""
    with namespace() as host, namespace() as router:
        veth(host, "eth0", router, "lan0")
        router.run(["ip", "addr", "add", "10.77.0.1/24", "dev", "lan0"])
        for address, link in (("fd77::1/64", "lan0"), ("198.51.100.1/32", "lo"), ("2001:db8::1/128", "lo")):
            router.run(["ip", "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else [])])
        router.run(["ip", "link", "set", "lo", "up"])
        yield host, router


@pytest.fixture(scope="module")
def daemon(wire: tuple[Namespace, Namespace]) -> Iterator[Daemon]:
    with fresh_daemon(net=wire[0]) as made:
        made.start()
        made.docker("network", "create", "-d", "macvlan", "-o", "parent=eth0", *WIRE4, *WIRE6, "mv")
        yield made


def links(daemon: Daemon) -> dict[str, Any]:
    return {link["ifname"]: link for link in json.loads(daemon.run("ip", "-j", "-d", "link"))}


def sure(fact: bool) -> None:
    assert fact


def agrees(daemon: Daemon) -> None:
    assert daemon.http("GET", "/towline/v1/diagnose").json == []


def test_what_the_docker_cli_shows(daemon: Daemon) -> None:
    assert daemon.docker(
        "network", "ls", "--filter", "driver=macvlan", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"
    ) == ("mv macvlan local\n")
    (shown,) = json.loads(daemon.docker("network", "inspect", "mv"))
    assert (shown["Driver"], shown["Internal"], shown["Options"]) == ("macvlan", False, {"parent": "eth0"})
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"},
        {"Subnet": "fd77::/64", "Gateway": "fd77::1"},
    ]


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (
            ["macvlan_mode=foo"],
            "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (["parent=lo"], "loopback interface is not a valid macvlan parent link"),
        (["parent=nope0"], "invalid subinterface vlan name nope0, example formatting is eth0.10"),
        (["parent=nope0.10"], "-o parent interface was not found on the host: nope0"),
        (["parent=eth0.x"], "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
        (["parent=eth0.5000"], "vlan id must be between 1-4094, received: 5000"),
        (
            ["parent=a.b.c"],
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received a.b.c",
        ),
        (["parent=eth0", "macvlan_mode=passthru"], "cannot use mode passthru, macvlan network {mv} is already using"),
    ],
)
def test_refusals(daemon: Daemon, options: list[str], refusal: str) -> None:
    mv = daemon.docker("network", "inspect", "--format", "{{.Id}}", "mv").strip()
    flags = [word for option in options for word in ("-o", option)]
    said = daemon.docker("network", "create", "-d", "macvlan", *flags, "bad", check=False)
    assert f"Error response from daemon: {refusal.replace('{mv}', mv)}" in said
    assert "bad" not in daemon.docker("network", "ls", "--format", "{{.Name}}").split()
    agrees(daemon)


def test_sandboxes_are_on_the_wire_and_the_host_is_not(daemon: Daemon, wire: tuple[Namespace, Namespace]) -> None:
    before = set(links(daemon))
    with (
        boxes.running(daemon, "aa", {"network": "mv", "ipv4": "10.77.0.50", "mac": "02:00:00:00:77:50"}) as a,
        boxes.running(daemon, "bb", "mv", ports=["8080:80"]) as b,
    ):
        assert set(links(daemon)) == before
        assert a.endpoint("mv")["mac"] == "02:00:00:00:77:50"
        for family in FAMILIES:
            assert a.ping(b.address(family))
            assert b.dial(a.address(family), 80)
            assert a.caller() == b.address(family)
        for address in ("10.77.0.1", "fd77::1", "198.51.100.1", "2001:db8::1"):
            assert a.ping(address), address
        known = {
            n["dst"]: n["lladdr"] for n in json.loads(wire[1].run(["ip", "-j", "neighbour", "show", "dev", "lan0"]))
        }
        assert known["10.77.0.50"] == "02:00:00:00:77:50"
        assert a.ask("bb") == [b.ipv4]
        assert a.ask("bb", "AAAA") == [b.ipv6]
        assert b.endpoint("mv")["published"] == []
        agrees(daemon)


def test_stop_and_start_keep_address_and_mac(daemon: Daemon) -> None:
    with boxes.running(daemon, "aa", "mv") as a:
        before = a.endpoint("mv")
        boxes.stop(daemon, "aa")
        boxes.start(daemon, "aa")
        again = boxes.enter(daemon, "aa")
        after = again.endpoint("mv")
        assert (before["mac"], before["ipv4"], before["ipv6"]) == (after["mac"], after["ipv4"], after["ipv6"])
        assert again.ping("10.77.0.1")
        again.close()


def test_beside_a_bridge_network_by_connect_and_disconnect(daemon: Daemon) -> None:
    with boxes.running(daemon, "aa", "bridge") as a:
        boxes.connect(daemon, "mv", "aa", GwPriority=-10)
        assert a.ping("10.77.0.1")
        assert a.ping("198.51.100.1") is False, "the default route is the bridge's, whose host does not know the wire"
        boxes.disconnect(daemon, "mv", "aa")
        assert [link["ifname"] for link in json.loads(a.ns.run(["ip", "-j", "link"]))] == ["lo", "eth0"]
        boxes.connect(daemon, "mv", "aa", GwPriority=10)
        assert a.ping("198.51.100.1")
        agrees(daemon)


def test_without_a_parent_sandboxes_reach_each_other_only(daemon: Daemon) -> None:
    network = daemon.docker("network", "create", "-d", "macvlan", "--subnet", "10.78.0.0/24", "alone").strip()
    name = f"dm-{network[:12]}"
    assert "UP" in links(daemon)[name]["flags"]
    (shown,) = json.loads(daemon.docker("network", "inspect", "alone"))
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.78.0.0/24"}]
    with boxes.running(daemon, "aa", "alone") as a, boxes.running(daemon, "bb", "alone") as b:
        assert a.ping(b.ipv4)
        assert a.ns.run(["ip", "-4", "route", "show", "default"]) == ""
        daemon.run("ip", "link", "del", name)
        eventually(lambda: sure(a.ping(b.ipv4, 0.2)))
        agrees(daemon)
    daemon.docker("network", "rm", "alone")
    eventually(lambda: sure(name not in links(daemon)))


def test_private_mode_and_passthru_on_a_parent_of_their_own(daemon: Daemon) -> None:
    daemon.run("ip", "link", "add", "eth7", "type", "bridge")
    daemon.run("ip", "link", "set", "eth7", "up")
    flags = ("-d", "macvlan", "-o", "parent=eth7", "--subnet", "10.79.0.0/24")
    daemon.docker("network", "create", *flags, "-o", "macvlan_mode=private", "mine")
    with boxes.running(daemon, "aa", "mine") as a, boxes.running(daemon, "bb", "mine") as b:
        assert a.no_ping(b.ipv4)
    daemon.docker("network", "rm", "mine")
    one = daemon.docker("network", "create", *flags, "-o", "macvlan_mode=passthru", "one").strip()
    said = daemon.docker("network", "create", "-d", "macvlan", "-o", "parent=eth7", "two", check=False)
    assert f"macvlan network {one} is already using parent interface eth7 in mode passthru" in said
    with boxes.running(daemon, "aa", "one") as a:
        (eth0,) = json.loads(a.ns.run(["ip", "-j", "-d", "link", "show", "eth0"]))
        assert eth0["linkinfo"]["info_data"]["mode"] == "passthru"
        assert boxes.create(daemon, "bb", "one").status == 201
        refused = daemon.http("POST", f"{boxes.SANDBOXES}/bb/start", {})
        assert refused.status == 500
        boxes.remove(daemon, "bb")
    daemon.docker("network", "rm", "one")
    assert "eth7" in links(daemon), "the host's own link is not ours to delete"
    daemon.run("ip", "link", "del", "eth7")


def test_a_parent_that_goes_and_comes_back(daemon: Daemon) -> None:
    """As an adapter that is unplugged: its macvlans go with it, and nobody is told."""
    daemon.run("ip", "link", "add", "usb0", "type", "ifb")
    daemon.run("ip", "link", "set", "usb0", "up")
    daemon.docker("network", "create", "-d", "macvlan", "-o", "parent=usb0", "--subnet", "10.76.0.0/24", "plug")
    with boxes.running(daemon, "aa", "plug") as a, boxes.running(daemon, "bb", "plug") as b:
        daemon.run("ip", "link", "del", "usb0")
        findings = daemon.http("GET", "/towline/v1/diagnose").json
        assert any("its parent interface usb0 does not exist on this host" in f["problem"] for f in findings), findings
        daemon.run("ip", "link", "add", "usb0", "type", "ifb")
        daemon.run("ip", "link", "set", "usb0", "up")
        eventually(lambda: sure(a.ping(b.ipv4, 0.2)))
        agrees(daemon)
    daemon.docker("network", "rm", "plug")


def test_after_a_restart_all_is_as_it_was(daemon: Daemon) -> None:
    with boxes.running(daemon, "aa", "mv") as a:
        before = json.loads(a.ns.run(["ip", "-j", "addr", "show", "eth0"]))
        daemon.kill()
        daemon.start()
        assert json.loads(a.ns.run(["ip", "-j", "addr", "show", "eth0"])) == before
        agrees(daemon)
        daemon.kill()
        a.ns.run(["ip", "link", "del", "eth0"])
        daemon.start()
        assert a.ping("10.77.0.1")
        agrees(daemon)


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyDaemon]:
    with ExitStack() as stack:
        yield stack.enter_context(faulty_daemon())


def test_killed_after_every_step(faulty: FaultyDaemon) -> None:
    """Network made, sandbox connected and disconnected, network removed: each step of all of them."""
    daemon = faulty.daemon
    body = {"Driver": "macvlan", "IPAM": {"Config": [{"Subnet": "10.75.0.0/24"}]}}
    for step in range(2, 200, 2):
        boxes.run(daemon, "there", "bridge")
        faulty.order(kill_at=step)
        try:
            boxes.make_network(daemon, "alone", **body)
            boxes.connect(daemon, "alone", "there")
            boxes.disconnect(daemon, "alone", "there")
            assert daemon.http("DELETE", "/networks/alone?wait=1").status == 204
            done = True
        except CUT:
            done = False
        faulty.order()
        if not done:
            daemon.wait()
            daemon.start()
        agrees(daemon)
        left = daemon.http("GET", "/networks/alone")
        wanted = {f"dm-{left.json['Id'][:12]}"} if left.status == 200 else set()
        assert {name for name in links(daemon) if name.startswith("dm-")} == wanted
        daemon.http("DELETE", f"{boxes.SANDBOXES}/there?force=1")
        daemon.http("DELETE", "/networks/alone?wait=1")
        agrees(daemon)
        if done:
            break
    else:
        pytest.fail("the changes never ended")
    assert step > 10, "hardly a step was counted: are the seams still wrapped?"
