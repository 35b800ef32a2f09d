"""The `Tunnels` contract on the real kernel, with `ip` and `bridge` as the second opinion."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.netns.test_links import Inside
from tests.support.netns import Namespace, namespace, veth
from tests.support.polling import until
from tests.support.tunnels_conformance import VX, A, B, TunnelEnv, TunnelsConformance, held, make_bridges
from towline.kernel.contract import ELSEWHERE
from towline.kernel.rtnl import FIRST_INDEX, RtnlLinks
from towline.kernel.sysctl import ProcSysctl
from towline.kernel.vxlan import RtnlTunnels
from towline.model.desired import Row


@pytest.fixture
def links(ns: Namespace) -> Iterator[Any]:
    made = ns.call(RtnlLinks, ProcSysctl())
    yield Inside(ns, made)
    made.close()


@pytest.fixture
def tunnels(ns: Namespace, links: Any) -> Iterator[Any]:
    make_bridges(links)
    made = ns.call(lambda: RtnlTunnels(ipv6=True))
    yield Inside(ns, made)
    made.close()


@pytest.fixture
def tenv(tunnels: Any, links: Any) -> TunnelEnv:
    return TunnelEnv(tunnels, links)


class TestRtnlTunnels(TunnelsConformance):
    pass


def fdb(ns: Namespace) -> dict[str, dict[str, Any]]:
    found = json.loads(ns.run(["bridge", "-json", "fdb", "show", "dev", "vx-a"]))
    return {row["mac"]: row for row in found if "self" in row["flags"]}


def test_ip_sees_the_same(ns: Namespace, tunnels: Any) -> None:
    assert tunnels.create([VX]) == [None]
    (seen,) = json.loads(ns.run(["ip", "-json", "-details", "link", "show", "vx-a"]))
    data = seen["linkinfo"]["info_data"]
    assert (data["id"], data["local"], data["port"], data["ttl"]) == (4097, "192.0.2.1", 4789, 64)
    assert (data["learning"], data["proxy"], data["udp_csum"]) == (False, True, True)
    assert not {"group", "remote", "l2miss", "l3miss"} & data.keys()
    assert seen["ifindex"] >= FIRST_INDEX
    assert (seen["master"], seen["inet6_addr_gen_mode"]) == ("br-a", "none")
    assert fdb(ns) == {}


def test_rows_are_permanent_ones(ns: Namespace, tunnels: Any) -> None:
    assert tunnels.create([VX]) == [None]
    assert tunnels.set_rows("vx-a", [A], []) is None
    assert (fdb(ns)[A.mac]["dst"], fdb(ns)[A.mac]["state"]) == (A.vtep, "permanent")
    found = json.loads(ns.run(["ip", "-json", "neigh", "show", "dev", "vx-a"]))
    assert {(row["dst"], row["lladdr"], *row["state"]) for row in found} == {
        (x, A.mac, "PERMANENT") for x in A.addresses
    }


def test_rows_of_others_are_seen_and_can_be_removed(ns: Namespace, tunnels: Any) -> None:
    assert tunnels.create([VX]) == [None]
    assert tunnels.set_rows("vx-a", [A], []) is None
    for command in (
        "fdb add 02:00:00:00:00:99 dev vx-a self dst 192.0.2.7 port 9",
        "fdb append 00:00:00:00:00:00 dev vx-a self dst 192.0.2.7",
        "fdb append 00:00:00:00:00:00 dev vx-a self dst 192.0.2.8",
        "fdb add 02:00:00:00:00:97 dev vx-a self dst 192.0.2.7 dynamic",
        "fdb add 02:00:00:00:00:96 dev vx-a master static",
    ):
        ns.run(["bridge", *command.split()])
    ns.run(["ip", "neigh", "add", "10.0.0.9", "lladdr", "02:00:00:00:00:98", "dev", "vx-a", "nud", "permanent"])
    ns.run(["ip", "neigh", "add", "10.0.0.8", "lladdr", "02:00:00:00:00:98", "dev", "vx-a", "nud", "reachable"])
    foreign = {
        Row("02:00:00:00:00:99", ELSEWHERE),
        Row("00:00:00:00:00:00", "192.0.2.7"),
        Row("00:00:00:00:00:00", "192.0.2.8"),
        Row("02:00:00:00:00:98", "", ("10.0.0.9",)),
    }
    assert held(tunnels) == {A} | foreign
    assert tunnels.set_rows("vx-a", [], list(foreign)) is None
    assert held(tunnels) == {A}


def test_a_row_that_leads_elsewhere_is_replaced(ns: Namespace, tunnels: Any) -> None:
    assert tunnels.create([VX]) == [None]
    ns.run(["bridge", "fdb", "add", A.mac, "dev", "vx-a", "self", "dst", A.vtep, "port", "9"])
    assert tunnels.set_rows("vx-a", [A], []) is None
    assert held(tunnels) == {A}


def test_a_device_that_was_there_before_this_process(ns: Namespace, tunnels: Any) -> None:
    assert tunnels.create([VX]) == [None]
    assert tunnels.set_rows("vx-a", [A], []) is None
    heir = Row(B.mac, B.vtep, A.addresses)
    assert tunnels.set_rows("vx-a", [heir], []) is None
    later = ns.call(lambda: RtnlTunnels(ipv6=True))
    try:
        assert ns.call(later.set_rows, "vx-a", [], [A]) is None
    finally:
        later.close()
    assert held(tunnels) == {heir}


def test_more_rows_than_the_neighbour_tables_may_hold_of_others(ns: Namespace, tunnels: Any) -> None:
    """Permanent rows are not counted against gc_thresh3, which is of the whole machine."""
    limit = int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    rows = [
        Row(f"02:00:00:01:{i >> 8:02x}:{i & 255:02x}", "192.0.2.2", (f"10.1.{i >> 8}.{i & 255}", f"fd00:1::{i:x}"))
        for i in range(1, min(limit, 20000) + 500)
    ]
    assert tunnels.create([VX]) == [None]
    assert tunnels.set_rows("vx-a", rows, []) is None
    assert held(tunnels) == set(rows)
    assert tunnels.set_rows("vx-a", [structs.replace(row, vtep="192.0.2.3") for row in rows], []) is None
    assert {row.vtep for row in tunnels.rows("vx-a")} == {"192.0.2.3"}


def test_a_crash_in_the_middle_leaves_our_mark(ns: Namespace, tunnels: Any, links: Any) -> None:
    """What the kernel refuses (an alias that is too long) leaves nothing."""
    assert tunnels.create([structs.replace(VX, alias="x" * 300)]) != [None]
    assert links.find("vx-a") is None


def test_who_remembers_another_mac_is_set_right(ns: Namespace, tunnels: Any) -> None:
    """A container behind the bridge has sent to the former holder of both addresses."""
    with namespace() as container:
        veth(ns, "port", container, "eth0", b_address="10.0.0.9/24")
        ns.run(["ip", "link", "set", "port", "master", "br-a"])
        ns.run(["ip", "link", "set", "br-a", "up"])
        container.run(["ip", "address", "add", "fd00::9/64", "dev", "eth0", "nodad"])
        for address in A.addresses:
            remembered = ["lladdr", "02:00:00:00:00:ff", "dev", "eth0", "nud", "stale"]
            container.run(["ip", "neighbour", "add", address, *remembered])
        container.run(["sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0"])  # else nothing is believed for a second
        assert tunnels.announce("br-a", [A]) is None
        until(lambda: [_remembered(container, address) for address in A.addresses] == [A.mac, A.mac])


def _remembered(container: Namespace, address: str) -> str:
    (entry,) = json.loads(container.run(["ip", "-json", "neighbour", "show", address]))
    return str(entry["lladdr"])
