"""Overlay networks with real packets: hosts are namespaces on one switch, and our own code makes what is in them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import permutations
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support import frames
from tests.support.netns import Namespace, veth
from tests.support.overlay_lab import PORT, Container, Lab, Node, lab, overlay
from towline.control.forwarding import Forwarding
from towline.control.reconcile import Reconciler
from towline.drivers.overlay import UnderlayHolder
from towline.drivers.registry import builtin_drivers
from towline.firewall import network_elements, vtep_elements
from towline.kernel.contract import AddElements, Drift
from towline.kernel.sysctl import ProcSysctl
from towline.model.desired import kernel_name
from towline.model.network import Network, Pool
from towline.plan.rows import rows_of
from towline.store.contract import Put
from towline.store.memory import MemoryStore

MTU = "com.docker.network.driver.mtu"
A = overlay("a", 4097)
B = overlay("b", 4098)


def vxlan(vni: int, inner: bytes) -> bytes:
    """The payload of a VXLAN packet (RFC 7348, section 5)."""
    return struct.pack("!II", 0x08000000, vni << 8) + inner


class Uplink:
    """Hears what a host sends on its data path: inner frames."""

    def __init__(self, node: Node) -> None:
        kind = socket.htons(3)
        self._socket = node.ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        node.ns.call(self._socket.bind, ("eth0", 3))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def sent(self) -> list[bytes]:
        """Inner frames of the packets that have left since the last call."""
        found = []
        while True:
            try:
                data, (_, _, kind, *_) = self._socket.recvfrom(65536)
            except BlockingIOError:
                return found
            outer = 14 + (20 if data[12:14] == b"\x08\0" else 40)
            udp = data[23 if outer == 34 else 20] == socket.IPPROTO_UDP
            if kind == socket.PACKET_OUTGOING and udp and data[outer + 2 : outer + 4] == PORT.to_bytes(2, "big"):
                found.append(data[outer + 16 :])


@contextmanager
def ear(container: Container) -> Iterator[frames.Wire]:
    wire = frames.Wire(container.ns, "eth0")
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture
def three() -> Iterator[Lab]:
    with lab(3) as made:
        yield made


@pytest.mark.parametrize("ipv6", [False, True], ids=["over IPv4", "over IPv6"])
def test_everybody_reaches_everybody(ipv6: bool) -> None:
    with lab(3, ipv6=ipv6) as made:
        containers = [made.run(made.nodes[i % 3], A, i + 2) for i in range(4)]
        for one, other in permutations(containers, 2):
            assert one.reaches(other), f"{one.endpoint.name} does not reach {other.endpoint.name}"


def test_several_subnets_are_one_network(three: Lab) -> None:
    pools = (Pool("10.0.1.0/24"), Pool("10.0.2.0/24"), Pool("fd00:1::/64"), Pool("fd00:2::/64"))
    network = overlay("a", 4097, pools)
    here = three.run(three.nodes[0], network, 2)
    there = three.run(three.nodes[1], network, 3, subnet=1)
    beside = three.run(three.nodes[0], network, 4, subnet=1)
    assert here.ipv4.startswith("10.0.1.")
    assert there.ipv4.startswith("10.0.2.")
    for one, other in permutations((here, there, beside), 2):
        assert one.reaches(other)


def test_two_networks_with_the_same_addresses_do_not_meet(three: Lab) -> None:
    """Same subnets, so the same addresses: only the networks keep them apart."""
    first, second = three.nodes[:2]
    a2, a3 = three.run(first, A, 2), three.run(second, A, 3)
    b2, b4 = three.run(first, B, 2), three.run(second, B, 4)
    assert a2.reaches(a3)
    assert b2.reaches(b4)
    with ear(a3) as wire:
        assert not b2.pings(a3.ipv4, patience=0.3)
        assert not b2.pings(a3.ipv6, patience=0.3)
        frame = frames.ether(b2.endpoint.mac, a3.endpoint.mac, frames.IPV4, frames.udp(b2.ipv4, a3.ipv4))
        with ear(b2) as mouth:
            mouth.send(frame)
            assert not wire.hears(frame, frames.SILENCE)
        same = frames.ether(a2.endpoint.mac, a3.endpoint.mac, frames.IPV4, frames.udp(a2.ipv4, a3.ipv4))
        with ear(a2) as mouth:
            mouth.send(same)
            assert wire.hears(same)


def is_group(frame: bytes) -> bool:
    return bool(frame[0] & 1)


def is_discovery(frame: bytes) -> bool:
    """ARP, or neighbour solicitation or advertisement."""
    kind = frame[12:14]
    return kind == b"\x08\x06" or (kind == b"\x86\xdd" and frame[20] == 58 and frame[54] in (133, 134, 135, 136))


def test_arp_and_neighbour_discovery_are_answered_on_this_host(three: Lab) -> None:
    one, other = three.run(three.nodes[0], A, 2), three.run(three.nodes[1], A, 3)
    beside = three.run(three.nodes[0], A, 4)
    with closing(Uplink(three.nodes[0])) as uplink, ear(other) as wire:
        uplink.sent()
        for _ in range(3):
            one.forget_neighbours()
            assert one.reaches(other)
            assert beside.reaches(other)
            assert one.reaches(beside)
        sent = uplink.sent()
        assert len(sent) >= 12
        assert not [frame for frame in sent if is_group(frame) or is_discovery(frame)]
        for address in ("10.0.1.200", "fd00:1::c8"):
            assert not one.pings(address, patience=0.2)
        broadcast = frames.ether(one.endpoint.mac, frames.BROADCAST, frames.IPV4, frames.udp(one.ipv4, "10.0.1.255"))
        with ear(one) as mouth, ear(beside) as local:
            mouth.send(broadcast)
            assert local.hears(broadcast)
        assert not wire.hears(broadcast, frames.SILENCE)
        assert uplink.sent() == []


def test_an_endpoint_that_plays_the_querier_stops_no_discovery(three: Lab) -> None:
    """A multicast listener query makes a snooping bridge send solicitations to listeners only."""
    one, other = three.run(three.nodes[0], A, 2), three.run(three.nodes[1], A, 3)
    own = one.ns.run(["ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link"]).split()[3].partition("/")[0]
    query = frames.behind_options(frames.ip(own, "ff02::1", 58, struct.pack("!BBHHH", 130, 0, 0, 1000, 0) + bytes(16)))
    with ear(one) as mouth:
        mouth.send(frames.ether(one.endpoint.mac, "33:33:00:00:00:01", frames.IPV6, query))
    one.forget_neighbours()
    assert one.pings(other.ipv6)


def test_what_nobody_has_goes_nowhere(three: Lab) -> None:
    one, beside = three.run(three.nodes[0], A, 2), three.run(three.nodes[0], A, 4)
    other = three.run(three.nodes[1], A, 3)
    assert one.reaches(other)
    stray = frames.ether(one.endpoint.mac, "02:00:00:00:00:77", frames.IPV4, frames.udp(one.ipv4, "10.0.1.77"))
    with closing(Uplink(three.nodes[0])) as uplink, ear(one) as mouth, ear(beside) as near, ear(other) as far:
        mouth.send(stray)
        assert not near.hears(stray, frames.SILENCE)
        assert not far.hears(stray, frames.SILENCE)
        assert uplink.sent() == []


def test_an_endpoint_that_was_silent_for_long_is_reached_and_overheard_by_nobody(three: Lab) -> None:
    """The bridge has forgotten all that it learned."""
    one, silent, beside = (three.run(three.nodes[i], A, n) for i, n in ((0, 2), (1, 3), (1, 4)))
    assert one.reaches(silent)
    three.nodes[1].run_apart("ip", "link", "set", A.link, "type", "bridge", "fdb_flush")
    frame = frames.ether(one.endpoint.mac, silent.endpoint.mac, frames.IPV4, frames.udp(one.ipv4, silent.ipv4))
    with ear(one) as mouth, ear(silent) as wire, ear(beside) as near:
        mouth.send(frame)
        assert wire.hears(frame)
        assert not near.hears(frame, frames.SILENCE)


def test_nobody_takes_the_place_of_an_endpoint(three: Lab) -> None:
    """Neither a neighbour on its host nor one elsewhere, with its MAC or its address."""
    one, victim, thief = (three.run(three.nodes[i], A, n) for i, n in ((0, 2), (1, 3), (1, 4)))
    far = three.run(three.nodes[2], A, 5)
    arp = frames.arp(victim.endpoint.mac, victim.ipv4, one.ipv4)
    claims = [
        frames.ether(victim.endpoint.mac, frames.BROADCAST, frames.ARP, arp),
        frames.ether(victim.endpoint.mac, one.endpoint.mac, frames.IPV4, frames.udp(victim.ipv4, one.ipv4)),
    ]
    with ear(one) as wire:
        for robber in (thief, far):
            with ear(robber) as mouth:
                for claim in claims:
                    mouth.send(claim)
                    assert not wire.hears(claim, frames.SILENCE)
            assert one.reaches(victim)
        with ear(victim) as mouth:
            mouth.send(claims[1])
            assert wire.hears(claims[1])


def test_a_move_is_one_replace(three: Lab) -> None:
    first, second, third = three.nodes
    one, roamer = three.run(first, A, 2), three.run(second, A, 3)
    three.run(third, A, 9)
    assert one.reaches(roamer)
    before = roamer.peer
    second.unplug(roamer)
    third.plug(roamer)
    first.hear([replace(roamer.peer, epoch=2)], [before])
    second.hear([replace(roamer.peer, epoch=2)])
    third.hear([], [before])
    assert one.reaches(roamer)
    assert roamer.reaches(one)
    third.unplug(roamer)
    first.plug(roamer)
    first.hear([], [replace(roamer.peer, vtep=third.vtep)])
    assert one.reaches(roamer)


SENDER = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(int(sys.argv[2])):
        sock.sendto(b"x", (sys.argv[1], 9))
"""


@pytest.mark.parametrize("family", [4, 6])
def test_no_packet_is_lost_while_rows_are_replaced(three: Lab, family: int) -> None:
    """Every datagram leaves for one of the two hosts, whichever row there is at that moment."""
    first, second, third = three.nodes
    one, roamer = three.run(first, A, 2), three.run(second, A, 3)
    assert one.reaches(roamer)
    there, elsewhere = ([replace(roamer.peer, vtep=node.vtep)] for node in (second, third))
    tunnel = first.present[A.id].tunnel
    assert tunnel is not None

    def alternate(sender: subprocess.Popen[bytes]) -> int:
        replaced = 0
        while sender.poll() is None:
            for puts, gone in ((elsewhere, there), (there, elsewhere)):
                rows = rows_of(puts), rows_of(gone)
                for _ in range(50):
                    assert first.kernel.tunnels.set_rows(tunnel.name, *rows) is None
                    replaced += 1
        return replaced

    with closing(Uplink(first)) as uplink:
        sender = one.ns.popen([sys.executable, "-c", SENDER, roamer.ipv6 if family == 6 else roamer.ipv4, "40000"])
        replaced = first.ns.call(alternate, sender)
        sent = uplink.sent()
    assert sender.returncode == 0
    target = bytes.fromhex(roamer.endpoint.mac.replace(":", ""))
    datagrams = [f for f in sent if f[:6] == target and f[23 if family == 4 else 20] == socket.IPPROTO_UDP]
    assert replaced >= 100
    assert len(datagrams) == 40000


@pytest.mark.parametrize(
    ("ipv6", "uplink", "option", "inner"),
    [(False, 1500, 0, 1450), (True, 1500, 0, 1430), (False, 9000, 0, 8950), (False, 1500, 1400, 1350)],
)
def test_full_size_packets_pass_unfragmented(ipv6: bool, uplink: int, option: int, inner: int) -> None:
    options = {MTU: str(option)} if option else {}
    with lab(2, ipv6=ipv6, mtu=uplink) as made:
        network = overlay("a", 4097, **options)
        one, other = made.run(made.nodes[0], network, 2), made.run(made.nodes[1], network, 3)
        with closing(Uplink(made.nodes[0])) as ear_:
            for address, headers in ((other.ipv4, 28), (other.ipv6, 48)):
                assert one.pings(address, "-M", "do", "-s", str(inner - headers))
                assert not one.pings(address, "-M", "do", "-s", str(inner - headers + 1), patience=0.3)
            sizes = {len(frame) - 14 for frame in ear_.sent()}
        assert max(sizes) == inner
        with one.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
            with pytest.raises(OSError, match="too long"):
                sock.sendto(bytes(inner - 27), (other.ipv4, 9))


@pytest.mark.parametrize("ipv6", [False, True])
def test_encapsulated_packets_of_strangers_are_dropped(ipv6: bool) -> None:
    with lab(2, ipv6=ipv6) as made:
        one, other = made.run(made.nodes[0], A, 2), made.run(made.nodes[1], A, 3)
        stranger = made.attacker()
        inner = frames.ether(one.endpoint.mac, other.endpoint.mac, frames.IPV4, frames.udp(one.ipv4, other.ipv4))
        target = made.nodes[1]
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        with stranger.call(socket.socket, family, socket.SOCK_DGRAM) as sock, ear(other) as wire:
            sock.sendto(vxlan(4097, inner), (target.vtep, PORT))
            assert not wire.hears(inner, frames.SILENCE)
            known = vtep_elements(["2001:db8::42" if ipv6 else "192.0.2.66"])
            target.ns.call(target.kernel.nft.commit, [AddElements(known)])
            sock.sendto(vxlan(4097, inner), (target.vtep, PORT))
            assert wire.hears(inner)
            sock.sendto(vxlan(4098, inner), (target.vtep, PORT))
            assert not wire.hears(inner, frames.SILENCE)
        assert one.reaches(other)


def test_a_container_cannot_send_for_its_host(three: Lab) -> None:
    """From a bridge network behind masquerade it would have the address of a node."""
    node, target = three.nodes[:2]
    one, other = three.run(node, A, 2), three.run(target, A, 3)
    inside = bridge_network(three, node)
    inner = frames.ether(one.endpoint.mac, other.endpoint.mac, frames.IPV4, frames.udp(one.ipv4, other.ipv4))
    outside = target.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    outside.bind(("0.0.0.0", PORT + 1))
    outside.settimeout(5)
    with outside, inside.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock, ear(other) as wire:
        sock.sendto(vxlan(4097, inner), (target.vtep, PORT))
        assert not wire.hears(inner, frames.SILENCE)
        sock.sendto(b"x", (target.vtep, PORT + 1))
        assert outside.recvfrom(9)[1][0] == node.vtep


def bridge_network(made: Lab, node: Node) -> Namespace:
    """A container on a bridge network of the node, with a default route."""
    drivers = builtin_drivers()
    network = Network("b" * 64, "lan", 1, "bridge", pools=(Pool("172.30.0.0/24", gateway="172.30.0.1"),), link="br-lan")
    desired = drivers.desired(network)
    assert desired.bridge is not None
    assert desired.rules is not None
    assert node.ns.call(node.kernel.links.create_bridges, [desired.bridge]) == [None]
    node.ns.call(node.kernel.nft.commit, [AddElements(network_elements(desired.rules))])
    node.ns.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    inside = made.new_namespace()
    veth(node.ns, "vlan0", inside, "eth0", b_address="172.30.0.2/24")
    node.ns.run(["ip", "link", "set", "vlan0", "master", "br-lan"])
    inside.run(["ip", "route", "add", "default", "via", "172.30.0.1"])
    assert " 0% packet loss" in inside.run(["ping", "-n", "-c1", "-W3", "172.30.0.1"])
    return inside


def test_the_host_has_no_part_in_it(three: Lab) -> None:
    """Neither its addresses nor what it routes to are reached from an overlay network, though routes lead there."""
    node, second = three.nodes[:2]
    one = three.run(node, A, 2)
    bridge = node.present[A.id].bridge
    assert bridge is not None
    node.ns.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    node.ns.run(["ip", "route", "add", "10.0.1.0/24", "dev", "eth0"])
    second.ns.run(["ip", "route", "add", "10.0.1.0/24", "via", node.vtep])
    one.ns.run(["ip", "route", "add", "192.0.2.0/24", "dev", "eth0"])
    for address in (node.vtep, second.vtep):
        one.ns.run(["ip", "neigh", "replace", address, "lladdr", bridge.mac, "dev", "eth0", "nud", "permanent"])
        assert not one.pings(address, patience=0.3)
    assert " 0% packet loss" not in node.ns.run(["ping", "-n", "-c1", "-W0.3", one.ipv4], check=False)
    names = {link["ifname"] for link in json.loads(node.ns.run(["ip", "-j", "link"]))}
    assert names == {"lo", "eth0"}
    node.run_apart("ip", "address", "add", f"{node.vtep}/32", "dev", kernel_name(bridge.name))
    node.run_apart("ip", "route", "add", "10.0.1.0/24", "dev", kernel_name(bridge.name))
    assert one.pings(node.vtep), "the test's own packets go nowhere"


def test_bridged_packets_pass_no_rule_of_ip(three: Lab) -> None:
    """Not even one that somebody puts into the namespace, as br_netfilter would have it."""
    one, beside = three.run(three.nodes[0], A, 2), three.run(three.nodes[0], A, 4)
    other = three.run(three.nodes[1], A, 3)
    for hook in ("prerouting", "forward", "postrouting"):
        script = f"add table inet x; add chain inet x {hook} {{ type filter hook {hook} priority 0; policy drop; }}"
        three.nodes[0].run_apart("nft", script)
    assert one.reaches(beside)
    assert one.reaches(other)
    settings = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if settings.exists():
        three.nodes[0].run_apart("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
        assert not one.pings(beside.ipv4, patience=0.3), "the rules would drop nothing anyway"


def test_what_somebody_does_to_rows_is_found_and_set_right(three: Lab) -> None:
    """From the kernel's notification to the packet that passes again."""
    node = three.nodes[0]
    one, other = three.run(node, A, 2), three.run(three.nodes[1], A, 3)
    store = MemoryStore()
    store.update([Put(A), Put(one.endpoint), Put(other.peer)])
    reconciler = Reconciler(
        store.view(),
        node.kernel,
        builtin_drivers(UnderlayHolder(node.place.underlay)),
        Forwarding(ProcSysctl(), enabled=False),
        leaving=set,
        namespaces="/nowhere",
        namespace_gone=lambda _: None,
    )
    tunnels = node.kernel.tunnels
    tunnel = node.present[A.id].tunnel
    assert tunnel is not None
    device = kernel_name(tunnel.name)
    monitor = node.ns.call(node.kernel.monitor)
    with closing(monitor):
        for command in (
            f"ip neigh flush dev {device} nud permanent",
            f"bridge fdb delete {other.endpoint.mac} dev {device} self dst {other.node.vtep}",
            f"bridge fdb replace {other.endpoint.mac} dev {device} self dst 192.0.2.3",
            f"bridge fdb append 00:00:00:00:00:00 dev {device} self dst 192.0.2.3",
            f"ip link set {device} down",
        ):
            monitor.read()
            node.run_apart(*command.split())
            assert Drift("rows", tunnel.name) in monitor.read(), command
            one.forget_neighbours()
            found = node.ns.call(reconciler.compare_link, tunnel.name)
            assert len(found) == 1, command
            assert node.ns.call(lambda found=found: reconciler.repair(found, sweep=False)) == []
            assert set(node.ns.call(tunnels.rows, tunnel.name)) == set(rows_of([other.peer]))
            assert one.reaches(other), command
            assert Drift("rows", tunnel.name) not in monitor.read()


def test_the_tunnel_follows_the_underlay(three: Lab) -> None:
    """The node's address changes: the device is made anew, its rows stay."""
    node, second = three.nodes[:2]
    one, other = three.run(node, A, 2), three.run(second, A, 3)
    node.ns.run(["ip", "address", "add", "192.0.2.77/24", "dev", "eth0"])
    tunnel = node.present[A.id].tunnel
    assert tunnel is not None
    assert node.ns.call(node.kernel.tunnels.repair, [replace(tunnel, local="192.0.2.77")]) == [None]
    known = vtep_elements(["192.0.2.77"])
    second.ns.call(second.kernel.nft.commit, [AddElements(known)])
    second.hear([replace(one.peer, vtep="192.0.2.77")])
    with closing(Uplink(second)) as uplink:
        uplink.sent()
        assert one.reaches(other)
        assert len(uplink.sent()) == 2
