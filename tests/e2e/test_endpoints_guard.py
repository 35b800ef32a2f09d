"""What a sandbox cannot do: be somebody else, reach other sandboxes' name servers, or the daemon.

The forged frames are also sent in the moment after the guard was taken away: if none arrived then, their loss would
prove nothing. (The bridge table's own test does so for each.)
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import dns.exception
import dns.message
import pytest

from tests.support import boxes, frames
from tests.support.boxes import Box, Stage, World
from tests.support.frames import ARP, IPV4, IPV6, LLDP
from tests.support.polling import eventually
from towline.firewall import keys

GATEWAY4, GATEWAY6, NOBODY4, NOBODY6 = "10.50.0.1", "fd00:50::1", "10.50.0.77", "fd00:50::77"
NOBODY = "02:00:00:00:00:99"


class Bench:
    """`box` sends, `victim` listens; both are real endpoints."""

    def __init__(self, world: World, stage: Stage) -> None:
        self.daemon = world.daemon
        stage.network("web", "10.50.0.0/24", "fd00:50::/64")
        self.box: Box = stage.box("box", "web")
        self.victim: Box = stage.box("victim", "web")
        self.own, self.other = (str(b.endpoint("web")["mac"]) for b in (self.box, self.victim))
        self.link = str(self.box.endpoint("web")["host_link"])
        self.sender, self.ear = (frames.Wire(b.ns, "eth0") for b in (self.box, self.victim))
        stage.callback(self.sender.close)
        stage.callback(self.ear.close)

    def frame(self, kind: int, payload: bytes, source: str = "") -> bytes:
        return frames.ether(source or self.own, self.other, kind, payload)

    def passes(self, frame: bytes) -> bool:
        self.sender.send(frame)
        return self.ear.hears(frame)

    def stops(self, frame: bytes) -> bool:
        self.sender.send(frame)
        return not self.ear.hears(frame, frames.SILENCE)

    def forged(self) -> dict[str, bytes]:
        own6, other6 = self.box.ipv6, self.victim.ipv6
        local, others_local = keys.link_local(self.own), keys.link_local(self.other)
        return {
            "MAC": self.frame(IPV4, frames.udp(self.box.ipv4, self.victim.ipv4), NOBODY),
            "IPv4": self.frame(IPV4, frames.udp(NOBODY4, self.victim.ipv4)),
            "IPv4, the gateway's": self.frame(IPV4, frames.udp(GATEWAY4, self.victim.ipv4)),
            "ARP": self.frame(ARP, frames.arp(self.own, GATEWAY4, self.victim.ipv4, reply=True)),
            "ARP, sender's MAC": self.frame(ARP, frames.arp(NOBODY, self.box.ipv4, self.victim.ipv4, reply=True)),
            "IPv6": self.frame(IPV6, frames.udp(NOBODY6, other6)),
            "IPv6, another's link-local": self.frame(IPV6, frames.udp(others_local, other6)),
            "NA": self.frame(IPV6, frames.neighbour_advert(own6, other6, GATEWAY6, self.own)),
            "RA": self.frame(IPV6, frames.router_advert(local, other6)),
            "redirect": self.frame(IPV6, frames.redirect(local, other6, GATEWAY6)),
            "another protocol": self.frame(LLDP, b"hello"),
            "VLAN": frames.vlan(5, self.frame(IPV4, frames.udp(NOBODY4, self.victim.ipv4))),
        }

    def honest(self) -> dict[str, bytes]:
        four, six = (self.box.ipv4, self.victim.ipv4), (self.box.ipv6, self.victim.ipv6)
        return {
            "IPv4": self.frame(IPV4, frames.udp(*four)),
            "ARP": self.frame(ARP, frames.arp(self.own, *four, reply=True)),
            "IPv6": self.frame(IPV6, frames.udp(*six)),
            "NA": self.frame(IPV6, frames.neighbour_advert(*six, self.box.ipv6, self.own)),
        }


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with boxes.world() as made:
        yield made


@pytest.fixture(scope="module")
def bench(world: World) -> Iterator[Bench]:
    with world.using() as stage:
        yield Bench(world, stage)


def test_a_sandbox_may_be_itself_and_nobody_else(bench: Bench) -> None:
    assert [what for what, frame in bench.honest().items() if not bench.passes(frame)] == []
    assert [what for what, frame in bench.forged().items() if not bench.stops(frame)] == []
    forged = bench.forged()
    os.kill(bench.daemon.pid, signal.SIGSTOP)  # it would heal this within milliseconds
    try:
        bench.daemon.run("nft", "delete", "element", "bridge", "towline", "guarded", f"{{ {bench.link} }}")
        for frame in forged.values():
            bench.sender.send(frame)
        passed = [what for what, frame in forged.items() if bench.ear.hears(frame, 0.3)]
    finally:
        os.kill(bench.daemon.pid, signal.SIGCONT)
        eventually(lambda: guarded_again(bench))
    assert passed, "without the guard not one of them arrived: the test proves nothing"


def guarded_again(bench: Bench) -> None:
    """The daemon heals its rules by itself."""
    assert bench.link in bench.daemon.run("nft", "list", "set", "bridge", "towline", "guarded")


def test_the_guard_follows_a_connect_and_a_restart(bench: Bench, world: World) -> None:
    """On the interface of a later connect, and after the daemon was killed."""
    with world.using() as stage:
        stage.network("back", "10.51.0.0/24")
        other = stage.box("other", "back")
        boxes.connect(world.daemon, "back", "box")
        stage.callback(lambda: boxes.disconnect(world.daemon, "back", "box"))
        world.daemon.kill()
        world.daemon.start()
        mac, theirs = bench.box.endpoint("back")["mac"], other.endpoint("back")["mac"]
        with closing(frames.Wire(bench.box.ns, "eth1")) as wire, closing(frames.Wire(other.ns, "eth0")) as ear:
            own = frames.ether(mac, theirs, IPV4, frames.udp(bench.box.address_on("back"), other.ipv4))
            wire.send(own)
            assert ear.hears(own)
            for source in ("10.51.0.1", bench.box.ipv4):
                forged = frames.ether(mac, theirs, IPV4, frames.udp(source, other.ipv4))
                wire.send(forged)
                assert not ear.hears(forged, frames.SILENCE)


def test_a_sandbox_that_takes_another_address_is_not_heard(bench: Bench) -> None:
    """Its root may give itself any address; only its own work."""
    bench.box.ip("address", "add", "10.50.0.66/24", "dev", "eth0")
    try:
        with bench.box.ns.call(socket.socket) as sock:
            sock.settimeout(0.15)
            sock.bind(("10.50.0.66", 0))
            with pytest.raises(TimeoutError):
                sock.connect((bench.victim.ipv4, 80))
        assert bench.box.dial(bench.victim.ipv4, 80)
    finally:
        bench.box.ip("address", "del", "10.50.0.66/24", "dev", "eth0")


def test_name_servers_answer_their_own_sandbox_only(bench: Bench) -> None:
    """They are bound to 127.0.0.11 inside: neither their ports nor frames made by hand lead there."""
    ports = {int(line.split()[3].rpartition(":")[2]) for line in bench.victim.ns.run(["ss", "-Hlun"]).splitlines()}
    assert ports, "the victim has no name server"
    query = dns.message.make_query("victim", "A").to_wire()
    before = datagrams(bench.victim)
    for port in (53, *ports):
        with bench.box.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            sock.connect((bench.victim.ipv4, port))
            sock.send(query)
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                sock.recv(512)
        bench.sender.send(bench.frame(IPV4, frames.udp(bench.box.ipv4, "127.0.0.11", port)))
    assert datagrams(bench.victim) == before
    assert bench.victim.ask("box") == [bench.box.ipv4]
    assert datagrams(bench.victim) > before
    with pytest.raises(dns.exception.Timeout):
        bench.box.ns.call(boxes.ask_at, "victim", "A", 0.2, GATEWAY4)


def datagrams(box: Box) -> int:
    """Datagrams that reached a socket in the sandbox."""
    names, values = (line.split()[1:] for line in box.ns.run(["grep", "^Udp:", "/proc/net/snmp"]).splitlines())
    return int(dict(zip(names, values, strict=True))["InDatagrams"])


def test_the_daemon_listens_nowhere_on_the_network(bench: Bench) -> None:
    """On the host: no socket that accepts anything, of whatever family; in a sandbox: no abstract socket of its."""
    assert bench.daemon.run("ss", "-Hltn") == ""
    assert bench.daemon.run("ss", "-Hlun") == ""
    abstract = [line for line in bench.box.ns.run(["cat", "/proc/net/unix"]).splitlines() if " @" in line]
    assert abstract == []
    for port in (2375, 2376, 53):
        assert bench.box.no_dial(GATEWAY4, port)


def test_a_command_holds_nothing_of_the_daemons(bench: Bench, world: World) -> None:
    """Its descriptors are its three streams; its namespace is its own."""
    pid = boxes.pid_of(world.daemon, "box")
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    assert os.readlink(f"/proc/{pid}/ns/net") != world.daemon.run("readlink", "/proc/self/ns/net").strip()
    assert os.stat(world.daemon.socket).st_mode & 0o007 == 0


def test_every_port_of_the_bridge_is_guarded(bench: Bench, world: World) -> None:
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(boxes.running(world.daemon, f"more{number}", "web"))
        links = json.loads(world.daemon.run("ip", "-j", "link", "show", "type", "veth"))
        ports = {link["ifname"] for link in links if link.get("master", "").startswith("br-")}
        guarded = world.daemon.run("nft", "list", "set", "bridge", "towline", "guarded")
        assert len(ports) == 5
        assert all(port in guarded for port in ports)
