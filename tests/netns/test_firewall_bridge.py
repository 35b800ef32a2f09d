"""The bridge table, with frames made by hand: anti-spoofing of guarded ports, and no talk where icc is off.

Every forged frame is also sent with the guard taken away, and must then arrive: else its loss would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import frames
from tests.support.firewall_lab import Lab, lab
from towline.firewall import endpoint_elements, keys
from towline.model.desired import FamilyRules, NetworkRules

NAT = FamilyRules()
DUAL = NetworkRules("br-a", NAT, NAT)
OWN, OTHER = "02:42:ac:1e:01:02", "02:42:ac:1e:01:03"
OWN4, OTHER4, OWN6, OTHER6 = "172.30.1.2", "172.30.1.3", "fd00:30:1::2", "fd00:30:1::3"
LOCAL6, OTHER_LOCAL6 = keys.link_local(OWN), keys.link_local(OTHER)
ALL_NODES, NONE6 = "ff02::1", "::"


@dataclass
class Bench:
    """a1 sends, a2 listens."""

    lab: Lab
    sender: frames.Wire
    listener: frames.Wire

    def guard(self, rules: NetworkRules = DUAL) -> None:
        mine, others = [OWN4 + "/24", OWN6 + "/64"], [OTHER4, OTHER6]
        extra = [*endpoint_elements(rules, "va1", OWN, mine), *endpoint_elements(rules, "va2", OTHER, others)]
        self.lab.program(rules, extra=extra)
        for peer in (self.lab.a1, self.lab.a2):
            peer.ns.run(["ip", "neighbour", "flush", "dev", "eth0"])

    def passes(self, frame: bytes) -> bool:
        self.sender.send(frame)
        return self.listener.hears(frame)

    def stops(self, frame: bytes) -> bool:
        self.sender.send(frame)
        return not self.listener.hears(frame, frames.SILENCE)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with lab() as made:
        wires = frames.Wire(made.a1.ns, "eth0"), frames.Wire(made.a2.ns, "eth0")
        yield Bench(made, *wires)
        for wire in wires:
            wire.close()


def ether(kind: int, payload: bytes, source: str = OWN) -> bytes:
    return frames.ether(source, OTHER, kind, payload)


def six(payload: bytes) -> bytes:
    return ether(frames.IPV6, payload)


HONEST = {
    "IPv4": ether(frames.IPV4, frames.udp(OWN4, OTHER4)),
    "ARP request": ether(frames.ARP, frames.arp(OWN, OWN4, OTHER4)),
    "ARP reply": ether(frames.ARP, frames.arp(OWN, OWN4, OTHER4, reply=True)),
    "IPv6": six(frames.udp(OWN6, OTHER6)),
    "IPv6 link-local": six(frames.udp(LOCAL6, OTHER6)),
    "neighbour advertisement": six(frames.neighbour_advert(OWN6, OTHER6, OWN6, OWN)),
    "neighbour advertisement, link-local": six(frames.neighbour_advert(LOCAL6, OTHER6, LOCAL6, OWN)),
    "neighbour solicitation": six(frames.neighbour_solicit(OWN6, OTHER6, OTHER6)),
    "duplicate address detection": six(frames.neighbour_solicit(NONE6, OTHER6, OWN6)),
}
FORGED = {
    "MAC": ether(frames.IPV4, frames.udp(OWN4, OTHER4), OTHER.replace("03", "99")),
    "MAC, IPv6": ether(frames.IPV6, frames.udp(OWN6, OTHER6), OTHER.replace("03", "99")),
    "MAC, ARP": ether(frames.ARP, frames.arp(OWN, OWN4, OTHER4), OTHER.replace("03", "99")),
    "IPv4 source": ether(frames.IPV4, frames.udp("172.30.1.77", OTHER4)),
    "IPv4 source, a neighbour's": ether(frames.IPV4, frames.udp(OTHER4, OTHER4)),
    "IPv4 source, the gateway's": ether(frames.IPV4, frames.udp("172.30.1.1", OTHER4)),
    "ARP sender": ether(frames.ARP, frames.arp(OWN, "172.30.1.1", OTHER4, reply=True)),
    "ARP sender MAC": ether(frames.ARP, frames.arp("02:00:00:00:00:99", OWN4, OTHER4, reply=True)),
    "ARP probe": ether(frames.ARP, frames.arp(OWN, "0.0.0.0", OTHER4)),
    "IPv6 source": six(frames.udp("fd00:30:1::77", OTHER6)),
    "IPv6 source, a neighbour's": six(frames.udp(OTHER6, OTHER6)),
    "IPv6 link-local of another": six(frames.udp(OTHER_LOCAL6, OTHER6)),
    "neighbour advertisement": six(frames.neighbour_advert(OWN6, OTHER6, "fd00:30:1::1", OWN)),
    "neighbour advertisement behind options": six(
        frames.behind_options(frames.neighbour_advert(OWN6, OTHER6, "fd00:30:1::1", OWN))
    ),
    "duplicate address detection of another's": six(frames.neighbour_solicit(NONE6, OTHER6, "fd00:30:1::77")),
    "unspecified source": six(frames.udp(NONE6, OTHER6)),
    "router advertisement": six(frames.router_advert(LOCAL6, OTHER6)),
    "redirect": six(frames.redirect(LOCAL6, OTHER6, "fd00:30:1::1")),
    "another protocol": ether(frames.LLDP, b"hello"),
    "VLAN tag": frames.vlan(5, ether(frames.IPV4, frames.udp("172.30.1.77", OTHER4))),
}


@pytest.mark.parametrize("what", HONEST)
def test_a_guarded_port_may_be_itself(bench: Bench, what: str) -> None:
    bench.guard()
    assert bench.passes(HONEST[what])


@pytest.mark.parametrize("what", FORGED)
def test_a_guarded_port_may_be_nobody_else(bench: Bench, what: str) -> None:
    bench.guard()
    assert bench.stops(FORGED[what])
    bench.lab.program(DUAL)
    assert bench.passes(FORGED[what])


def test_the_gateway_is_not_deceived_either(bench: Bench) -> None:
    """Frames to the bridge itself pass the same hook."""
    bench.guard()
    poison = frames.ether(OWN, frames.BROADCAST, frames.ARP, frames.arp(OWN, OTHER4, "172.30.1.1"))
    bench.lab.router.run(["ip", "neighbour", "flush", "dev", "br-a"])
    bench.sender.send(poison)
    assert OTHER4 not in bench.lab.router.run(["ip", "neighbour", "show", "dev", "br-a"])
    bench.lab.program(DUAL)
    bench.sender.send(poison)
    assert f"{OTHER4} lladdr {OWN}" in bench.lab.router.run(["ip", "neighbour", "show", "dev", "br-a"])
    bench.lab.router.run(["ip", "neighbour", "flush", "dev", "br-a"])


def test_a_guarded_endpoint_works(bench: Bench) -> None:
    bench.guard()
    for family in (4, 6):
        assert bench.lab.a1.dial(bench.lab.a2.address(family), 80)
        assert bench.lab.a1.dial(bench.lab.outside.address(family), 80)


def test_without_ipv6_not_even_a_link_local_address(bench: Bench) -> None:
    rules = NetworkRules("br-a", NAT, None)
    bench.lab.program(rules, extra=endpoint_elements(rules, "va1", OWN, [OWN4]))
    assert bench.passes(HONEST["IPv4"])
    assert bench.stops(HONEST["IPv6 link-local"])
    assert bench.stops(HONEST["neighbour solicitation"])


def test_without_ipv4_no_arp(bench: Bench) -> None:
    rules = NetworkRules("br-a", None, NAT)
    bench.lab.program(rules, extra=endpoint_elements(rules, "va1", OWN, [OWN6]))
    assert bench.passes(HONEST["IPv6"])
    assert bench.stops(HONEST["IPv4"])
    assert bench.stops(HONEST["ARP request"])


def br_netfilter(bench: Bench, value: str) -> None:
    for name in ("iptables", "ip6tables"):
        bench.lab.router.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-{name}={value}"])


@pytest.mark.parametrize("netfilter", ["0", "1"])
def test_icc_off_separates_endpoints_but_not_from_gateway_and_world(bench: Bench, netfilter: str) -> None:
    br_netfilter(bench, netfilter)
    bench.guard(NetworkRules("br-a", NAT, NAT, icc=False))
    assert bench.stops(HONEST["IPv4"])
    assert bench.stops(HONEST["ARP request"])
    assert bench.stops(HONEST["IPv6"])
    for family in (4, 6):
        assert bench.lab.a1.no_dial(bench.lab.a2.address(family), 80)
        assert bench.lab.a1.ping("172.30.1.1" if family == 4 else "fd00:30:1::1")
        assert bench.lab.a1.dial(bench.lab.outside.address(family), 80)


@pytest.mark.parametrize("known", [("va1", OWN, OWN4, OWN6), ("va2", OTHER, OTHER4, OTHER6)])
def test_icc_off_holds_where_only_one_of_two_ports_is_known(bench: Bench, known: tuple[str, str, str, str]) -> None:
    br_netfilter(bench, "0")
    rules = NetworkRules("br-a", NAT, NAT, icc=False)
    bench.lab.program(rules, extra=endpoint_elements(rules, known[0], known[1], known[2:]))
    assert bench.stops(HONEST["IPv4"])
    bench.lab.program(rules)
    assert bench.passes(HONEST["IPv4"])
