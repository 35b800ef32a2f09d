"""What befalls a cluster of five hosts while its sandboxes talk: it must end as etcd says, everywhere, by itself, and
connections that have nothing to do with it must not notice."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_cluster import _etcd_pids
from tests.support.boxes import create, enter, remove, run, running
from tests.support.equality_cluster import settled
from tests.support.five import (
    LONG,
    Five,
    assert_state,
    assert_up,
    five_hosts,
    leader_of,
    move,
    silence,
    talking,
    undisturbed,
)
from tests.support.hosts import Host
from tests.support.polling import eventually, until
from tests.support.remains import clear_away

TOWLINE = (str(Path(sys.executable).with_name("towline")), "-H")


@pytest.fixture(scope="module")
def five() -> Iterator[Five]:
    with five_hosts() as made, talking(made) as whole:
        yield whole


def test_the_leader_is_killed_and_started_again(five: Five) -> None:
    leader = leader_of(five.managers, five.hosts[1])
    assert leader is not None
    left = [host for host in five.managers if host is not leader]
    boxes = [box for box, host in zip(five.boxes, five.hosts, strict=True) if host is not leader]
    at_leader = next(box for box, host in zip(five.boxes, five.hosts, strict=True) if host is leader)
    with undisturbed((boxes[0], boxes[1]), (boxes[2], boxes[3]), (boxes[0], at_leader)):
        leader.daemon.kill()
        until(lambda: leader_of(five.managers, left[0]) in left, LONG)
        with running(five.hosts[4].daemon, "late", "wide") as late:
            settled(left, [host for host in five.hosts if host is not leader], LONG)
            assert late.dial(boxes[0].ipv4, 80)
            leader.daemon.start()
            five.settled()
            assert at_leader.dial(late.ipv4, 80)
    five.settled()
    five.assert_traffic()


def test_etcd_of_a_manager_is_killed(five: Five) -> None:
    with undisturbed((five.boxes[0], five.boxes[1]), (five.boxes[3], five.boxes[4])):
        for host in five.managers:
            (pid,) = _etcd_pids(host)
            host.net.run(["kill", "-9", str(pid)])
            with running(host.daemon, "meanwhile", "wide"):
                until(lambda host=host, pid=pid: _etcd_pids(host) not in ([], [pid]))
                five.settled()
    five.settled()


def test_a_node_that_is_cut_off_goes_on_and_catches_up(five: Five) -> None:
    """A worker: it answers for itself, says what it cannot do, and gets what it missed: removed, made and moved."""
    away, host = five.hosts[4], five.hosts[3]
    five.hosts[0].docker("network", "create", "-d", "overlay", "--attachable", "short")
    with undisturbed((five.boxes[0], five.boxes[1]), (five.boxes[2], five.boxes[3])), ExitStack() as stack:
        run(away.daemon, "local", "wide")
        asked = {"network": "wide", "ipv4": "10.9.200.9"}
        run(host.daemon, "mover", asked)
        five.settled()
        local = enter(away.daemon, "local")
        stack.callback(local.close)
        away.cut()
        stack.callback(away.mend)
        with undisturbed((local, five.boxes[4])):
            remove(host.daemon, "mover")
            move(five.hosts[1], "mover2", asked)
            run(host.daemon, "fresh", "wide")
            five.hosts[0].docker("network", "rm", "short")
            until(lambda: silence(away) > 3.2)
            eventually(lambda: assert_state(five.hosts[0], away, "down"))
            assert away.daemon.http("GET", "/containers/json").status == 200
            assert "local" in [s["name"] for s in away.daemon.http("GET", "/towline/v1/sandboxes").json]
            refused = create(away.daemon, "none", "wide", command=["sleep", "9"])
            assert refused.status == 503, refused
            assert "the managers have not heard of this node" in refused.json["message"]
            assert away.address in away.daemon.run(*TOWLINE, f"unix://{away.daemon.socket}", "cluster", "status")
        remove(away.daemon, "local")
        away.mend()
        five.settled()
    assert silence(away) < 3
    mover = enter(five.hosts[1].daemon, "mover2")
    stack.callback(mover.close)
    assert five.boxes[4].dial(mover.ipv4, 80)
    mover.close()
    for at, name in ((five.hosts[1], "mover2"), (host, "fresh")):
        remove(at.daemon, name)
    five.settled()


def test_a_cut_manager_catches_up(five: Five) -> None:
    leader = leader_of(five.managers, five.hosts[0])
    assert leader is not None
    rest = [host for host in five.hosts if host is not leader]
    with undisturbed((five.boxes[3], five.boxes[4])), ExitStack() as stack:
        leader.cut()
        stack.callback(leader.mend)
        left = [host for host in five.managers if host is not leader]
        until(lambda: leader_of(five.managers, left[0]) in left, LONG)
        with running(five.hosts[3].daemon, "late", "wide"):
            eventually(lambda: assert_up(left[0], rest), LONG)
            refused = leader.daemon.http("POST", "/networks/create", {"Name": "no", "Driver": "overlay"})
            assert refused.status in (500, 503), refused
            leader.mend()
            five.settled()
    five.settled()
    five.assert_traffic()


def test_a_worker_loses_power(five: Five) -> None:
    """Its daemon, links, rules and pinned namespaces go; what it ran is not running when it is back."""
    host = five.hosts[4]
    run(host.daemon, "lost", "wide")
    five.settled()
    with undisturbed((five.boxes[0], five.boxes[3]), (five.boxes[1], five.boxes[2])):
        host.daemon.kill()
        clear_away(host.daemon.exec_root)
        shutil.rmtree(host.daemon.exec_root, ignore_errors=True)
        for link in _links(host):
            host.net.run(["ip", "link", "del", link], check=False)
        for family in ("inet", "bridge"):
            host.net.run(["nft", "delete", "table", family, "towline"])
        host.daemon.start()
        five.settled()
    remove(host.daemon, "lost")
    remove(host.daemon, "w5")
    run(host.daemon, "w5", "wide")
    five.boxes[4] = enter(host.daemon, "w5")  # with the address that it had, which the others have in their caches
    five.settled()
    five.assert_traffic()


def _links(host: Host) -> list[str]:
    names = [line.split(": ")[1].split("@")[0] for line in host.net.run(["ip", "-o", "link"]).splitlines()]
    return [name for name in names if name not in ("lo", "eth0")]


@pytest.mark.timeout(300)
def test_addresses_move_to_other_nodes(five: Five) -> None:
    """200 endpoints that are made again elsewhere with the same addresses, on all hosts at the same time; every row of
    every host is compared."""
    asked = [{"network": "wide", "ipv4": f"10.9.{20 + n}.5", "ipv6": f"fd00:9::{20 + n:x}:5"} for n in range(200)]

    def everywhere(shift: int, act: Callable[[Host, int], None]) -> None:
        """Each endpoint at the host with its number plus `shift`."""

        def at(host: Host) -> None:
            for number in range(len(asked)):
                if (number + shift) % 5 + 1 == host.number:
                    act(host, number)

        with ThreadPoolExecutor(5) as threads:
            list(threads.map(at, five.hosts))

    with undisturbed((five.boxes[0], five.boxes[1])):
        everywhere(0, lambda host, number: move(host, f"m{number}", asked[number]))
        five.settled()
        everywhere(0, lambda host, number: remove(host.daemon, f"m{number}"))
        everywhere(2, lambda host, number: move(host, f"m{number}", asked[number]))
        five.settled()
        everywhere(2, lambda host, number: remove(host.daemon, f"m{number}"))
        five.settled()


def test_quorum_is_lost_and_comes_back(five: Five) -> None:
    alone = five.hosts[0]
    with undisturbed((five.boxes[0], five.boxes[3]), (five.boxes[1], five.boxes[4])):
        for host in five.hosts[1:3]:
            host.daemon.kill()
        until(lambda: alone.daemon.http("POST", "/networks/create", {"Name": "no", "Driver": "overlay"}).status >= 500)
        assert alone.daemon.http("GET", "/networks").status == 200
        five.hosts[1].daemon.start()
        running_ = [host for host in five.hosts if host is not five.hosts[2]]
        settled(five.hosts[:2], running_, LONG)
        with running(five.hosts[3].daemon, "late", "wide"):
            settled(five.hosts[:2], running_, LONG)
        five.hosts[2].daemon.start()
        five.settled()
    five.assert_traffic()


def test_quorum_is_lost_for_good(five: Five) -> None:
    """The last test here: two of three managers do not come back."""
    alone = five.hosts[0]
    left = [alone, *five.hosts[3:]]
    with undisturbed((five.boxes[0], five.boxes[3]), (five.boxes[3], five.boxes[4])):
        for host in five.hosts[1:3]:
            host.daemon.kill()
        alone.docker("swarm", "init", "--force-new-cluster")
        alone.docker("network", "create", "-d", "overlay", "--attachable", "after")
        move(five.hosts[4], "late", {"network": "after"})
        eventually(lambda: assert_up(alone, left), LONG)
        settled([alone], left, LONG)
    nodes = {n["Status"]["Addr"]: n for n in alone.daemon.http("GET", "/nodes").json}
    assert all("ManagerStatus" not in nodes[host.address] for host in five.hosts[1:3])
