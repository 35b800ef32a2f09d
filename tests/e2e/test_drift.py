"""What others break in the kernel is healed by itself, within a second as a rule; what an operator added stays."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.equality import assert_equal, link_of, networks
from tests.support.polling import eventually
from tests.support.snapshot import snapshot

BOUND = 5.0  # seconds; the time it really took is printed
NETWORK = {
    "Name": "web",
    "EnableIPv6": True,
    "IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}, {"Subnet": "fd00:78::/64"}]},
    "Options": {"com.docker.network.driver.mtu": "1400"},
}
BURST = 100_000  # notifications

# {link} is the network's bridge, {handle} the handle of the rule in chain {chain}.
DAMAGE = {
    "flush ruleset": ["nft flush ruleset"],
    "inet table": ["nft delete table inet towline"],
    "bridge table": ["nft delete table bridge towline"],
    "one rule": ["nft delete rule inet towline {chain} handle {handle}"],
    "a chain's rules": ["nft flush chain inet towline {chain}"],
    "a foreign rule in our chain": ["nft insert rule inet towline {chain} accept"],
    "a chain's policy": ["nft add chain inet towline {chain} '{{ policy drop ; }}'"],
    "a table that sleeps": ["nft add table bridge towline '{{ flags dormant ; }}'"],
    "an element": ["nft delete element inet towline bridges {{ {link} }}"],
    "a surplus element": ["nft add element inet towline bridges {{ nobody }}"],
    "all elements": ["nft flush set inet towline bridges", "nft flush set inet towline masq4"],
    "bridge deleted": ["ip link delete {link}"],
    "bridge down": ["ip link set {link} down"],
    "IPv4 address": ["ip address delete 10.63.0.1/24 dev {link}"],
    "IPv6 address": ["ip address delete fd00:78::1/64 dev {link}"],
    "all addresses": ["ip address flush dev {link}"],
    "MTU": ["ip link set {link} mtu 1300"],
    "MTU too small for IPv6": ["ip link set {link} mtu 1000"],
    "MAC": ["ip link set {link} address 02:00:00:00:00:99"],
    "alias cleared": ["ip link set {link} alias ''"],
    "renamed": ["ip link set {link} down", "ip link set {link} name stolen", "ip link set stolen up"],
    "renamed while up": ["ip link set {link} name stolen"],
    "everything": ["nft flush ruleset", "ip link delete {link}", "ip link delete docker0"],
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/10,size=24") as daemon:
        daemon.start()
        assert daemon.http("POST", "/networks/create", NETWORK).status == 201
        yield daemon


@pytest.fixture
def daemon(shared: Daemon) -> Daemon:
    assert_equal(shared)
    return shared


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_is_healed(daemon: Daemon, damage: list[str]) -> None:
    before, repairs = state(daemon), repaired(daemon)
    link = link_of(networks(daemon)["web"])
    chain, handle = some_rule(daemon)
    script = " && ".join(damage).format(link=link, chain=chain, handle=handle)
    daemon.run("sh", "-c", script)
    began = time.monotonic()
    eventually(lambda: same(daemon, before), within=BOUND)
    sys.stdout.write(f"HEALED {script}: {(time.monotonic() - began) * 1000:.0f} ms\n")
    assert repaired(daemon) > repairs
    assert_equal(daemon)


def test_a_port_stays_on_a_bridge_that_is_renamed(daemon: Daemon) -> None:
    """Its own index and its ports: it is renamed back, not made anew."""
    link = link_of(networks(daemon)["web"])
    daemon.run("ip", "link", "add", "port", "type", "veth", "peer", "name", "far")
    daemon.run("ip", "link", "set", "port", "master", link)
    daemon.run("ip", "link", "set", link, "name", "stolen")
    eventually(lambda: assert_equal(daemon), within=BOUND)
    assert json.loads(daemon.run("ip", "-j", "link", "show", "port"))[0]["master"] == link
    daemon.run("ip", "link", "delete", "port")


def test_what_an_operator_added_is_left_alone(daemon: Daemon) -> None:
    link = link_of(networks(daemon)["web"])
    daemon.run("ip", "address", "add", "10.99.0.1/24", "dev", link)
    daemon.run("nft", "add", "table", "inet", "operator")
    daemon.run("ip", "address", "delete", "10.63.0.1/24", "dev", link)
    eventually(lambda: assert_healthy(daemon), within=BOUND)
    assert "10.99.0.1/24" in daemon.run("ip", "address", "show", "dev", link)
    assert "operator" in daemon.run("nft", "list", "tables")
    daemon.run("ip", "address", "delete", "10.99.0.1/24", "dev", link)
    daemon.run("nft", "delete", "table", "inet", "operator")


def test_the_users_chain_outlives_repairs_and_restarts(daemon: Daemon) -> None:
    rules = ["ip saddr 192.0.2.1 drop", 'tcp dport 25 counter accept comment "mail"']
    for rule in rules:
        daemon.run("nft", "add", "rule", "inet", "towline", "user", *rule.split())
    kept = user_rules(daemon)
    assert len(kept) == 2
    chain, handle = some_rule(daemon)
    for damage in (
        f"delete rule inet towline {chain} handle {handle}",
        f"flush chain inet towline {chain}",
        "flush set inet towline bridges",
        "delete table bridge towline",
    ):
        before = repaired(daemon)
        daemon.run("nft", *damage.split())
        eventually(lambda: assert_healthy(daemon), within=BOUND)
        assert repaired(daemon) > before
        assert user_rules(daemon) == kept, damage
    daemon.kill()
    daemon.run("nft", "flush", "chain", "inet", "towline", chain)
    daemon.start()
    assert user_rules(daemon) == kept
    daemon.restart()
    assert user_rules(daemon) == kept
    daemon.run("nft", "flush", "chain", "inet", "towline", "user")


def test_lost_notifications_lead_to_a_full_comparison(daemon: Daemon) -> None:
    """The daemon is held up while more happens than its sockets can hold; of the damage at the end it hears nothing."""
    link = link_of(networks(daemon)["web"])
    with tempfile.NamedTemporaryFile("w", suffix=".batch") as batch:
        batch.writelines(f"route {verb} 100.64.0.1/32 dev lo\n" for _ in range(BURST // 2) for verb in ("add", "del"))
        batch.flush()
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            daemon.run("ip", "-batch", batch.name)
            daemon.run("ip", "link", "set", link, "down")
            daemon.run("ip", "link", "delete", "docker0")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
    began = time.monotonic()
    eventually(lambda: assert_healthy(daemon), within=BOUND)
    sys.stdout.write(f"HEALED after {BURST} lost notifications: {(time.monotonic() - began) * 1000:.0f} ms\n")
    assert "kernel notifications were lost" in daemon.log
    repairs = repaired(daemon)
    daemon.run("ip", "link", "set", link, "down")
    eventually(lambda: assert_healthy(daemon), within=BOUND)
    daemon.run("nft", "flush", "set", "inet", "towline", "bridges")
    eventually(lambda: assert_healthy(daemon), within=BOUND)
    assert repaired(daemon) >= repairs + 2


def test_neither_our_own_changes_nor_those_of_other_tables_are_compared(daemon: Daemon) -> None:
    before = counter(daemon, "reconciles")
    for number in range(20):
        assert daemon.http("POST", "/networks/create", {"Name": f"own{number}"}).status == 201
    for number in range(20):
        daemon.run("nft", f"add table inet op; add chain inet op c{number}; add rule inet op c{number} drop")
    daemon.run("nft", "delete", "table", "inet", "op")
    daemon.run("ip", "link", "set", link_of(networks(daemon)["web"]), "down")
    eventually(lambda: assert_equal(daemon), within=BOUND)
    assert counter(daemon, "reconciles") <= before + 5, (
        "one for the link, one or two more where the machine is slow; not 40"
    )
    assert daemon.http("POST", "/networks/prune?wait=1").status == 200
    assert daemon.http("POST", "/networks/create", NETWORK).status == 201


def test_a_flush_is_healed_while_others_change_a_chain_that_matters(daemon: Daemon) -> None:
    daemon.run("nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; }")
    before = counter(daemon, "reconciles")
    began = time.monotonic()
    while time.monotonic() < began + 2:
        daemon.run("nft", "add", "rule", "ip", "filter", "FORWARD", "counter")
    assert counter(daemon, "reconciles") - before < 15
    daemon.run("nft", "flush", "set", "inet", "towline", "bridges")
    flushed = time.monotonic()
    eventually(lambda: assert_equal(daemon), within=BOUND)
    sys.stdout.write(f"HEALED a flush while others change rules: {(time.monotonic() - flushed) * 1000:.0f} ms\n")
    daemon.run("nft", "delete", "table", "ip", "filter")


def test_a_flood_of_foreign_changes_is_survived(daemon: Daemon) -> None:
    """Somebody else makes links and rules without end; our requests are answered, and memory stays bounded."""
    commands = "".join(f"link add flood{n} type veth peer name doolf{n}\nlink delete flood{n}\n" for n in range(40))
    flood = daemon.root / "flood.batch"
    flood.write_text(commands)
    process = daemon.namespace.popen(["ip", "-batch", str(flood)])
    created = 0
    while process.poll() is None:
        assert daemon.http("POST", "/networks/create", {"Name": "busy"}).status == 201
        assert daemon.http("DELETE", "/networks/busy").status == 204
        created += 1
    assert process.wait() == 0
    assert created > 3
    eventually(lambda: assert_equal(daemon), within=BOUND)
    assert daemon.rss_kib() < 80 * 1024


def state(daemon: Daemon) -> dict[str, object]:
    """Links without their indexes, tables in a fixed order: what was deleted comes back as a new one."""
    found = snapshot(daemon)
    links = [{key: value for key, value in link.items() if key != "ifindex"} for link in found["links"]]
    rules = sorted(found["rules"]["nftables"], key=lambda item: str(next(iter(item.values()), {}).get("family")))
    return {**found, "links": links, "rules": rules}


def same(daemon: Daemon, before: dict[str, object]) -> None:
    now = state(daemon)
    for part, value in before.items():
        assert now[part] == value, part


def assert_healthy(daemon: Daemon) -> None:
    """Equal, apart from addresses that somebody added."""
    assert daemon.http("GET", "/towline/v1/diagnose").json == []


def repaired(daemon: Daemon) -> int:
    return counter(daemon, "drift_repairs")


def counter(daemon: Daemon, name: str) -> int:
    return int(daemon.http("GET", "/towline/v1/state").json["counters"][name])


def some_rule(daemon: Daemon) -> tuple[str, int]:
    """Chain and handle of one of our rules, in a base chain of the filter kind."""
    listed = json.loads(daemon.run("nft", "-j", "list", "table", "inet", "towline"))["nftables"]
    bases = [item["chain"]["name"] for item in listed if item.get("chain", {}).get("type") == "filter"]
    rule = next(item["rule"] for item in listed if item.get("rule", {}).get("chain") in bases)
    return rule["chain"], rule["handle"]


def user_rules(daemon: Daemon) -> list[str]:
    lines = daemon.run("nft", "list", "chain", "inet", "towline", "user").splitlines()
    return [line.strip() for line in lines if "drop" in line or "accept" in line]
