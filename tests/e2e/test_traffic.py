"""Packets of a network that nobody touches flow on, whatever happens to the daemon and to other networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.equality import assert_equal, link_of, networks
from tests.support.flows import Flows, flowing
from tests.support.plugs import Plug, outside, plugged
from tests.support.polling import eventually

TEMPORARY = quote('{"label":["temporary"]}')
Pairs = dict[str, tuple[Plug, Plug]]


class World:
    """A daemon with a network `a`, two hosts on it, another network, and a host outside."""

    def __init__(self, daemon: Daemon, stack: ExitStack) -> None:
        self.daemon = daemon
        for name in ("a", "other"):
            assert daemon.http("POST", "/networks/create", {"Name": name}).status == 201
        self.other = link_of(networks(daemon)["other"])
        self.outside = stack.enter_context(outside(daemon.namespace))
        first, second = (stack.enter_context(plugged(daemon, "a", number)) for number in (10, 11))
        self.pairs: Pairs = {"same bridge": (first, second), "outside": (first, self.outside)}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with ExitStack() as stack:
        daemon = stack.enter_context(fresh_daemon("--default-address-pool", "base=10.0.0.0/8,size=24"))
        yield World(daemon.start(), stack)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    if shared.daemon.process.poll() is not None:
        shared.daemon.start()


def test_nat_hides_the_inside(world: World) -> None:
    with flowing(world.pairs) as flows:
        assert flows.conversations["outside"].caller[0] == "198.51.100.1"
        assert flows.conversations["same bridge"].caller[0] == world.pairs["same bridge"][0].ipv4


def test_killed_dead_and_restarted(world: World) -> None:
    with flowing(world.pairs) as flows:
        for _ in range(3):
            world.daemon.kill()
            flows.progress()
            world.daemon.start()
            flows.progress()
        report(flows)
    assert_equal(world.daemon)


def test_killed_in_the_middle_of_other_work(world: World) -> None:
    with flowing(world.pairs) as flows:
        for number in range(3):
            create(world.daemon, f"n{number}")
            assert world.daemon.http("DELETE", f"/networks/n{number}").status == 204
            world.daemon.kill()  # its bridge still waits to be unlinked
            flows.progress()
            world.daemon.start()
    assert_equal(world.daemon)


def test_clean_stop_and_start(world: World) -> None:
    with flowing(world.pairs) as flows:
        assert world.daemon.stop() == 0
        flows.progress()
        world.daemon.start()


def test_other_networks_come_and_go(world: World) -> None:
    with flowing(world.pairs):
        for number in range(30):
            fields = {"EnableIPv6": number % 2 == 0, "Internal": number % 3 == 0}
            create(world.daemon, f"n{number}", Labels={"temporary": ""}, **fields)
        assert world.daemon.http("DELETE", "/networks/n3?wait=1").status == 204
        pruned = world.daemon.http("POST", f"/networks/prune?wait=1&filters={TEMPORARY}").json["NetworksDeleted"]
        assert len(pruned) == 29


DAMAGE = {
    "element": "nft delete element inet towline bridges {{ {other} }}",
    "bridge": "ip link delete {other}",
    "surplus": "nft add element inet towline bridges {{ nobody }}",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_repair_at_start_and_by_doctor(world: World, damage: str) -> None:
    """Damage to another network is repaired beside this one: after a restart, and by `towline doctor --fix`."""
    towline = str(Path(sys.executable).with_name("towline"))
    command = damage.format(other=world.other).split()
    with flowing(world.pairs) as flows:
        world.daemon.kill()
        world.daemon.run(*command)
        world.daemon.start()
        flows.progress()
        assert_equal(world.daemon)
        world.daemon.run(*command)
        world.daemon.run(towline, "-H", f"unix://{world.daemon.socket}", "doctor", "--fix", check=False)
        flows.progress()
    eventually(lambda: assert_equal(world.daemon))


def test_a_damaged_chain_is_replaced_under_traffic(world: World) -> None:
    """Our chains are flushed while the flow goes on: what was established outlives the moment, and so does NAT."""
    with flowing(world.pairs) as flows:
        world.daemon.run("nft", "delete", "table", "bridge", "towline")
        eventually(lambda: assert_equal(world.daemon))
        flows.progress()


def create(daemon: Daemon, name: str, **fields: object) -> None:
    answer = daemon.http("POST", "/networks/create", {"Name": name, **fields})
    assert answer.status == 201, answer


def report(flows: Flows) -> None:
    for name, flow in flows.datagrams.items():
        sys.stdout.write(f"{name}: {flow.sent} datagrams, longest silence {flow.longest * 1000:.0f} ms\n")
