"""What a cluster of five hosts must come through by itself while its sandboxes talk: a node that is gone for longer
than the cluster waits for it, clocks that jump, a full disk and a full database of etcd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.boxes import connect, create, enter, remove, run, running
from tests.support.disk import Disk, tmpfs
from tests.support.equality_cluster import etcd_records, etcdctl, published, settled
from tests.support.five import LONG, Five, five_hosts, move, silence, talking, undisturbed
from tests.support.hasty_daemon import Clock, make_hasty
from tests.support.hosts import Host
from tests.support.polling import eventually, until

pytestmark = pytest.mark.timeout(300)
_GRACE, _QUOTA = 3.0, 16 << 20
_BALLAST = "x" * 1_000_000


class Hasty(Five):
    """Nodes are given up three seconds after they are down; etcd's databases and one manager's disk are small."""

    clocks: list[Clock]
    disk: Disk


@pytest.fixture(scope="module")
def five() -> Iterator[Hasty]:
    with ExitStack() as stack:
        made = stack.enter_context(five_hosts())
        clocks = [Clock(host.daemon) for host in made]
        for host in made:
            make_hasty(host.daemon, grace=_GRACE, quota=_QUOTA)
        disk = stack.enter_context(tmpfs(made[2].daemon, "400m"))
        whole = Hasty(*stack.enter_context(talking(made)))
        whole.clocks, whole.disk = clocks, disk
        yield whole


def node_id(host: Host) -> str:
    return str(host.daemon.http("GET", "/info").json["Swarm"]["NodeID"])


def endpoints_of(node: str, witness: Host) -> set[str]:
    found = published(etcd_records(witness))
    return {key for peers in found.values() for key, peer in peers.items() if peer["node"] == node}


def test_a_node_that_was_given_up_catches_up(five: Hasty) -> None:
    """A worker: its endpoints and blocks were taken back, and one of its addresses is another's by now."""
    away, other = five.hosts[4], five.hosts[3]
    asked = {"network": "wide", "ipv4": "10.9.200.9", "ipv6": "fd00:9::200:9"}
    with undisturbed((five.boxes[0], five.boxes[1]), (five.boxes[2], five.boxes[3])), ExitStack() as stack:
        run(away.daemon, "loser", asked)
        run(away.daemon, "local", "wide")
        run(other.daemon, "goner", "wide")
        five.settled()
        gone = node_id(away)
        assert len(endpoints_of(gone, five.hosts[0])) == 3
        local = stack.enter_context(closing(enter(away.daemon, "local")))
        away.cut()
        stack.callback(away.mend)
        with undisturbed((local, five.boxes[4])):
            until(lambda: not endpoints_of(gone, five.hosts[0]), LONG)
            remove(other.daemon, "goner")
            move(other, "heir", asked)
            run(five.hosts[1].daemon, "fresh", "wide")
            settled(five.managers, five.hosts[:4], LONG)
            assert silence(away) > 3 + _GRACE
            assert create(away.daemon, "none", "wide").status == 503
            away.mend()
            settled(five.managers, five.hosts, LONG)
        heir = stack.enter_context(closing(enter(other.daemon, "heir")))
        fresh = stack.enter_context(closing(enter(five.hosts[1].daemon, "fresh")))
        assert local.dial(heir.ipv4, 80)
        assert five.boxes[4].dial(fresh.ipv4, 80)
        assert five.boxes[0].dial(local.ipv4, 80)
    for host, name in ((away, "loser"), (away, "local"), (other, "heir"), (five.hosts[1], "fresh")):
        remove(host.daemon, name)
    five.settled()
    five.assert_traffic()


def _assert_skews(host: Host, wanted: dict[str, int]) -> None:
    """What a node's copy of the cluster says of the clocks, by address; 0 for those that are not named."""
    shown = host.daemon.http("GET", "/towline/v1/cluster").json
    found = {node["address"]: node["skew"] for node in shown["nodes"] if node["state"] == "ready"}
    for address, skew in found.items():
        assert skew is not None, found
        assert abs(skew - wanted.get(address, 0)) < 60, (host.address, found)


def test_clocks_jump(five: Hasty) -> None:
    """A manager's by an hour ahead, a worker's by an hour back: both are told, nobody is taken for gone, who joins and
    leaves meanwhile is known everywhere, and certificates that are made then are good then and afterwards."""
    ahead, behind = five.hosts[1], five.hosts[3]
    with undisturbed((five.boxes[0], five.boxes[2]), (five.boxes[1], five.boxes[4])):
        five.clocks[1].jump(3600)
        five.clocks[3].jump(-3600)
        for host in five.hosts:
            eventually(lambda host=host: _assert_skews(host, {ahead.address: 3600, behind.address: -3600}), LONG)
        told = behind.towline("cluster", "status")
        assert "3600" in told
        with running(ahead.daemon, "early", "wide") as early, running(behind.daemon, "late", "wide") as late:
            five.settled()
            assert early.dial(late.ipv4, 80)
        behind.docker("swarm", "leave", "--force")
        settled(five.managers, [host for host in five.hosts if host is not behind], LONG)
        behind.join(ahead)
        eventually(lambda: connect(behind.daemon, "wide", "w4"), LONG)
        five.boxes[3].close()
        five.boxes[3] = enter(behind.daemon, "w4")
        five.settled()
        for number in (1, 3):
            five.clocks[number].jump(0)
        eventually(lambda: _assert_skews(five.hosts[0], {}), LONG)
    five.settled()
    five.assert_traffic()


def test_the_disk_of_a_manager_is_full(five: Hasty) -> None:
    """etcd's and the daemon's: it answers, refuses what it cannot write, and others do not notice. On a busy machine it
    may be given up meanwhile, after three seconds of grace: so its own connections are not looked at."""
    full = five.hosts[2]
    with undisturbed((five.boxes[0], five.boxes[1]), (five.boxes[3], five.boxes[4])):
        five.disk.fill()
        with running(five.hosts[3].daemon, "meanwhile", "wide"):
            for _ in range(4):  # etcd has room for the first
                etcdctl(five.hosts[0], "put", "/other/ballast", input=_BALLAST)
            until(lambda: "no space left" in full.daemon.log, LONG)
            settled(five.managers[:2], [host for host in five.hosts if host is not full], LONG)
            assert full.daemon.http("GET", "/networks").status == 200
            assert create(full.daemon, "none", "wide").status >= 500
            five.disk.free()
            five.settled()
        five.settled()
    five.assert_traffic()


def test_the_database_of_etcd_is_full_of_history(five: Hasty) -> None:
    """It is made room in by itself."""
    with undisturbed((five.boxes[0], five.boxes[3]), (five.boxes[1], five.boxes[4])):
        put = ("put", "/other/ballast")
        told = "database space exceeded"
        until(lambda: told in etcdctl(five.hosts[0], *put, input=_BALLAST, complaints=True), LONG)
        with running(five.hosts[4].daemon, "meanwhile", "wide"):
            five.settled()
        until(lambda: not etcdctl(five.hosts[0], "alarm", "list", complaints=True), LONG)
        etcdctl(five.hosts[0], "del", "/other/ballast")
    five.settled()
    five.assert_traffic()
