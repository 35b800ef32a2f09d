"""Docker's daemon, and firewalld, in the same network namespace: they keep working, and so do our networks beside."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.dockerd import Dockerd, running_dockerd
from tests.support.equality import assert_equal, link_of, networks
from tests.support.firewalld import Firewalld, running_firewalld
from tests.support.flows import Conversation, flowing
from tests.support.netns import namespace
from tests.support.plugs import Plug, outside, plugged, plugged_into
from tests.support.polling import eventually

BOUND = 5.0  # seconds; the time it really took is printed


class World:
    """A router with dockerd and towlined, a network of each with a host on it, and a host outside."""

    def __init__(self, stack: ExitStack) -> None:
        self.router = stack.enter_context(namespace())
        self.outside = stack.enter_context(outside(self.router))
        self.docker: Dockerd = stack.enter_context(running_dockerd(net=self.router))
        self.daemon: Daemon = stack.enter_context(fresh_daemon(net=self.router)).start()
        self.docker_create("theirs", "172.31.0.0/24")
        create(self.daemon, "ours")
        self.ours = stack.enter_context(plugged(self.daemon, "ours", 10))
        bridge = f"br-{self.docker_id('theirs')}"
        self.theirs = stack.enter_context(plugged_into(self.router, bridge, "172.31.0.0/24", "172.31.0.1", 10))

    def docker_create(self, name: str, subnet: str) -> None:
        body = json.dumps({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}).encode()
        answer = self.docker.http("POST", "/networks/create", body)
        assert answer.status == 201, answer

    def docker_id(self, name: str) -> str:
        return str(self.docker.http("GET", f"/networks/{name}").json["Id"][:12])

    def assert_ours_works(self) -> None:
        assert reaches(self.ours, self.outside)
        eventually(lambda: assert_equal_beside(self.daemon))

    def assert_both_work(self) -> None:
        self.assert_ours_works()
        assert reaches(self.theirs, self.outside)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


def create(daemon: Daemon, name: str, **fields: object) -> None:
    answer = daemon.http("POST", "/networks/create", {"Name": name, **fields})
    assert answer.status == 201, answer


def assert_equal_beside(daemon: Daemon) -> None:
    """As `assert_equal`, where others have links called br-... too."""
    assert daemon.http("GET", "/towline/v1/diagnose").json == []
    links = json.loads(daemon.run("ip", "-j", "-d", "link"))
    ours = {link["ifname"] for link in links if link.get("ifalias", "").startswith("towline:")}
    assert ours == {link_of(n) for n in networks(daemon).values() if n["Driver"] == "bridge"}


def reaches(client: Plug, server: Plug, patience: float = BOUND) -> bool:
    """A new TCP connection comes about, and the server sees the router, not the client."""
    with server.ns.call(socket.create_server, (server.ipv4, 0)) as listener:
        listener.settimeout(BOUND)
        port = listener.getsockname()[1]
        try:
            dialled = client.ns.call(socket.create_connection, (server.ipv4, port), patience)
        except OSError:
            return False
        with dialled, listener.accept()[0] as accepted:
            assert accepted.getpeername()[0] == "198.51.100.1"
            return True


def test_docker0_is_theirs_and_ours_has_another_name(world: World) -> None:
    assert link_of(networks(world.daemon)["bridge"]) == "towline0"
    links = world.router.run(["ip", "-br", "link"])
    assert "docker0" in links
    assert "towline0" in links
    subnets = [c["Subnet"] for n in networks(world.daemon).values() for c in n["IPAM"]["Config"] or ()]
    assert "172.17.0.0/16" not in subnets, "that is docker0's"


def test_both_reach_the_outside(world: World) -> None:
    world.assert_both_work()


def test_towlined_restarts_beside_docker(world: World) -> None:
    rules = world.router.run(["iptables", "-S"])
    with flowing({"ours": (world.ours, world.outside), "theirs": (world.theirs, world.outside)}) as flows:
        world.daemon.kill()
        flows.progress()
        world.daemon.start()
        flows.progress()
        world.daemon.restart()
    assert world.router.run(["iptables", "-S"]) == rules
    world.assert_both_work()


def test_docker_restarts_beside_towlined(world: World) -> None:
    with flowing({"ours": (world.ours, world.outside)}) as flows:
        world.docker.stop()
        flows.progress()
        world.assert_ours_works()
        world.docker.start()
        flows.progress()
    world.assert_both_work()


def test_the_others_networks_come_and_go(world: World) -> None:
    with flowing({"ours": (world.ours, world.outside), "theirs": (world.theirs, world.outside)}):
        for number in range(4):
            world.docker_create(f"d{number}", f"172.31.{number + 1}.0/24")
            create(world.daemon, f"t{number}")
        for number in range(4):
            assert world.daemon.http("DELETE", f"/networks/t{number}?wait=1").status == 204
            assert world.docker.http("DELETE", f"/networks/d{number}").status == 204
    world.assert_both_work()


def test_our_pools_avoid_dockers_and_dockers_avoid_ours(world: World) -> None:
    created = world.docker.http("POST", "/networks/create", b'{"Name":"auto"}').json["Id"]
    create(world.daemon, "auto")
    theirs = world.docker.http("GET", f"/networks/{created}").json["IPAM"]["Config"][0]["Subnet"]
    mine = {n: v["IPAM"]["Config"][0]["Subnet"] for n, v in networks(world.daemon).items() if v["IPAM"]["Config"]}
    assert theirs not in mine.values()
    assert world.docker.http("DELETE", "/networks/auto").status == 204
    assert world.daemon.http("DELETE", "/networks/auto").status == 204


def test_a_flushed_forward_chain_gets_our_rule_again(world: World) -> None:
    """`iptables -F FORWARD` with Docker's DROP policy cuts us off, until the drift watch sees it."""
    world.router.run(["iptables", "-F", "FORWARD"])
    healed = eventually(lambda: assert_reaches(world.ours, world.outside), within=BOUND)
    sys.stdout.write(f"HEALED iptables -F FORWARD: {healed * 1000:.0f} ms\n")


def assert_reaches(client: Plug, server: Plug) -> None:
    """Impatient, to be called again and again: a lost SYN would be repeated after a second only."""
    assert reaches(client, server, patience=0.1)


def test_a_docker_that_starts_later_is_noticed_and_gets_docker0() -> None:
    """It takes our docker0 for its own; with the next start we leave it the bridge and make one of another name."""
    with ExitStack() as stack:
        router = stack.enter_context(namespace())
        daemon = stack.enter_context(fresh_daemon(net=router)).start()
        assert link_of(networks(daemon)["bridge"]) == "docker0"
        docker = stack.enter_context(running_dockerd(net=router))
        assert subnet_of(docker.http("GET", "/networks/bridge").json) == subnet_of(networks(daemon)["bridge"])
        eventually(lambda: assert_told(daemon), within=BOUND)
        (finding,) = daemon.http("GET", "/towline/v1/diagnose").json
        assert "docker0 is Docker's too" in finding["problem"]
        address = router.run(["ip", "-br", "address", "show", "docker0"])
        daemon.restart()
        assert router.run(["ip", "-br", "address", "show", "docker0"]) == address
        assert link_of(networks(daemon)["bridge"]) == "towline0"
        assert subnet_of(networks(daemon)["bridge"]) != subnet_of(docker.http("GET", "/networks/bridge").json)
        assert_equal_beside(daemon)
        there = stack.enter_context(outside(router))
        for bridge, subnet, gateway in (
            ("docker0", *pool_of(docker.http("GET", "/networks/bridge").json)),
            ("towline0", *pool_of(networks(daemon)["bridge"])),
        ):
            assert reaches(stack.enter_context(plugged_into(router, bridge, subnet, gateway, 10)), there), bridge


def assert_told(daemon: Daemon) -> None:
    assert daemon.log.count("a bridge is shared with Docker") == 1


def pool_of(network: dict[str, Any]) -> tuple[str, str]:
    """Subnet and gateway."""
    (pool,) = network["IPAM"]["Config"]
    return pool["Subnet"], pool["Gateway"]


def subnet_of(network: dict[str, Any]) -> str:
    return pool_of(network)[0]


@pytest.fixture(scope="module")
def beside_firewalld() -> Iterator[tuple[Daemon, Firewalld, Plug, Plug]]:
    """towlined first, firewalld started later."""
    with ExitStack() as stack:
        daemon = stack.enter_context(fresh_daemon()).start()
        there = stack.enter_context(outside(daemon.namespace))
        create(daemon, "ours")
        here = stack.enter_context(plugged(daemon, "ours", 10))
        assert reaches(here, there)
        began = time.monotonic()
        firewalld = stack.enter_context(running_firewalld(daemon.namespace, daemon.root / "firewalld"))
        sys.stdout.write(f"firewalld up after {time.monotonic() - began:.1f} s\n")
        yield daemon, firewalld, here, there


def test_firewalld_started_later_does_not_cut_us_off(
    beside_firewalld: tuple[Daemon, Firewalld, Plug, Plug],
) -> None:
    daemon, firewalld, here, there = beside_firewalld
    eventually(lambda: assert_reaches(here, there), within=BOUND)
    assert_equal(daemon)
    assert firewalld.command("--get-default-zone").strip() == "public"


@pytest.mark.parametrize("how", ["--reload", "--complete-reload"])
def test_reload_of_firewalld_is_healed(beside_firewalld: tuple[Daemon, Firewalld, Plug, Plug], how: str) -> None:
    daemon, firewalld, here, there = beside_firewalld
    conversation = Conversation(here, there, 7100)
    firewalld.command(how)
    healed = eventually(lambda: assert_reaches(here, there), within=BOUND)
    sys.stdout.write(f"HEALED firewall-cmd {how}: {healed * 1000:.0f} ms\n")
    assert conversation.end() is None
    conversation.close()
    assert_equal(daemon)


def test_firewalld_keeps_what_it_was_told(beside_firewalld: tuple[Daemon, Firewalld, Plug, Plug]) -> None:
    daemon, firewalld, here, there = beside_firewalld
    firewalld.command("--add-port=8080/tcp")
    before = firewalld.command("--list-all")
    create(daemon, "more")
    daemon.kill()
    daemon.start()
    assert daemon.http("DELETE", "/networks/more?wait=1").status == 204
    assert firewalld.command("--list-all") == before
    assert reaches(here, there)
