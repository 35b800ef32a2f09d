"""The static ruleset, and the elements of networks, endpoints and published ports per combination of options."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import get_args

from tests.support.ruleset_text import render_elements, render_table
from towline.firewall import (
    PublishedPort,
    admit_rule,
    base,
    data_path_elements,
    endpoint_elements,
    network_elements,
    published_elements,
    vtep_elements,
)
from towline.model.desired import FamilyRules, GatewayMode, NetworkRules, apart, is_apart
from towline.model.ruleset import Chain, Table, TableId

Golden = Callable[[str, str], None]
NAT = FamilyRules()
_OFF_OR_MODE = (None, *(FamilyRules(mode) for mode in get_args(GatewayMode)))


def rules(ipv4: FamilyRules | None = NAT, ipv6: FamilyRules | None = None, **other: object) -> NetworkRules:
    return NetworkRules("br-web", ipv4, ipv6, **other)


def describe(family: FamilyRules | None) -> str:
    if family is None:
        return "off"
    words = [family.mode, *(["no masquerade"] if not family.masquerade else [])]
    return ", ".join([*words, *([f"snat {family.snat}"] if family.snat else [])])


def section(network: NetworkRules, elements: str) -> str:
    flags = [
        name
        for name, on in (
            ("icc=false", not network.icc),
            ("internal", network.internal),
            ("overlay", is_apart(network.bridge)),
        )
        if on
    ]
    flags += [f"trusted {' '.join(network.trusted)}"] * bool(network.trusted)
    return (
        f"## IPv4 {describe(network.ipv4)}; IPv6 {describe(network.ipv6)}{''.join(f'; {f}' for f in flags)}\n{elements}"
    )


def test_static_ruleset(golden: Golden) -> None:
    golden("firewall-base", "\n".join(render_table(table) for table in base()))


def test_networks(golden: Golden) -> None:
    networks = [
        *(rules(ipv4, ipv6) for ipv4, ipv6 in product(_OFF_OR_MODE, repeat=2) if ipv4 or ipv6),
        rules(icc=False),
        rules(NAT, NAT, internal=True),
        rules(internal=True, icc=False),
        rules(FamilyRules(masquerade=False), FamilyRules(masquerade=False)),
        rules(FamilyRules(snat="192.0.2.1"), FamilyRules(snat="2001:db8::1")),
        rules(FamilyRules(masquerade=False, snat="192.0.2.1")),
        rules(trusted=("eth1", "wg0", "eth1")),
    ]
    golden("firewall-networks", "\n".join(section(n, render_elements(network_elements(n), base())) for n in networks))


def test_endpoints(golden: Golden) -> None:
    addresses = ("172.18.0.2/16", "fd00:18::2/64")
    cases = [
        (rules(NAT, NAT), addresses),
        (rules(), addresses[:1]),
        (rules(None, FamilyRules()), addresses[1:]),
        (rules(icc=False), addresses[:1]),
        (NetworkRules(apart("br-1"), FamilyRules("isolated"), FamilyRules("isolated")), addresses),
    ]
    texts = [
        section(network, render_elements(endpoint_elements(network, "veth1", "02:42:ac:12:00:02", own), base()))
        for network, own in cases
    ]
    golden("firewall-endpoints", "\n".join(texts))


def test_published_ports(golden: Golden) -> None:
    ports = [
        PublishedPort("", 8080, "tcp", "172.18.0.2", 80),
        PublishedPort("192.0.2.1", 53, "udp", "172.18.0.2", 5353),
        PublishedPort("127.0.0.1", 90, "sctp", "172.18.0.2", 90),
        PublishedPort("::", 8080, "tcp", "fd00:18::2", 80),
        PublishedPort("2001:db8::1", 8081, "tcp", "fd00:18::2", 80),
    ]
    networks = [
        *(rules(mode, mode) for mode in _OFF_OR_MODE),
        rules(NAT, NAT, trusted=("eth1",)),
        rules(NAT, NAT, internal=True),
    ]
    texts = [
        section(network, render_elements((e for port in ports for e in published_elements(network, port)), base()))
        for network in networks
    ]
    golden("firewall-published", "\n".join(texts))


def test_admit_rules(golden: Golden) -> None:
    ids = (TableId("ip", "filter"), TableId("ip6", "filter"), TableId("inet", "firewalld"))
    golden("firewall-admit", "\n".join(render_table(Table(i, (), (Chain("c", rules=(admit_rule(i),)),))) for i in ids))


def test_data_path(golden: Golden) -> None:
    addresses = ("192.0.2.1", "2001:db8::1", "", "192.0.2.1")
    golden("firewall-data-path", render_elements((*data_path_elements(4789), *vtep_elements(addresses)), base()))
