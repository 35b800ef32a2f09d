"""Notifications about rows of VXLAN devices: what others do to ours is reported, and nothing else."""

import select
from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.support.netns import Namespace
from tests.support.tunnels_conformance import VX, A, B, make_bridges
from towline.kernel.contract import Drift
from towline.kernel.monitor import NetlinkMonitor
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sysctl import ProcSysctl
from towline.kernel.vxlan import RtnlTunnels
from towline.model.desired import Row

ROWS = Drift("rows", "vx-a")


@pytest.fixture
def links(ns: Namespace) -> Iterator[RtnlLinks]:
    made = ns.call(RtnlLinks, ProcSysctl())
    yield made
    made.close()


@pytest.fixture
def tunnels(ns: Namespace, links: RtnlLinks) -> Iterator[RtnlTunnels]:
    made = ns.call(lambda: RtnlTunnels(ipv6=True))
    ns.call(make_bridges, links)
    assert ns.call(made.create, [VX]) == [None]
    assert ns.call(made.set_rows, "vx-a", [A, B], []) is None
    yield made
    made.close()


@pytest.fixture
def monitor(ns: Namespace, tunnels: RtnlTunnels) -> Iterator[NetlinkMonitor]:
    made = ns.call(NetlinkMonitor, known=tunnels.known, rows_port=tunnels.portid)
    yield made
    made.close()


def rows(monitor: NetlinkMonitor) -> list[Drift]:
    return [drift for drift in monitor.read() if drift.kind == "rows"]


@pytest.mark.parametrize(
    "command",
    [
        f"bridge fdb delete {A.mac} dev vx-a self dst {A.vtep}",
        f"bridge fdb replace {A.mac} dev vx-a self dst 192.0.2.66",
        "bridge fdb add 02:00:00:00:00:99 dev vx-a self dst 192.0.2.66",
        "bridge fdb append 00:00:00:00:00:00 dev vx-a self dst 192.0.2.66",
        "ip neigh delete 10.0.0.2 dev vx-a",
        "ip neigh delete fd00::2 dev vx-a",
        "ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:99 dev vx-a nud permanent",
        "ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev vx-a nud permanent",
        "ip link set vx-a down",
    ],
)
def test_what_others_do_is_reported_once(ns: Namespace, monitor: NetlinkMonitor, command: str) -> None:
    ns.run(command.split())
    assert rows(monitor) == [ROWS]
    assert rows(monitor) == []


def test_what_we_do_wakes_nobody_or_is_no_drift(ns: Namespace, tunnels: RtnlTunnels, monitor: NetlinkMonitor) -> None:
    moved = structs.replace(A, vtep="192.0.2.9")
    many = [Row(f"02:00:00:02:00:{i:02x}", "192.0.2.9", (f"10.0.2.{i}", f"fd00:2::{i:x}")) for i in range(1, 200)]
    for puts, gone in (([moved, *many], [A]), ([A], []), ([], [A, *many]), ([A], [])):
        assert ns.call(tunnels.set_rows, "vx-a", puts, gone) is None
        assert rows(monitor) == []
    addresses = Row(A.mac, "", ("10.0.0.77", "fd00::77"))
    assert ns.call(tunnels.set_rows, "vx-a", [addresses], []) is None
    assert not select.select(monitor.filenos()[2:], [], [], 0)[0]
    assert ns.call(tunnels.silence, ["vx-a"]) == [None]
    assert rows(monitor) == []


def test_rows_of_other_links_wake_nobody(ns: Namespace, monitor: NetlinkMonitor) -> None:
    for command in (
        "ip link add foreign type vxlan id 9 dstport 9999 local 192.0.2.1",
        "ip link set foreign up",
        "bridge fdb append 02:00:00:00:00:99 dev foreign dst 192.0.2.66",
        "ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev foreign nud permanent",
        "ip neigh add 10.0.0.98 lladdr 02:00:00:00:00:99 dev br-a nud reachable",
        "ip neigh add 10.0.0.98 lladdr 02:00:00:00:00:99 dev vx-a nud reachable",
    ):
        ns.run(command.split())
    assert not select.select(monitor.filenos()[2:], [], [], 0)[0]
    assert rows(monitor) == []


def test_a_device_that_was_there_before_is_watched_once_it_was_read(
    ns: Namespace, tunnels: RtnlTunnels, links: RtnlLinks
) -> None:
    later = ns.call(lambda: RtnlTunnels(ipv6=True))
    watching = ns.call(NetlinkMonitor, known=later.known, rows_port=later.portid)
    try:
        ns.run(["ip", "neigh", "delete", "10.0.0.2", "dev", "vx-a"])
        assert rows(watching) == []
        ns.call(later.rows, "vx-a")
        ns.run(["ip", "neigh", "delete", "10.0.0.3", "dev", "vx-a"])
        assert rows(watching) == [ROWS]
        assert ns.call(links.remove, ["vx-a"]) == [None]
        watching.read()
        assert later.known.device(ns.call(links.find, "br-a").index) is None
        assert ns.call(tunnels.create, [VX]) == [None]
        assert rows(watching) == []
    finally:
        watching.close()
        later.close()
