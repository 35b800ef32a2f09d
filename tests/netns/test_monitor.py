"""Notifications of the real kernel: what others do is reported, what we do as far as the kernel says so is not."""

import errno
import select
import socket
from collections.abc import Iterator

import pytest

from tests.netns.test_netlink import BEGIN, END, NETFILTER, new_table
from tests.support.links_conformance import bridge
from tests.support.netns import Namespace
from towline.kernel.contract import Drift
from towline.kernel.monitor import NetlinkMonitor
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sysctl import ProcSysctl


@pytest.fixture
def links(ns: Namespace) -> Iterator[RtnlLinks]:
    made = ns.call(RtnlLinks, ProcSysctl())
    yield made
    made.close()


@pytest.fixture
def nft(ns: Namespace) -> Iterator[NetlinkSocket]:
    made = ns.call(NetlinkSocket, NETFILTER)
    yield made
    made.close()


@pytest.fixture
def monitor(ns: Namespace, links: RtnlLinks, nft: NetlinkSocket) -> Iterator[NetlinkMonitor]:
    made = ns.call(NetlinkMonitor, links_port=links.portid, nft_port=nft.portid)
    yield made
    made.close()


def test_the_descriptors_wake_an_event_loop_and_nothing_blocks(ns: Namespace, monitor: NetlinkMonitor) -> None:
    assert monitor.read() == []
    ns.run(["nft", "add", "table", "inet", "t"])
    assert select.select(monitor.filenos(), [], [], 5)[0] == [monitor.filenos()[1]]
    ns.run(["ip", "link", "add", "x", "type", "bridge"])
    assert len(select.select(monitor.filenos(), [], [], 5)[0]) == 2
    assert set(monitor.read()) == {Drift("rules"), Drift("links", "x")}
    assert not select.select(monitor.filenos(), [], [], 0)[0]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("ip link set br-a down", "br-a"),
        ("ip link set br-a alias other", "br-a"),
        ("ip link set br-a mtu 1400", "br-a"),
        ("ip link set br-a address 02:00:00:00:00:77", "br-a"),
        ("ip link delete br-a", "br-a"),
        ("ip link set br-a name stolen", "br-a"),
        ("ip address add 10.9.0.1/24 dev br-a", "br-a"),
        ("ip address delete 10.1.0.1/24 dev br-a", "br-a"),
        ("ip address delete fd00:1::1/64 dev br-a", "br-a"),
    ],
)
def test_a_foreign_change_of_our_link_is_reported_once(
    ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor, command: str, name: str
) -> None:
    assert ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", off=False)]) == [None]
    monitor.read()
    ns.run(command.split())
    assert monitor.read().count(Drift("links", name)) == 1
    ns.run(["ip", "link", "show"])
    assert monitor.read() == []


def test_our_own_addresses_and_rules_are_not_reported(
    ns: Namespace, links: RtnlLinks, nft: NetlinkSocket, monitor: NetlinkMonitor
) -> None:
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24")])
    monitor.read()
    assert ns.call(links.repair_bridges, [bridge("br-a", "10.1.0.1/24", "10.2.0.1/24")]) == [None]
    assert nft.batch(BEGIN, [new_table(f"t{i}") for i in range(50)], END)
    assert monitor.read() == []
    ns.run(["nft", "flush", "ruleset"])
    assert monitor.read() == [Drift("rules")]


def test_the_hosts_routes_are_reported_and_those_of_our_links_are_not(
    ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor
) -> None:
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", off=False)])
    ns.call(links.remove, ["br-a"])
    assert Drift("routes") not in monitor.read()
    ns.run(["ip", "link", "add", "eth9", "type", "bridge"])
    ns.run(["ip", "link", "set", "eth9", "up"])
    monitor.read()
    ns.run(["ip", "address", "add", "192.168.7.1/24", "dev", "eth9"])
    assert set(monitor.read()) == {Drift("links", "eth9"), Drift("routes")}
    ns.run(["ip", "route", "add", "10.8.0.0/16", "dev", "eth9"])
    assert monitor.read() == [Drift("routes")]
    ns.run(["ip", "route", "add", "10.8.0.0/16", "dev", "eth9", "table", "77"])
    assert monitor.read() == []


@pytest.mark.parametrize("which", [0, 1])
def test_lost_notifications_are_said_to_be_lost(ns: Namespace, monitor: NetlinkMonitor, which: int) -> None:
    sock = socket.socket(fileno=socket.dup(monitor.filenos()[which]))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.close()
    ns.run(["sh", "-c", "for i in $(seq 20); do ip link add b$i type bridge; nft add table inet t$i; done"])
    assert Drift("overrun") in monitor.read()
    ns.run(["nft", "add", "table", "inet", "after"])
    assert monitor.read() == [Drift("rules")]


def test_closed_means_closed(monitor: NetlinkMonitor) -> None:
    monitor.close()
    with pytest.raises(OSError) as caught:
        monitor.read()
    assert caught.value.errno == errno.EBADF
