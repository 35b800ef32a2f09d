"""Other firewalls on the same host: iptables (as Docker and ufw use it), a table shaped like firewalld's, and `nft`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.firewall_lab import HERE, Lab, lab
from towline.firewall import (
    PublishedPort,
    admit_changes,
    endpoint_elements,
    network_elements,
    published_elements,
    withdraw_changes,
)
from towline.kernel.contract import AddElements, AddTable
from towline.model.desired import FamilyRules, NetworkRules

RULES = NetworkRules("br-a", FamilyRules(), FamilyRules())
FAMILIES = (4, 6)
FIREWALLD = """
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        reject with icmpx admin-prohibited
    }
}
"""


@pytest.fixture
def world() -> Iterator[Lab]:
    with lab() as made:
        made.program(RULES)
        yield made


def admit(world: Lab) -> int:
    changes = admit_changes(world.nft.foreign_forward_chains())
    world.nft.commit(changes)
    return len(changes)


def iptables(world: Lab, family: int, *arguments: str) -> str:
    return world.router.run(["iptables" if family == 4 else "ip6tables", *arguments])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_we_admit_passes_a_dropping_iptables(world: Lab, family: int) -> None:
    iptables(world, family, "-P", "FORWARD", "DROP")
    assert world.a1.no_dial(world.outside.address(family), 80)
    assert admit(world) == 1
    assert world.a1.dial(world.outside.address(family), 80)
    assert world.outside.no_dial(world.friend.address(family), 80)
    assert world.outside.no_dial(world.a1.address(family), 80)
    assert admit(world) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_iptables_goes_on_working(world: Lab, family: int) -> None:
    iptables(world, family, "-P", "FORWARD", "DROP")
    iptables(world, family, "-A", "FORWARD", "-i", "other", "-j", "ACCEPT")
    admit(world)
    ours = (
        "-A FORWARD -m mark --mark 0x10000000/0x10000000 "
        '-m comment --comment "towline: admitted by table inet towline" -j ACCEPT'
    )
    assert iptables(world, family, "-S", "FORWARD").splitlines() == [
        "-P FORWARD DROP",
        ours,
        "-A FORWARD -i other -j ACCEPT",
    ]
    iptables(world, family, "-D", "FORWARD", "-i", "other", "-j", "ACCEPT")
    iptables(world, family, "-I", "FORWARD", "-i", "first", "-j", "RETURN")
    assert iptables(world, family, "-S", "FORWARD").splitlines()[1:] == ["-A FORWARD -i first -j RETURN", ours]
    assert admit(world) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_our_rule_is_known_again_after_iptables_restored_it(world: Lab, family: int) -> None:
    iptables(world, family, "-P", "FORWARD", "DROP")
    admit(world)
    name = "iptables" if family == 4 else "ip6tables"
    saved = world.router.run([f"{name}-save"])
    world.router.run([f"{name}-restore"], input=saved)
    assert world.a1.dial(world.outside.address(family), 80)
    assert admit(world) == 0
    iptables(world, family, "-F", "FORWARD")
    assert admit(world) == 1
    assert world.a1.dial(world.outside.address(family), 81)


def test_our_rule_can_be_taken_out_again(world: Lab) -> None:
    for family in FAMILIES:
        iptables(world, family, "-P", "FORWARD", "DROP")
    assert admit(world) == 2
    world.nft.commit(withdraw_changes(world.nft.foreign_forward_chains()))
    for family in FAMILIES:
        assert iptables(world, family, "-S", "FORWARD").splitlines() == ["-P FORWARD DROP"]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_we_admit_passes_firewalld(world: Lab, family: int) -> None:
    world.router.run(["nft", "-f", "-"], input=FIREWALLD)
    with pytest.raises(OSError, match="[Uu]nreachable|denied|No route"):
        world.a1.dial(world.outside.address(family), 80)
    assert admit(world) == 1
    assert world.a1.dial(world.outside.address(family), 80)
    world.router.run(["nft", "-f", "-"], input=f"delete table inet firewalld\n{FIREWALLD}")
    assert admit(world) == 1
    assert "meta mark & 0x10000000 == 0x10000000" in world.router.run(["nft", "list table inet firewalld"])


def test_a_chain_that_drops_nothing_and_one_that_nobody_knows_are_left_alone(world: Lab) -> None:
    iptables(world, 4, "-P", "FORWARD", "ACCEPT")
    world.router.run(["nft", "-f", "-"], input=FIREWALLD.replace("firewalld", "mine"))
    assert len(world.nft.foreign_forward_chains()) == 2
    assert admit(world) == 0


def test_a_listing_can_be_loaded_again(world: Lab) -> None:
    """`nft list ruleset > /etc/nftables.conf` is how many hosts keep their rules: ours must not break theirs."""
    port = PublishedPort("", 8080, "tcp", world.a1.ipv4, 80)
    guard = endpoint_elements(RULES, "va1", "02:42:ac:1e:01:02", [world.a1.ipv4, world.a1.ipv6])
    world.program(RULES, extra=[*published_elements(RULES, port), *guard])
    assert "towline" in json.dumps(json.loads(world.router.run(["nft", "-j", "list", "ruleset"])))
    before = [world.nft.read(table.id) for table in HERE]
    saved = world.router.run(["nft", "list", "ruleset"])
    world.router.run(["nft", "flush", "ruleset"])
    assert world.nft.read(HERE[0].id) is None
    world.router.run(["nft", "-f", "-"], input=saved)
    assert [world.nft.read(table.id) for table in HERE] == before
    assert world.outside.dial("198.51.100.1", 8080)


def test_replacing_the_rules_neither_stops_a_flow_nor_opens_a_gap(world: Lab) -> None:
    """Datagrams on an established flow and on a forbidden one, while the tables are replaced again and again."""
    flow, forbidden = Flow(world, 81), Flow(world, 82)
    world.a1.ns.call(flow.inside.sendto, b"hello", (world.outside.ipv4, 81))
    _, back = flow.outside.recvfrom(100)
    forbidden_target = (world.a1.ipv4, forbidden.inside.getsockname()[1])
    stop = threading.Event()
    replacing = threading.Thread(target=_replace_until, args=(world, stop))
    replacing.start()
    sent = 0
    while sent < 5000:
        flow.outside.sendto(b"x", back)
        forbidden.outside.sendto(b"x", forbidden_target)
        sent += 1
        assert flow.inside.recv(100) == b"x"
    stop.set()
    replacing.join()
    forbidden.inside.settimeout(0.05)
    with pytest.raises(TimeoutError):
        forbidden.inside.recv(100)
    flow.close()
    forbidden.close()


class Flow:
    """A UDP socket on a1 and one on the outside host at `port`."""

    def __init__(self, world: Lab, port: int) -> None:
        self.inside = world.a1.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.outside = world.outside.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.inside.bind((world.a1.ipv4, 0))
        self.outside.bind((world.outside.ipv4, port))
        for sock in (self.inside, self.outside):
            sock.settimeout(5)

    def close(self) -> None:
        self.inside.close()
        self.outside.close()


def _replace_until(world: Lab, stop: threading.Event) -> None:
    while not stop.is_set():
        world.nft.commit([*map(AddTable, HERE), AddElements(network_elements(RULES))])
