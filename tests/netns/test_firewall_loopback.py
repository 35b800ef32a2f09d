"""The host's loopback: ports published on 127.0.0.1 work there, and nobody else reaches or pretends to be it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import frames
from tests.support.firewall_lab import Lab, Peer, lab
from towline.firewall import PublishedPort, published_elements
from towline.model.desired import FamilyRules, NetworkRules

RULES = NetworkRules("br-a", FamilyRules(), FamilyRules())


@pytest.fixture(scope="module")
def world() -> Iterator[Lab]:
    with lab() as made:
        for link in ("br-a", "wan"):
            made.router.run(["sysctl", "-qw", f"net.ipv4.conf.{link}.route_localnet=1"])
        yield made


@pytest.fixture
def published(world: Lab) -> Lab:
    port = PublishedPort("127.0.0.1", 8080, "tcp", world.a1.ipv4, 80)
    world.program(RULES, extra=published_elements(RULES, port))
    return world


def test_the_host_reaches_a_port_published_on_its_loopback(published: Lab) -> None:
    assert Peer(published.router, "", "").dial("127.0.0.1", 8080)
    assert published.a1.caller() == "172.30.1.1"


def test_nobody_else_does(published: Lab) -> None:
    """Even a neighbour on the wire who addresses his frame at us by hand."""
    wire = frames.Wire(published.outside.ns, "eth0")
    call = frames.ether(
        "02:00:00:00:00:01", mac(published, "wan"), frames.IPV4, frames.syn("198.51.100.2", "127.0.0.1", 8080)
    )
    wire.send(call)
    assert "dport=8080" not in published.router.run(["conntrack", "-L", "-d", "127.0.0.1"])
    published.router.run(["nft", "flush chain inet towline raw"])
    wire.send(call)
    assert "dport=8080" in published.router.run(["conntrack", "-L", "-d", "127.0.0.1"])
    wire.close()


def test_nobody_pretends_to_be_it(published: Lab) -> None:
    wire = frames.Wire(published.a1.ns, "eth0")
    forged = frames.ether(
        "02:42:ac:1e:01:02", mac(published, "br-a"), frames.IPV4, frames.udp("127.0.0.1", "172.30.1.1", 53)
    )
    wire.send(forged)
    wire.close()
    rules = published.router.run(["nft", "list chain inet towline raw"]).splitlines()
    dropped = [line for line in rules if "ip saddr 127.0.0.0/8" in line]
    assert "counter packets 1 " in dropped[0]


def test_the_kernel_itself_drops_the_ipv6_loopback_from_the_wire(published: Lab) -> None:
    """Which is why there is no rule for it: not even a hook before all of ours sees the packet."""
    counter = "table ip6 probe {\n chain c {\n type filter hook prerouting priority -400\n %s counter\n }\n}\n"
    published.router.run(["nft", "-f", "-"], input=counter % "iifname wan meta l4proto udp")
    wire = frames.Wire(published.outside.ns, "eth0")
    real = "2001:db8:1::2", "2001:db8:1::1"
    for source, target in ((real[0], "::1"), ("::1", real[1]), real):
        wire.send(frames.ether("02:00:00:00:00:01", mac(published, "wan"), frames.IPV6, frames.udp(source, target)))
    assert "counter packets 1 " in published.router.run(["nft", "list table ip6 probe"])
    wire.close()


def mac(world: Lab, link: str) -> str:
    return str(json.loads(world.router.run(["ip", "-j", "link", "show", link]))[0]["address"])
