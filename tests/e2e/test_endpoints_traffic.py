"""Packets between sandboxes, their networks and the world, both families: who reaches whom, by which way and name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import boxes
from tests.support.boxes import Stage, World, no_way
from tests.support.dns_servers import StubServer, address
from tests.support.polling import eventually

BRIDGE, ENDPOINT = "com.docker.network.bridge.", "com.docker.network.endpoint."
WEB, BACK = ("10.50.0.0/24", "fd00:50::/64"), ("10.51.0.0/24", "fd00:51::/64")
FAMILIES = (4, 6)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with boxes.world() as made:
        yield made


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    with world.using() as made:
        yield made


def test_two_sandboxes_reach_each_other_by_address_and_by_every_name(stage: Stage) -> None:
    stage.network("web", *WEB)
    a = stage.box("shop", {"network": "web", "aliases": ["db", "sql"]}, hostname="till")
    b = stage.box("client", "web")
    for family in FAMILIES:
        assert b.dial(a.address(family), 80)
        assert a.caller() == b.address(family)
        assert b.ping(a.address(family))
    for name in ("shop", "db", "sql", "till", a.id[:12], "shop.web", "db.web"):
        assert b.ask(name) == [a.ipv4]
        assert b.ask(name, "AAAA") == [a.ipv6]
    reverse = ".".join(reversed(a.ipv4.split("."))) + ".in-addr.arpa"
    assert b.ask(reverse, "PTR") == ["shop.web."]


def test_a_real_program_finds_a_real_server_by_name(world: World, stage: Stage) -> None:
    """No test thread in the sandboxes: two processes, the C library's resolver, the sandbox's own /etc."""
    stage.network("web", *WEB)
    serve = "import http.server as s; s.ThreadingHTTPServer(('', 8000), s.SimpleHTTPRequestHandler).serve_forever()"
    stage.box("shop", {"network": "web", "aliases": ["db"]}, command=["python3", "-c", serve], directory="/usr/share")
    ask = "import urllib.request as r; print(r.urlopen('http://db:8000/', timeout=5).status)"
    stage.box("client", "web", command=["sh", "-c", f'until python3 -c "{ask}" 2>/dev/null; do sleep 0.1; done'])
    assert b"200" in world.daemon.http("GET", "/containers/client/logs?stdout=1&follow=1").body


def test_networks_are_apart_and_a_sandbox_on_both_is_not_a_bridge_between(stage: Stage) -> None:
    stage.network("web", *WEB)
    stage.network("back", *BACK)
    a, b = stage.box("aa", "web"), stage.box("bb", "back")
    both = stage.box("both", "web", "back")
    for family in FAMILIES:
        assert a.dial(both.address_on("web", family), 80)
        assert b.dial(both.address_on("back", family), 80)
        assert a.no_dial(b.address(family), 80)
        assert b.no_dial(a.address(family), 80)
        assert a.no_ping(b.address(family))
    assert a.ask("bb") == []
    assert both.ask("aa") == [a.ipv4]
    assert both.ask("bb") == [b.ipv4]


def test_without_icc_endpoints_reach_the_world_but_not_each_other(world: World, stage: Stage) -> None:
    stage.network("quiet", *WEB, Options={BRIDGE + "enable_icc": "false"})
    a, b = stage.box("aa", "quiet"), stage.box("bb", "quiet")
    for family in FAMILIES:
        assert a.no_dial(b.address(family), 80)
        assert a.no_ping(b.address(family))
        assert a.dial(world.outside.address(family), 80)
        assert world.outside.caller() == world.router.address(family)


def test_an_internal_network_has_no_way_out_or_in(world: World, stage: Stage) -> None:
    stage.network("closed", *WEB, Internal=True)
    a, b = stage.box("aa", "closed"), stage.box("bb", "closed")
    world.outside.hang_up()
    for family in FAMILIES:
        assert a.default(family) == ""
        assert a.dial(b.address(family), 80)
        assert no_way(a, world.outside.address(family))
        assert no_way(a, world.router.address(family))
        assert world.outside.no_dial(a.address(family), 80)
    assert a.ask("bb") == [b.ipv4]
    for family, gateway in ((4, "10.50.0.1"), (6, "fd00:50::1")):
        a.ip(f"-{family}", "route", "add", "default", "via", gateway)
        assert a.no_dial(world.outside.address(family), 80)
        assert a.no_dial(world.router.address(family), 80)


def test_a_name_server_inside_an_internal_network_is_asked(stage: Stage) -> None:
    stage.network("closed", *WEB, Internal=True)
    server = stage.box("server", "closed")
    client = stage.box("client", "closed", dns={"servers": [server.ipv4]})
    with StubServer(server.ns, server.ipv4, address("192.0.2.9")) as stub:
        assert client.ask("db.example") == ["192.0.2.9"]
        assert stub.peers[0][0] == client.ipv4


def test_nobody_outside_reaches_a_container_address(world: World, stage: Stage) -> None:
    """They have routes to it; the port is even published."""
    stage.network("web", *WEB)
    a = stage.box("aa", "web", ports=["8080:80"])
    for family in FAMILIES:
        for peer in (world.outside, world.friend):
            assert peer.no_dial(a.address(family), 80)
            assert peer.no_dial(a.address(family), 81)
            assert peer.no_ping(a.address(family))
        assert world.router.dial(a.address(family), 80)


def test_the_world_sees_the_hosts_address(world: World, stage: Stage) -> None:
    stage.network("web", *WEB)
    a = stage.box("aa", "web")
    for family in FAMILIES:
        assert a.dial(world.outside.address(family), 80)
        assert world.outside.caller() == world.router.address(family)


def test_gateway_modes(world: World, stage: Stage) -> None:
    """nat-unprotected opens all ports to the outside; routed only the published ones, and nothing is translated."""
    modes = {BRIDGE + f"gateway_mode_ipv{family}": "nat-unprotected" for family in FAMILIES}
    stage.network("open", *WEB, Options=modes)
    stage.network("routed", *BACK, Options=dict.fromkeys(modes, "routed"))
    a, b = stage.box("aa", "open"), stage.box("bb", "routed", ports=["80"])
    for family in FAMILIES:
        assert world.outside.dial(a.address(family), 80)
        assert world.outside.dial(a.address(family), 81)
        assert world.outside.dial(b.address(family), 80)
        assert b.caller() == world.outside.address(family)
        assert world.outside.no_dial(b.address(family), 81)
        assert world.outside.ping(b.address(family))
        assert b.dial(world.outside.address(family), 80)
        assert world.outside.caller() == b.address(family)
    assert b.published(80) == {("0.0.0.0", 0), ("::", 0)}


def test_the_default_route_follows_connects_and_disconnects(world: World, stage: Stage) -> None:
    """By name where nothing else decides, a family each; a connection to the outside works after every move."""
    stage.network("m", *WEB)
    stage.network("b-four", "10.51.0.0/24")
    stage.network("a-dual", *BACK[1:], "10.52.0.0/24")
    stage.network("closed", "10.53.0.0/24", Internal=True)
    box = stage.box("box", "m")

    def ways(four: str, six: str) -> None:
        assert (box.default(4).split() or ["", ""])[0] == four
        assert (box.default(6).split() or ["", ""])[0] == six
        for family, way in ((4, four), (6, six)):
            assert box.dial(world.outside.address(family), 80) if way else no_way(box, world.outside.address(family))

    daemon = world.daemon
    ways("10.50.0.1", "fd00:50::1")
    boxes.connect(daemon, "closed", "box")
    ways("10.50.0.1", "fd00:50::1")
    boxes.connect(daemon, "b-four", "box")
    ways("10.50.0.1", "fd00:50::1")
    boxes.connect(daemon, "a-dual", "box")
    ways("10.52.0.1", "fd00:51::1")
    boxes.disconnect(daemon, "m", "box")
    ways("10.52.0.1", "fd00:51::1")
    boxes.disconnect(daemon, "a-dual", "box")
    ways("10.51.0.1", "")
    boxes.connect(daemon, "m", "box")
    ways("10.50.0.1", "fd00:50::1")
    boxes.disconnect(daemon, "m", "box")
    boxes.disconnect(daemon, "b-four", "box")
    ways("", "")
    boxes.connect(daemon, "b-four", "box", GwPriority=-5)
    boxes.connect(daemon, "m", "box", GwPriority=-10)
    ways("10.51.0.1", "fd00:50::1")


def test_priority_decides_over_names(world: World, stage: Stage) -> None:
    stage.network("alpha", *WEB)
    stage.network("beta", *BACK)
    box = stage.box("box", "alpha", {"network": "beta", "gw_priority": 1}, ports=["8080:80"])
    assert (box.default(4), box.default(6)) == ("10.51.0.1 eth1", "fd00:51::1 eth1")
    assert box.endpoint("alpha")["published"] == []
    for family in FAMILIES:
        assert world.outside.dial(world.router.address(family), 8080)
    boxes.disconnect(world.daemon, "beta", "box")
    assert (box.default(4), box.default(6)) == ("10.50.0.1 eth0", "fd00:50::1 eth0")
    for family in FAMILIES:
        assert world.outside.dial(world.router.address(family), 8080)


def test_an_endpoint_is_as_it_was_asked_for(stage: Stage) -> None:
    stage.network("web", *WEB)
    sysctls = "net.ipv4.conf.IFNAME.forwarding=1,net.ipv6.conf.IFNAME.accept_ra=2"
    asked = {
        "network": "web",
        "ipv4": "10.50.0.77",
        "ipv6": "fd00:50::77",
        "mac": "02:42:00:00:00:77",
        "link_local": ["169.254.7.7", "fe80::7:7"],
        "driver_opts": {ENDPOINT + "ifname": "front", ENDPOINT + "sysctls": sysctls},
    }
    box, other = stage.box("box", asked), stage.box("other", {"network": "web", "link_local": ["169.254.7.8"]})
    (front,) = json.loads(box.ip("-j", "address", "show", "front"))
    assert front["address"] == "02:42:00:00:00:77"
    found = {f"{a['local']}/{a['prefixlen']}" for a in front["addr_info"]}
    assert {"10.50.0.77/24", "fd00:50::77/64", "169.254.7.7/16", "fe80::7:7/64"} <= found
    assert not [a for a in front["addr_info"] if a.get("tentative")]
    assert box.ns.run(["sysctl", "-n", "net.ipv4.conf.front.forwarding"]) == "1\n"
    assert box.ns.run(["sysctl", "-n", "net.ipv6.conf.front.accept_ra"]) == "2\n"
    assert other.dial("10.50.0.77", 80)
    assert other.dial("fd00:50::77", 80)
    assert other.dial("169.254.7.7", 80)
    assert box.caller() == "169.254.7.8"
    assert other.ping("fe80::7:7%eth0")
    shown = box.endpoint("web")
    assert (shown["ifname"], shown["mac"], shown["config"]["mac"]) == ("front", asked["mac"], asked["mac"])


def test_sysctls_of_the_sandbox(world: World, stage: Stage) -> None:
    stage.network("web", *WEB)
    settings = {"net.ipv4.ip_unprivileged_port_start": "7", "net.ipv4.conf.eth0.send_redirects": "0"}
    box = stage.box("box", "web", sysctls=settings)
    assert box.ns.run(["sysctl", "-n", *settings]) == "7\n0\n"
    assert world.daemon.run("sysctl", "-n", "net.ipv4.ip_unprivileged_port_start") == "1024\n"
    boxes.create(world.daemon, "odd", "web", sysctls={"net.ipv4.nosuch": "1"})
    stage.callback(lambda: boxes.remove(world.daemon, "odd"))
    refused = world.daemon.http("POST", f"{boxes.SANDBOXES}/odd/start", {})
    assert refused.status == 500
    assert "cannot set sysctl net.ipv4.nosuch to 1: no such file or directory" in refused.json["message"]
    assert boxes.inspect(world.daemon, "odd")["state"] == "exited"


def test_neighbours_learn_a_new_place_at_once(world: World, stage: Stage) -> None:
    """The same address with another MAC: without an announcement the neighbour would talk to the old one on."""
    stage.network("web", *WEB)
    place = {"network": "web", "ipv4": "10.50.0.9", "ipv6": "fd00:50::9"}
    peer = stage.box("peer", "web")
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        box = stage.box("box", {**place, "mac": mac})
        for family in FAMILIES:
            assert peer.dial(box.address(family), 80, 0.9)
        boxes.remove(world.daemon, "box")


def test_names_come_and_go_with_endpoints(world: World, stage: Stage) -> None:
    stage.network("web", *WEB)
    stage.network("back", *BACK)
    peer, box = stage.box("peer", "web"), stage.box("box", "back")
    assert peer.ask("box") == []
    boxes.connect(world.daemon, "web", "box", Aliases=["cache"])
    assert peer.ask("box") == peer.ask("cache") == [box.address_on("web")]
    boxes.disconnect(world.daemon, "web", "box")
    assert peer.ask("box") == peer.ask("cache") == []
    boxes.connect(world.daemon, "web", "box")
    address = box.address_on("web")
    boxes.stop(world.daemon, "box")
    eventually(lambda: _same(peer.ask("box"), []))
    boxes.start(world.daemon, "box")
    eventually(lambda: _same(peer.ask("box"), [address]))


def _same(found: object, wanted: object) -> None:
    assert found == wanted
