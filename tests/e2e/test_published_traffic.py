"""Published ports with real packets: from everywhere they must be reached, with the caller's own address, and from
nowhere else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.support import boxes, frames
from tests.support.boxes import Stage, World, exchange, no_exchange, no_way
from tests.support.firewall_lab import PATIENCE, Peer
from tests.support.polling import eventually

WEB, BACK = ("10.50.0.0/24", "fd00:50::/64"), ("10.51.0.0/24", "fd00:51::/64")
FAMILIES = (4, 6)
BRIDGE = "com.docker.network.bridge."


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with boxes.world() as made:
        yield made


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    with world.using() as made:
        made.network("web", *WEB)
        yield made


def test_from_outside_with_the_callers_address(world: World, stage: Stage) -> None:
    box = stage.box("box", "web", ports=["8080:80"])
    for peer in (world.outside, world.friend):
        for family in FAMILIES:
            assert peer.dial(world.router.address(family), 8080)
            assert box.caller() == peer.address(family)
            assert peer.no_dial(world.router.address(family), 80)


def test_from_the_host_by_its_addresses_and_its_loopback(world: World, stage: Stage) -> None:
    stage.box("box", "web", ports=["8080:80"])
    router = world.router
    for address in ("198.51.100.1", "203.0.113.1", "10.50.0.1", "127.0.0.1", "127.1.2.3", "2001:db8:1::1"):
        assert router.dial(address, 8080), address


@pytest.mark.parametrize("binding", ["8080:80", "[::1]:8080:80"])
def test_the_ipv6_loopback_refuses_at_once(world: World, stage: Stage, binding: str) -> None:
    """No packet of ::1 can leave the host, so a client must learn to go on to 127.0.0.1."""
    stage.box("box", "web", ports=[binding, binding.removesuffix(":80") + ":53/udp"])
    with world.router.ns.call(socket.socket, socket.AF_INET6) as client:
        client.settimeout(PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            client.connect(("::1", 8080))
    with boxes.say(world.router, "::1", 8080) as client, pytest.raises(ConnectionRefusedError):
        client.recv(1)
    assert world.router.no_dial("::1", 8081)
    assert world.router.dial("127.0.0.1", 8080) == (binding == "8080:80")


def test_from_another_network_and_from_the_sandbox_itself(world: World, stage: Stage) -> None:
    """By the host's addresses, its own network's gateway among them; the neighbour on the same network too."""
    stage.network("back", *BACK)
    box, near, far = stage.box("box", "web", ports=["8080:80"]), stage.box("near", "web"), stage.box("far", "back")
    for family in FAMILIES:
        gateways = {4: ("10.50.0.1", "10.51.0.1"), 6: ("fd00:50::1", "fd00:51::1")}[family]
        for peer in (box, near, far):
            for address in (world.router.address(family), *gateways):
                assert peer.dial(address, 8080), (peer.name, address)
        assert far.no_dial(box.address(family), 80)
        far.dial(world.router.address(family), 8080)
        assert box.caller() == far.address(family)


def test_on_one_address_only(world: World, stage: Stage) -> None:
    stage.box("box", "web", ports=["198.51.100.1:8080:80", "[2001:db8:2::1]:8081:80"])
    outside, friend = world.outside, world.friend
    assert outside.dial("198.51.100.1", 8080)
    assert friend.dial("2001:db8:2::1", 8081)
    assert friend.no_dial("203.0.113.1", 8080)
    assert outside.no_dial("2001:db8:1::1", 8081)
    assert world.router.no_dial("127.0.0.1", 8080)


def test_on_the_loopback_only_the_host_reaches_it(world: World, stage: Stage) -> None:
    """Not even a neighbour who addresses his frame at us by hand, nor a sandbox."""
    box = stage.box("box", "web", ports=["127.0.0.1:8080:80"])
    near = stage.box("near", "web")
    assert world.router.dial("127.0.0.1", 8080)
    for peer in (world.outside, near):
        for address in ("198.51.100.1", "10.50.0.1"):
            assert peer.no_dial(address, 8080)
    box.hang_up()
    world.forget_flows()
    for peer, link in ((world.outside, "wan"), (near, bridge(world))):
        with contextlib.closing(frames.Wire(peer.ns, "eth0")) as wire:
            own = mac(peer)
            call = frames.syn(peer.ipv4, "127.0.0.1", 8080)
            wire.send(frames.ether(own, mac(world.router, link), frames.IPV4, call))
            wire.send(
                frames.ether(own, mac(world.router, link), frames.IPV4, frames.syn("127.0.0.1", "10.50.0.1", 8080))
            )
    assert "dport=8080" not in world.daemon.run("conntrack", "-L", "-p", "tcp")


def test_udp(world: World, stage: Stage) -> None:
    stage.network("back", *BACK)
    box, far = stage.box("box", "web", ports=["5353:53/udp"]), stage.box("far", "back")
    for family in FAMILIES:
        echo = stage.echo(box, 53, "box", family)
        host = world.router.address(family)
        assert exchange(world.outside, host, 5353, echo) == f"box {world.outside.address(family)}"
        assert exchange(far, host, 5353, echo) == f"box {far.address(family)}"
        assert exchange(box, host, 5353, echo).startswith("box ")
        assert exchange(world.router, host, 5353, echo).startswith("box ")
        assert no_exchange(world.outside, box.address(family), 53, echo)
        echo.close()


def test_udp_from_the_loopback(world: World, stage: Stage) -> None:
    box = stage.box("box", "web", ports=["5353:53/udp"])
    echo = stage.echo(box, 53, "box")
    assert exchange(world.router, "127.0.0.1", 5353, echo) == "box 10.50.0.1"


def test_the_wildcard_binding_does_not_open_the_loopback_to_neighbours(world: World, stage: Stage) -> None:
    """A process of the host that listens on 127.0.0.1 is not reached from the wire, although localhost works."""
    stage.box("box", "web", ports=["8080:80"])
    assert world.router.dial("127.0.0.1", 8080)
    with contextlib.closing(world.router.ns.call(socket.create_server, ("127.0.0.1", 7777))) as private:
        private.setblocking(False)
        for peer, link in ((world.outside, "wan"), (stage.box("near", "web"), bridge(world))):
            with contextlib.closing(frames.Wire(peer.ns, "eth0")) as wire:
                call = frames.syn(peer.ipv4, "127.0.0.1", 7777)
                wire.send(frames.ether(mac(peer), mac(world.router, link), frames.IPV4, call))
        assert "dport=7777" not in world.daemon.run("conntrack", "-L", "-p", "tcp")


def test_ranges_and_ephemeral_ports(world: World, stage: Stage) -> None:
    box = stage.box("box", "web", ports=["9000-9001:80-81", "80", "9100-9110:81"])
    host = world.router.ipv4
    assert box.published(80) >= {("0.0.0.0", 9000), ("::", 9000)}
    assert {port for _, port in box.published(81)} == {9001, 9100}
    (ephemeral,) = {port for _, port in box.published(80)} - {9000}
    low, high = map(int, world.daemon.run("sysctl", "-n", "net.ipv4.ip_local_port_range").split())
    assert low <= ephemeral <= high
    for port in (9000, 9001, 9100, ephemeral):
        assert world.outside.dial(host, port)
        assert world.outside.dial(world.router.ipv6, port)
    second = stage.box("second", "web", ports=["9100-9110:81"])
    assert {port for _, port in second.published(81)} == {9101}


def test_several_host_ports_lead_to_one(world: World, stage: Stage) -> None:
    box = stage.box("box", "web", ports=["8080:80", "8081:80", "127.0.0.1:8082:80"])
    for port in (8080, 8081):
        assert world.outside.dial(world.router.ipv4, port)
    assert world.router.dial("127.0.0.1", 8082)
    assert {port for _, port in box.published(80)} == {8080, 8081, 8082}


def test_the_port_is_held_while_it_is_published_and_free_after(world: World, stage: Stage) -> None:
    """No process of the host can take it, and nobody's taken one is published; a stop gives it back."""
    stage.box("box", "web", ports=["8080:80"])
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with pytest.raises(OSError, match="in use"):
            world.router.ns.call(bind, family, address, 8080)
    boxes.stop(world.daemon, "box")
    with contextlib.closing(world.router.ns.call(bind, socket.AF_INET, "0.0.0.0", 8080)):
        refused = world.daemon.http("POST", f"{boxes.SANDBOXES}/box/start", {})
        assert refused.status == 500
        assert "failed to bind host port 0.0.0.0:8080/tcp: address already in use" in refused.json["message"]
        assert "held by process" in refused.json["message"]
    assert no_way(world.outside, world.router.ipv4, 8080)
    boxes.start(world.daemon, "box")
    with contextlib.closing(boxes.enter(world.daemon, "box")):
        assert world.outside.dial(world.router.ipv4, 8080)


def bind(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


@pytest.mark.parametrize("end", ["stop", "die", "disconnect"])
def test_a_udp_flow_does_not_stick_to_a_dead_endpoint(world: World, stage: Stage, end: str) -> None:
    """The client's socket never rests and never changes; a new sandbox takes the port over within a second."""
    old = stage.box("old", "web", ports=["5353:53/udp"])
    echo = stage.echo(old, 53, "old")
    with boxes.say(world.outside, world.router.ipv4, 5353) as client:
        assert echo.serve()
        assert client.recv(64) == b"old 198.51.100.2"
        if end == "die":
            pid = boxes.pid_of(world.daemon, "old")
            world.daemon.run("kill", "-9", str(pid))
            eventually(lambda: gone(world, "old"))
        elif end == "stop":
            boxes.stop(world.daemon, "old")
        else:
            boxes.disconnect(world.daemon, "web", "old")
            boxes.remove(world.daemon, "old")
        client.send(b"into the void")
        new = stage.box("new", "web", ports=["5353:53/udp"])
        successor = stage.echo(new, 53, "new")

        def answered() -> None:
            with contextlib.suppress(ConnectionError):
                client.send(b"?")
            assert successor.serve(0.05)

        assert eventually(answered, within=1.0) < 1.0
        assert client.recv(64) == b"new 198.51.100.2"


def gone(world: World, name: str) -> None:
    assert boxes.inspect(world.daemon, name)["state"] == "exited"


def test_without_icc_published_ports_still_answer_everybody(world: World, stage: Stage) -> None:
    stage.network("quiet", *BACK, Options={BRIDGE + "enable_icc": "false"})
    box, near = stage.box("box", "quiet", ports=["8080:80"]), stage.box("near", "quiet")
    for family in FAMILIES:
        assert world.outside.dial(world.router.address(family), 8080)
        assert near.no_dial(box.address(family), 80)


def test_a_port_of_an_internal_network_leads_nowhere(world: World, stage: Stage) -> None:
    stage.network("closed", *BACK, Internal=True)
    stage.box("box", "closed", ports=["8080:80"])
    for family in FAMILIES:
        assert world.outside.no_dial(world.router.address(family), 8080)


def test_ipv6_only(world: World, stage: Stage) -> None:
    stage.network("six", "fd00:66::/64", EnableIPv4=False)
    box = stage.box("box", "six", ports=["8080:80"])
    assert (box.ipv4, box.default(4)) == ("", "")
    assert world.outside.dial(world.router.ipv6, 8080)
    assert box.caller() == world.outside.ipv6


def bridge(world: World) -> str:
    return "br-" + str(world.daemon.http("GET", "/networks/web").json["Id"])[:12]


def mac(peer: Peer, link: str = "eth0") -> str:
    words = peer.ns.run(["ip", "-o", "link", "show", link]).split()
    return words[words.index("link/ether") + 1]
