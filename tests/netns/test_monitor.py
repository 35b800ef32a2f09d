"""Notifications of the real kernel: what others do is reported, what we do as far as the kernel says so is not."""

import errno
import select
import socket
from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.netns.test_netlink import BEGIN, END, NETFILTER, new_table
from tests.support.links_conformance import bridge
from tests.support.netns import Namespace
from towline.firewall import FOREIGN_CHAINS
from towline.kernel import rtnl_codec as codec
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
    made = ns.call(NetlinkMonitor, links_port=links.portid, nft_port=nft.portid, foreign=FOREIGN_CHAINS)
    yield made
    made.close()


def test_the_descriptors_wake_an_event_loop_and_nothing_blocks(ns: Namespace, monitor: NetlinkMonitor) -> None:
    assert monitor.read() == []
    ns.run(["nft", "add", "table", "inet", "towline"])
    assert select.select(monitor.filenos(), [], [], 5)[0] == [monitor.filenos()[1]]
    ns.run(["ip", "link", "add", "x", "type", "bridge"])
    assert len(select.select(monitor.filenos(), [], [], 5)[0]) == 2
    assert things(monitor) == {("rules", ""), ("links", "x")}
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
    (drift,) = (drift for drift in monitor.read() if (drift.kind, drift.name) == ("links", name))
    if any(word in command for word in ("alias", "mtu", "address 02")):
        now = ns.call(links.find, name)
        assert drift.link == structs.replace(now, addresses=())
    else:
        assert drift.link is None
    ns.run(["ip", "link", "show"])
    assert monitor.read() == []


def test_our_own_bridges_are_shown_as_they_are(ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor) -> None:
    wanted = [bridge("br-a", "10.1.0.1/24"), bridge("br-b", "10.2.0.1/24", "fd00:1::1/64", off=False)]
    assert ns.call(links.create_bridges, wanted) == [None, None]
    shown = [structs.replace(ns.call(links.find, b.name), addresses=()) for b in wanted]
    assert {drift.link for drift in monitor.read()} == set(shown)


def test_an_address_that_came_is_no_loss(ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor) -> None:
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24")])
    monitor.read()
    ns.run(["ip", "address", "add", "10.9.0.1/24", "dev", "br-a"])
    assert monitor.read() == []


def test_what_a_link_lost_is_not_forgotten_for_what_it_is_now(
    ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor
) -> None:
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24")])
    monitor.read()
    ns.run(["ip", "address", "delete", "10.1.0.1/24", "dev", "br-a"])
    ns.run(["ip", "link", "set", "br-a", "mtu", "1400"])
    assert monitor.read() == [Drift("links", "br-a")]


def test_what_is_read_together_is_told_by_the_last_news(
    ns: Namespace, links: RtnlLinks, monitor: NetlinkMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what was its name in between is told, where it matters: a link that went away under another one."""
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24"), bridge("br-b", "10.2.0.1/24")])
    monitor.read()
    decoded: list[int] = []
    parse = codec.parse_link
    monkeypatch.setattr(codec, "parse_link", lambda body: decoded.append(len(body)) or parse(body))
    for mtu in range(1400, 1410):
        ns.run(["ip", "link", "set", "br-b", "mtu", str(mtu)])
    (drift,) = monitor.read()
    assert drift.link is not None
    assert (drift.name, drift.link.mtu, len(decoded)) == ("br-b", 1409, 1)
    ns.run(["ip", "link", "set", "br-a", "name", "other"])
    ns.run(["ip", "link", "delete", "other"])
    assert things(monitor) == {("links", "br-a"), ("links", "other")}


def test_our_own_addresses_and_rules_are_not_reported(
    ns: Namespace, links: RtnlLinks, nft: NetlinkSocket, monitor: NetlinkMonitor
) -> None:
    ns.call(links.create_bridges, [bridge("br-a", "10.1.0.1/24")])
    monitor.read()
    assert ns.call(links.repair_bridges, [bridge("br-a", "10.1.0.1/24", "10.2.0.1/24")]) == [None]
    assert nft.batch(BEGIN, [new_table(f"towline{i}") for i in range(50)], END)
    assert not select.select(monitor.filenos()[1:], [], [], 0)[0]
    assert monitor.read() == []
    ns.run(["nft", "flush", "ruleset"])
    assert monitor.read() == [Drift("rules")]


SETUP = """
add table inet towline
add chain inet towline forward { type filter hook forward priority -10; }
add rule inet towline forward counter
add set inet towline bridges { type ifname; }
add element inet towline bridges { a }
add table inet foreign
add chain inet foreign forward { type filter hook forward priority 0; }
add chain inet foreign FORWARD
add set inet foreign towline { type ifname; }
add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; }
add chain ip filter OTHER
add rule ip filter FORWARD counter
add table inet firewalld
"""


@pytest.mark.parametrize(
    "command",
    [
        "add element inet towline bridges { b }",
        "delete element inet towline bridges { a }",
        "flush set inet towline bridges",
        "add set inet towline more { type ifname; }",
        "add rule inet towline forward accept",
        "flush chain inet towline forward",
        "chain inet towline forward { policy drop; }",
        "add chain inet towline more",
        "add counter inet towline some",
        "table inet towline { flags dormant; }",
        "delete table inet towline",
        "add table bridge towline",
        "flush ruleset",
        "add rule ip filter FORWARD accept",
        "flush chain ip filter FORWARD",
        "chain ip filter FORWARD { policy drop; }",
        "add chain ip6 filter FORWARD { type filter hook forward priority 0; }",
        "add chain inet firewalld filter_FORWARD { type filter hook forward priority 0; }",
    ],
)
def test_rules_that_concern_us(ns: Namespace, monitor: NetlinkMonitor, command: str) -> None:
    ns.run(["nft", "-f", "-"], input=SETUP)
    monitor.read()
    filler = "".join(f"add element inet foreign towline {{ x{i} }}\n" for i in range(500))
    before, after = filler, "add table inet another\n"
    if command == "flush ruleset":
        before = "add table ip6 filter\n"
    elif "ip6" in command:
        before += "add table ip6 filter\n"
    ns.run(["nft", "-f", "-"], input=before + command + "\n" + after)
    assert monitor.read() == [Drift("rules")]


@pytest.mark.parametrize(
    "command",
    [
        "add element inet foreign towline { b }",
        "add rule inet foreign forward drop",
        "add rule inet foreign FORWARD drop",
        "chain inet foreign forward { policy drop; }",
        'add rule ip filter OTHER drop comment "towline"',
        "add chain ip filter towline",
        "add table inet t2",
        "delete table inet foreign",
        "add table ip nat; add chain ip nat FORWARD; add rule ip nat FORWARD accept",
    ],
)
def test_what_others_do_in_their_own_tables_is_not_ours(ns: Namespace, monitor: NetlinkMonitor, command: str) -> None:
    ns.run(["nft", "-f", "-"], input=SETUP)
    monitor.read()
    ns.run(["nft", *command.split(" ")])
    assert select.select(monitor.filenos(), [], [], 5)[0] == [monitor.filenos()[1]]
    assert monitor.read() == []


def test_without_a_port_of_ours_every_process_is_another(ns: Namespace, nft: NetlinkSocket) -> None:
    made = ns.call(NetlinkMonitor)
    assert nft.batch(BEGIN, [new_table("towline")], END)
    assert made.read() == [Drift("rules")]
    made.close()


def things(monitor: NetlinkMonitor) -> set[tuple[str, str]]:
    return {(drift.kind, drift.name) for drift in monitor.read()}


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
    assert monitor.read() == [Drift("routes")]
    ns.run(["ip", "route", "add", "10.8.0.0/16", "dev", "eth9"])
    assert monitor.read() == [Drift("routes")]
    ns.run(["ip", "route", "add", "10.8.0.0/16", "dev", "eth9", "table", "77"])
    assert monitor.read() == []


@pytest.mark.parametrize("which", [0, 1])
def test_lost_notifications_are_said_to_be_lost(ns: Namespace, monitor: NetlinkMonitor, which: int) -> None:
    sock = socket.socket(fileno=socket.dup(monitor.filenos()[which]))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.close()
    ns.run(["sh", "-c", "for i in $(seq 20); do ip link add b$i type bridge; nft add table inet towline$i; done"])
    assert Drift("overrun") in monitor.read()
    ns.run(["nft", "add", "table", "inet", "towline"])
    assert monitor.read() == [Drift("rules")]


def test_closed_means_closed(monitor: NetlinkMonitor) -> None:
    monitor.close()
    with pytest.raises(OSError) as caught:
        monitor.read()
    assert caught.value.errno == errno.EBADF
