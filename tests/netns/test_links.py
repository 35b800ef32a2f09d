"""The `Links` contract on the real kernel, with `ip -json` as the second opinion."""

import errno
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyroute2 import IPRoute

from tests.support.links_conformance import Env, LinksConformance, bridge, codes
from tests.support.netns import Namespace
from towline.kernel.contract import HostRoute
from towline.kernel.netlink import Ack, Message, NetlinkSocket, Overrun
from towline.kernel.rtnl import FIRST_INDEX, RtnlLinks
from towline.kernel.sysctl import ProcSysctl


class Inside:
    """Every call of the target runs in the namespace's thread."""

    def __init__(self, ns: Namespace, target: object) -> None:
        self._ns = ns
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        return lambda *args: self._ns.call(method, *args)


@pytest.fixture
def links(ns: Namespace) -> Iterator[Any]:
    made = ns.call(RtnlLinks, ProcSysctl())
    yield Inside(ns, made)
    made.close()


@pytest.fixture
def env(ns: Namespace, links: Any) -> Env:
    def add_foreign(name: str, kind: str, cidr: str) -> None:
        ns.run(["ip", "link", "add", name, "type", kind])
        ns.run(["ip", "link", "set", name, "up"])
        if cidr:
            ns.run(["ip", "address", "add", cidr, "dev", name])

    return Env(links, Inside(ns, ProcSysctl()), add_foreign)


class TestRtnlLinks(LinksConformance):
    pass


def ip(ns: Namespace, *command: str) -> Any:
    return json.loads(ns.run(["ip", "-json", "-details", *command]))


def test_ip_sees_the_same(ns: Namespace, links: Any) -> None:
    wanted = bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=1400, off=False)
    assert links.create_bridges([wanted]) == [None]
    (seen,) = ip(ns, "address", "show", "br-a")
    assert (seen["ifname"], seen["linkinfo"]["info_kind"], seen["mtu"]) == ("br-a", "bridge", 1400)
    assert (seen["ifalias"], seen["address"]) == ("towline:network:br-a", wanted.mac)
    assert "UP" in seen["flags"]
    assert seen["ifindex"] >= FIRST_INDEX
    v4, v6 = (next(a for a in seen["addr_info"] if a["family"] == f) for f in ("inet", "inet6"))
    assert (v4["local"], v4["prefixlen"], v4["broadcast"], v4["scope"]) == ("10.1.0.1", 24, "10.1.0.255", "global")
    assert (v6["local"], v6["prefixlen"], v6.get("nodad"), v6.get("tentative")) == ("fd00:1::1", 64, True, None)
    assert v4["valid_life_time"] == v6["valid_life_time"] == 0xFFFFFFFF


def test_dump_agrees_with_pyroute2(ns: Namespace, links: Any) -> None:
    ns.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
    links.create_bridges([bridge(f"br-{i}", f"10.{i}.0.1/24", f"fd00:{i}::1/64", off=False) for i in range(1, 30)])
    ns.run(["ip", "link", "set", "v0", "master", "br-7", "up"])

    def oracle() -> dict[str, tuple[object, ...]]:
        with IPRoute() as route:
            addresses: dict[int, set[str]] = {}
            for a in route.get_addr():
                if not (a.get_attr("IFA_ADDRESS").startswith("fe80:") and a["family"] == 10):
                    addresses.setdefault(a["index"], set()).add(f"{a.get_attr('IFA_ADDRESS')}/{a['prefixlen']}")
            return {
                x.get_attr("IFLA_IFNAME"): (
                    x["index"],
                    (x.get_attr("IFLA_LINKINFO") or {}).get("kind") or _kind(x),
                    x.get_attr("IFLA_IFALIAS") or "",
                    bool(x["flags"] & 1),
                    x.get_attr("IFLA_MTU"),
                    x.get_attr("IFLA_ADDRESS"),
                    x.get_attr("IFLA_MASTER") or 0,
                    frozenset(addresses.get(x["index"], ())),
                )
                for x in route.get_links()
            }

    ours = {
        x.name: (x.index, x.kind, x.alias, x.up, x.mtu, x.mac, x.master, frozenset(x.addresses)) for x in links.dump()
    }
    assert ours == ns.call(oracle)
    assert len(ours) == 32


def _kind(message: Any) -> str:
    info = message.get_attr("IFLA_LINKINFO")
    return info.get_attr("IFLA_INFO_KIND") if info else ""


def test_a_taken_index_is_passed_over(ns: Namespace) -> None:
    ns.run(["ip", "link", "add", "foreign", "index", str(FIRST_INDEX + 5), "type", "bridge"])
    before = ip(ns, "address", "show", "foreign")
    made = ns.call(RtnlLinks, ProcSysctl(), first_index=FIRST_INDEX + 4)
    wanted = [bridge(f"br-{i}", f"10.{i}.0.1/24") for i in range(3)]
    assert ns.call(made.create_bridges, wanted) == [None] * 3
    assert ip(ns, "address", "show", "foreign") == before
    assert [ns.call(made.find, f"br-{i}").index - FIRST_INDEX for i in range(3)] == [4, 6, 7]
    made.close()


def test_a_port_does_not_lower_the_mtu_that_was_asked_for(ns: Namespace, links: Any) -> None:
    links.create_bridges([bridge("br-a", mtu=9000)])
    ns.run(["ip", "link", "add", "v0", "mtu", "1400", "type", "veth", "peer", "name", "v1"])
    ns.run(["ip", "link", "set", "v0", "master", "br-a"])
    assert links.find("br-a").mtu == 9000


def test_repair_asks_for_nothing_where_all_is_right(links: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=1400, off=False)
    links.create_bridges([wanted])
    sent: list[Message] = []
    monkeypatch.setattr(NetlinkSocket, "transact", lambda _self, messages: sent.extend(messages) or [])
    monkeypatch.setattr(ProcSysctl, "write", lambda _self, path, _value: pytest.fail(path))
    assert links.repair_bridges([wanted]) == [None]
    assert sent == []


def test_an_alternative_name_is_not_the_name(ns: Namespace, links: Any) -> None:
    ns.run(["ip", "link", "add", "eth9", "type", "bridge"])
    ns.run(["ip", "link", "property", "add", "dev", "eth9", "altname", "br-a"])
    assert links.find("br-a") is None
    assert links.remove(["br-a"]) == [None]
    assert links.find("eth9") is not None


def test_a_group_with_one_that_cannot_go_takes_the_others(ns: Namespace, links: Any) -> None:
    links.create_bridges([bridge("br-a"), bridge("br-b")])
    results = links.remove(["br-a", "lo", "br-b"])
    assert codes(results) == [0, errno.EOPNOTSUPP, 0]
    assert results[1].operation == "remove link lo"
    assert [x["ifname"] for x in ip(ns, "link")] == ["lo"]


def test_only_on_link_routes_of_the_main_table_count(ns: Namespace, links: Any) -> None:
    links.create_bridges([bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", off=False)])
    for route in (
        "10.8.0.0/16 dev br-a",
        "fd00:8::/48 dev br-a",
        "10.7.0.0/16 via 10.1.0.2",
        "default via 10.1.0.2",
        "10.6.0.0/16 dev br-a table 77",
        "blackhole 10.5.0.0/16",
        "default dev br-a metric 9",
    ):
        ns.run(["ip", "route", "add", *route.split()])
    ns.run(["ip", "address", "add", "10.4.0.1/16", "dev", "br-a", "noprefixroute"])
    index = links.find("br-a").index
    wanted = ("10.1.0.0/24", "fd00:1::/64", "10.8.0.0/16", "fd00:8::/48", "10.4.0.0/16")
    assert set(links.routes()) == {HostRoute(prefix, index) for prefix in wanted}


def test_a_hundred_bridges_in_one_call(ns: Namespace, links: Any) -> None:
    wanted = [bridge(f"br-{i}", f"10.1.{i}.1/24") for i in range(100)]
    assert links.create_bridges(wanted) == [None] * 100
    assert len(ip(ns, "link")) == 101


def test_no_bridge_is_ever_up_without_its_settings(links: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at its first write: what it leaves is marked, down, and told from a finished one."""
    monkeypatch.setattr(ProcSysctl, "write", lambda _self, path, _value: (_ for _ in ()).throw(SystemExit(path)))
    for off in (True, False):
        with pytest.raises(SystemExit):
            links.create_bridges([bridge(f"br-{off}", "10.1.0.1/24", off=off)])
        left = links.find(f"br-{off}")
        assert (left.up, left.alias) == (False, f"towline:network:br-{off}")
        assert left.accept_ra
        assert not left.ipv6_off


@pytest.mark.parametrize("failure", [Overrun(), OSError(errno.ENOMEM, "no memory")], ids=["overrun", "send"])
def test_every_verb_answers_per_item_when_the_socket_fails(
    links: Any, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    links.create_bridges([bridge("br-a"), bridge("br-b")])

    def fail(*_: object) -> list[Ack]:
        raise failure

    for method in ("transact", "get", "dump"):
        monkeypatch.setattr(NetlinkSocket, method, fail)
    code = failure.errno
    assert codes(links.create_bridges([bridge("br-c"), bridge("br-d")])) == [code] * 2
    assert codes(links.repair_bridges([bridge("br-a"), bridge("br-b")])) == [code] * 2
    assert codes(links.silence(["br-a", "br-b"])) == [code] * 2
    assert codes(links.remove(["br-a", "br-b"])) == [code] * 2
