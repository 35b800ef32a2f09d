"""What the machine's kernel has, so that a test that needs it does not pass for want of it."""

from __future__ import annotations

import json
import platform

import pytest

from tests.support.netns import Namespace, veth


def test_it_is_a_kernel_of_debian() -> None:
    assert platform.release().endswith("-amd64")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wireguard", ["type", "wireguard"]),
        ("dummy", ["type", "dummy"]),
        ("ipvlan", ["link", "base", "type", "ipvlan", "mode", "l2"]),
        ("macvlan", ["link", "base", "type", "macvlan", "mode", "bridge"]),
        ("vlan", ["link", "base", "type", "vlan", "id", "50"]),
        ("vrf", ["type", "vrf", "table", "10"]),
        ("vxlan", ["type", "vxlan", "id", "4097", "dstport", "4789", "local", "192.0.2.1"]),
    ],
)
def test_links_of_every_kind_can_be_made(ns: Namespace, kind: str, words: list[str]) -> None:
    ns.run(["ip", "link", "add", "base", "type", "dummy"])
    ns.run(["ip", "link", "add", "made", *words])
    (link,) = json.loads(ns.run(["ip", "-j", "-d", "link", "show", "made"]))
    assert link["linkinfo"]["info_kind"] == kind


def test_wireguard_carries_packets(ns: Namespace, other: Namespace) -> None:
    veth(ns, "eth0", other, "eth0", a_address="192.0.2.1/24", b_address="192.0.2.2/24")
    sides = ((ns, 1), (other, 2))
    keys = {number: where.run(["wg", "genkey"]).strip() for where, number in sides}
    for where, number in sides:
        peer = 3 - number
        public = where.run(["wg", "pubkey"], input=keys[peer]).strip()
        where.run(["ip", "link", "add", "wg0", "type", "wireguard"])
        where.run(["wg", "set", "wg0", "listen-port", "51820", "private-key", "/dev/stdin"], input=keys[number])
        endpoint = ["endpoint", f"192.0.2.{peer}:51820", "allowed-ips", f"10.0.0.{peer}/32"]
        where.run(["wg", "set", "wg0", "peer", public, *endpoint])
        where.run(["ip", "address", "add", f"10.0.0.{number}/24", "dev", "wg0"])
        where.run(["ip", "link", "set", "wg0", "up"])
    assert " 0% packet loss" in ns.run(["ping", "-n", "-c1", "-W10", "10.0.0.2"], check=False)


def test_netem_loses_and_delays(ns: Namespace, other: Namespace) -> None:
    veth(ns, "eth0", other, "eth0", a_address="192.0.2.1/24", b_address="192.0.2.2/24")
    ns.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "50ms"])
    told = ns.run(["ping", "-n", "-c1", "-W10", "192.0.2.2"])
    assert float(told.partition("time=")[2].split()[0]) >= 50
    ns.run(["tc", "qdisc", "change", "dev", "eth0", "root", "netem", "loss", "100%"])
    assert "100% packet loss" in ns.run(["ping", "-n", "-c1", "-W1", "192.0.2.2"], check=False)
