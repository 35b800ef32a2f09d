"""Every statement of docs/design/firewall.md about forwarded traffic, with real packets, for both address families."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.firewall_lab import SILENCE, Lab, Peer, lab
from towline.firewall import PublishedPort, published_elements
from towline.model.desired import FamilyRules, GatewayMode, NetworkRules
from towline.model.ruleset import Element

NAT = FamilyRules()
FAMILIES = (4, 6)
ROUTER = {4: "198.51.100.1", 6: "2001:db8:1::1"}
GATEWAY_A = {4: "172.30.1.1", 6: "fd00:30:1::1"}

pytestmark = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def world() -> Iterator[Lab]:
    with lab() as made:
        _br_netfilter(made, "0")
        yield made


def network(bridge: str = "br-a", rules: FamilyRules = NAT, **other: object) -> NetworkRules:
    return NetworkRules(bridge, rules, rules, **other)


def mode(name: GatewayMode) -> FamilyRules:
    return FamilyRules(name)


def publish(rules: NetworkRules, peer: Peer, *, host_ip: str = "", host_port: int = 8080) -> list[Element]:
    """Port 80 of a container in both families; host_ip only for its own."""
    found: list[Element] = []
    for family in FAMILIES:
        if not host_ip or (":" in host_ip) == (family == 6):
            port = PublishedPort(host_ip, host_port, "tcp", peer.address(family), 80)
            found += published_elements(rules, port)
    return found


def test_a_container_reaches_the_world_behind_the_hosts_address(world: Lab, family: int) -> None:
    world.program(network())
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == ROUTER[family]
    assert world.a1.ping(world.outside.address(family))


def test_without_masquerade_the_container_shows_its_own_address(world: Lab, family: int) -> None:
    world.program(network(rules=FamilyRules(masquerade=False)))
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == world.a1.address(family)


def test_a_fixed_source_address(world: Lab, family: int) -> None:
    """The router has a second address on the wire, which masquerading would not choose."""
    source = {4: "198.51.100.77", 6: "2001:db8:1::77"}[family]
    prefix = {4: "32", 6: "128"}[family]
    world.router.run(["ip", "address", "add", f"{source}/{prefix}", "dev", "wan", *(["nodad"] if family == 6 else [])])
    fixed = FamilyRules(snat=source)
    ipv4, ipv6 = (fixed, NAT) if family == 4 else (NAT, fixed)
    world.program(NetworkRules("br-a", ipv4, ipv6))
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == source
    world.router.run(["ip", "address", "del", f"{source}/{prefix}", "dev", "wan"])


def test_nat_refuses_direct_access_also_to_published_ports(world: Lab, family: int) -> None:
    rules = network()
    world.program(rules, extra=publish(rules, world.a1))
    assert world.outside.no_dial(world.a1.address(family), 80)
    assert world.outside.no_dial(world.a1.address(family), 81)
    assert world.outside.no_ping(world.a1.address(family))
    assert world.outside.dial(ROUTER[family], 8080)


def test_a_published_port_keeps_the_callers_address(world: Lab, family: int) -> None:
    rules = network()
    world.program(rules, extra=publish(rules, world.a1))
    assert world.outside.dial(ROUTER[family], 8080)
    assert world.a1.caller() == world.outside.address(family)
    assert world.outside.no_dial(ROUTER[family], 8081)


def test_a_port_published_on_one_address_only(world: Lab, family: int) -> None:
    rules = network()
    world.program(rules, extra=publish(rules, world.a1, host_ip=ROUTER[family]))
    assert world.outside.dial(ROUTER[family], 8080)
    assert world.friend.no_dial({4: "203.0.113.1", 6: "2001:db8:2::1"}[family], 8080)


def test_one_address_wins_over_all_addresses(world: Lab, family: int) -> None:
    rules = network()
    extra = [*publish(rules, world.a1), *publish(rules, world.a2, host_ip=ROUTER[family])]
    world.program(rules, extra=extra)
    assert world.outside.dial(ROUTER[family], 8080)
    assert world.a2.caller() == world.outside.address(family)
    assert world.friend.dial({4: "203.0.113.1", 6: "2001:db8:2::1"}[family], 8080)
    assert world.a1.caller() == world.friend.address(family)


def test_the_host_reaches_a_published_port(world: Lab, family: int) -> None:
    rules = network()
    world.program(rules, extra=publish(rules, world.a1))
    host = Peer(world.router, "", "")
    assert host.dial(ROUTER[family], 8080)
    assert host.dial(world.a1.address(family), 80)


def test_unprotected_is_open_to_everybody(world: Lab, family: int) -> None:
    world.program(network(rules=mode("nat-unprotected")))
    assert world.outside.dial(world.a1.address(family), 81)
    assert world.outside.ping(world.a1.address(family))
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == ROUTER[family]


def test_routed_admits_icmp_and_published_ports_and_translates_nothing(world: Lab, family: int) -> None:
    rules = network(rules=mode("routed"))
    world.program(rules, extra=publish(rules, world.a1))
    assert world.outside.ping(world.a1.address(family))
    assert world.outside.dial(world.a1.address(family), 80)
    assert world.a1.caller() == world.outside.address(family)
    assert world.outside.no_dial(world.a1.address(family), 81)
    assert world.outside.no_dial(world.a2.address(family), 80)
    assert world.outside.no_dial(ROUTER[family], 8080)
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == world.a1.address(family)


def test_families_have_modes_of_their_own(world: Lab, family: int) -> None:
    ipv4, ipv6 = (mode("nat-unprotected"), NAT) if family == 4 else (NAT, mode("nat-unprotected"))
    world.program(NetworkRules("br-a", ipv4, ipv6))
    assert world.outside.dial(world.a1.address(family), 80)
    assert world.outside.no_dial(world.a1.address(10 - family), 80)


def test_a_trusted_interface_reaches_published_ports_directly(world: Lab, family: int) -> None:
    rules = network(trusted=("lan",))
    world.program(rules, extra=publish(rules, world.a1))
    assert world.friend.dial(world.a1.address(family), 80)
    assert world.a1.caller() == world.friend.address(family)
    assert world.friend.no_dial(world.a1.address(family), 81)
    assert world.outside.no_dial(world.a1.address(family), 80)


def test_networks_are_isolated_from_each_other(world: Lab, family: int) -> None:
    a, b = network("br-a"), network("br-b")
    world.program(a, b, extra=publish(b, world.b1))
    assert world.a1.no_dial(world.b1.address(family), 80)
    assert world.a1.no_ping(world.b1.address(family))
    assert world.b1.no_dial(world.a1.address(family), 80)
    assert world.a1.dial(ROUTER[family], 8080)
    assert world.b1.caller() == world.a1.address(family)


@pytest.mark.parametrize("netfilter", ["0", "1"])
def test_hairpin(world: Lab, family: int, netfilter: str) -> None:
    """A published port from the inside: by a neighbour, and by the very container that serves it. It sees the gateway
    as the caller, or it would answer past the address translation."""
    rules = network()
    _br_netfilter(world, netfilter)
    world.router.run(["bridge", "link", "set", "dev", "va2", "hairpin", "on"])
    world.program(rules, extra=publish(rules, world.a2))
    for caller in (world.a1, world.a2):
        assert caller.dial(ROUTER[family], 8080)
        assert world.a2.caller() == GATEWAY_A[family]
    world.router.run(["bridge", "link", "set", "dev", "va2", "hairpin", "off"])
    _br_netfilter(world, "0")


def test_an_internal_network_keeps_to_itself_and_its_gateway(world: Lab, family: int) -> None:
    rules = network(internal=True)
    world.program(rules, network("br-b"), extra=publish(rules, world.a1))
    assert world.a1.dial(world.a2.address(family), 80)
    assert world.a1.ping(GATEWAY_A[family])
    assert world.a1.no_ping(ROUTER[family])
    assert world.a1.no_dial(world.outside.address(family), 80)
    assert world.a1.no_dial(world.b1.address(family), 80)
    assert world.b1.no_dial(world.a1.address(family), 80)
    assert world.outside.no_dial(world.a1.address(family), 80)
    assert world.outside.no_dial(ROUTER[family], 8080)
    assert Peer(world.router, "", "").dial(world.a1.address(family), 80)


def test_an_internal_network_reaches_nothing_that_is_open_to_others(world: Lab, family: int) -> None:
    inside, neighbour = network(internal=True), network("br-b", mode("nat-unprotected"))
    world.program(inside, neighbour, extra=publish(neighbour, world.b1))
    assert world.a1.no_dial(world.b1.address(family), 80)
    assert world.a1.no_dial(ROUTER[family], 8080)
    assert world.outside.dial(world.b1.address(family), 80)


def test_somebody_elses_translation_is_admitted_but_opens_no_internal_network(world: Lab, family: int) -> None:
    ip, to = ("ip", world.a1.ipv4) if family == 4 else ("ip6", f"[{world.a1.ipv6}]")
    hook = "type nat hook prerouting priority -150"
    chain = f"table {ip} operators {{\n chain c {{\n {hook}\n udp dport 9090 dnat to {to}:80\n }}\n}}\n"
    world.router.run(["nft", "-f", "-"], input=chain)
    world.program(network())
    assert _datagram_arrives(world.outside, (ROUTER[family], 9090), world.a1)
    world.program(network(internal=True))
    assert not _datagram_arrives(world.outside, (ROUTER[family], 9090), world.a1)
    world.router.run(["nft", f"delete table {ip} operators"])


def test_isolated_is_internal_in_its_family_only(world: Lab, family: int) -> None:
    ipv4, ipv6 = (mode("isolated"), NAT) if family == 4 else (NAT, mode("isolated"))
    world.program(NetworkRules("br-a", ipv4, ipv6))
    assert world.a1.no_dial(world.outside.address(family), 80)
    assert world.a1.no_ping(ROUTER[family])
    assert world.a1.dial(world.outside.address(10 - family), 80)
    assert world.a1.dial(world.a2.address(family), 80)


def test_a_family_that_is_off_reaches_neither_host_nor_world(world: Lab, family: int) -> None:
    world.program(NetworkRules("br-a", *((None, NAT) if family == 4 else (NAT, None))))
    assert world.a1.no_ping(GATEWAY_A[family])
    assert world.a1.no_dial(world.outside.address(family), 80)
    assert world.outside.no_dial(world.a1.address(family), 80)
    assert world.a1.ping(GATEWAY_A[10 - family])
    assert world.a1.dial(world.outside.address(10 - family), 80)


@pytest.mark.parametrize("netfilter", ["0", "1"])
def test_endpoints_of_one_network_talk_with_and_without_br_netfilter(world: Lab, family: int, netfilter: str) -> None:
    _br_netfilter(world, netfilter)
    world.program(network())
    assert world.a1.dial(world.a2.address(family), 80)
    assert world.a2.caller() == world.a1.address(family)
    _br_netfilter(world, "0")


@pytest.mark.parametrize("name", ["nat", "nat-unprotected"])
def test_icc_off_holds_in_the_ip_rules_too(world: Lab, family: int, name: GatewayMode) -> None:
    """With br_netfilter the bridged packets pass the IP rules; no port is known to the bridge table here."""
    _br_netfilter(world, "1")
    world.program(network(rules=mode(name), icc=False))
    assert world.a1.no_dial(world.a2.address(family), 80)
    assert world.a1.ping(GATEWAY_A[family])
    assert world.a1.dial(world.outside.address(family), 80)
    _br_netfilter(world, "0")


def test_the_operators_chain_is_first_and_stays(world: Lab, family: int) -> None:
    world.program(network())
    name = "ip" if family == 4 else "ip6"
    drop = f"{name} daddr {world.outside.address(family)} tcp dport 80 drop"
    world.router.run(["nft", f"add rule inet towline user {drop}"])
    assert world.a1.no_dial(world.outside.address(family), 80)
    world.program(network())
    assert world.a1.no_dial(world.outside.address(family), 80)
    assert world.a1.dial(world.outside.address(family), 81)
    world.router.run(["nft", "flush chain inet towline user"])


def test_other_traffic_of_the_host_is_not_ours(world: Lab, family: int) -> None:
    """br-b is no network of ours here."""
    world.program(network())
    assert world.outside.dial(world.friend.address(family), 80)
    assert world.outside.dial(world.b1.address(family), 80)
    assert world.b1.dial(world.outside.address(family), 80)
    assert world.outside.caller() == world.b1.address(family)


def _datagram_arrives(sender: Peer, target: tuple[str, int], receiver: Peer, port: int = 80) -> bool:
    """No answer is needed for it, so it shows the way in alone."""
    inside = receiver.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM)
    outside = sender.ns.call(socket.socket, socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_DGRAM)
    with inside, outside:
        inside.bind(("::", port))
        inside.settimeout(SILENCE)
        outside.sendto(b"x", target)
        try:
            return inside.recv(10) == b"x"
        except TimeoutError:
            return False


def _br_netfilter(world: Lab, value: str) -> None:
    for name in ("iptables", "ip6tables"):
        world.router.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-{name}={value}"])
