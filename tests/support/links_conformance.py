"""What every `Links` must do. The unit ring runs it against the fake, the root ring against the kernel."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec import structs

from towline.kernel.contract import HostRoute, Links, Sysctl
from towline.model.desired import Bridge, network_alias
from towline.model.errors import KernelError


@dataclass(frozen=True)
class Env:
    """add_foreign(name, kind, cidr): a link that somebody else made, up; kind "bridge" or "veth"."""

    links: Links
    sysctl: Sysctl
    add_foreign: Callable[[str, str, str], None]


def bridge(name: str, *addresses: str, mtu: int = 0, mac: str = "02:42:0a:00:00:01", off: bool = True) -> Bridge:
    return Bridge(name, network_alias(name), mac, mtu, addresses, off)


def settings(links: Links, name: str) -> tuple[bool, bool, bool]:
    link = links.find(name)
    assert link is not None
    assert link in links.dump()
    return link.ipv6_off, link.accept_ra, link.route_localnet


def codes(results: list[KernelError | None]) -> list[int]:
    return [error.errno if error else 0 for error in results]


class LinksConformance:
    def test_a_bridge_has_all_that_was_asked_for(self, env: Env) -> None:
        wanted = bridge("br-a", "10.1.0.1/24", "10.1.1.1/25", mtu=1400)
        assert env.links.create_bridges([wanted]) == [None]
        link = env.links.find("br-a")
        assert link is not None
        assert (link.name, link.kind, link.alias, link.up) == ("br-a", "bridge", "towline:network:br-a", True)
        assert (link.mtu, link.mac, link.master) == (1400, wanted.mac, 0)
        assert set(link.addresses) == set(wanted.addresses)
        assert link in env.links.dump()

    def test_an_ipv4_bridge_has_no_ipv6_at_all(self, env: Env) -> None:
        assert env.links.create_bridges([bridge("br.dot", "10.1.0.1/24")]) == [None]
        assert env.sysctl.read("net/ipv6/conf/br.dot/disable_ipv6") == "1"

    def test_an_ipv6_bridge_takes_addresses_and_no_advertisements(self, env: Env) -> None:
        addresses = ("10.1.0.1/24", "fd00:1::1/64", "fe80::1/64")
        assert env.links.create_bridges([bridge("br6", *addresses, off=False)]) == [None]
        link = env.links.find("br6")
        assert link is not None
        assert set(link.addresses) == set(addresses)
        assert env.sysctl.read("net/ipv6/conf/br6/disable_ipv6") == "0"
        assert env.sysctl.read("net/ipv6/conf/br6/accept_ra") == "0"

    @pytest.mark.parametrize("localnet", [True, False])
    @pytest.mark.parametrize("off", [True, False])
    def test_a_link_says_its_settings(self, env: Env, off: bool, localnet: bool) -> None:
        env.sysctl.write("net/ipv4/conf/default/route_localnet", str(int(not localnet)))
        wanted = structs.replace(bridge("br-a", "10.1.0.1/24", off=off), route_localnet=localnet)
        assert env.links.create_bridges([wanted]) == [None]
        assert env.sysctl.read("net/ipv4/conf/br-a/route_localnet") == str(int(localnet))
        found_off, accept_ra, found_localnet = settings(env.links, "br-a")
        assert (found_off, found_localnet) == (off, localnet)
        assert off or not accept_ra

    @pytest.mark.parametrize(
        ("path", "value", "off"),
        [
            ("ipv6/conf/br-a/disable_ipv6", "0", True),
            ("ipv6/conf/br-a/disable_ipv6", "1", False),
            ("ipv6/conf/br-a/accept_ra", "1", False),
            ("ipv4/conf/br-a/route_localnet", "0", False),
        ],
    )
    def test_a_changed_setting_is_seen_and_repaired(self, env: Env, path: str, value: str, off: bool) -> None:
        wanted = structs.replace(bridge("br-a", "10.1.0.1/24", off=off), route_localnet=True)
        assert env.links.create_bridges([wanted]) == [None]
        before = settings(env.links, "br-a")
        env.sysctl.write(f"net/{path}", value)
        assert settings(env.links, "br-a") != before
        assert env.links.repair_bridges([wanted]) == [None]
        assert settings(env.links, "br-a") == before
        assert env.sysctl.read(f"net/{path}") != value

    @pytest.mark.parametrize("mtu", [68, 1000, 65535])
    def test_an_unusual_mtu(self, env: Env, mtu: int) -> None:
        assert env.links.create_bridges([bridge("br-a", "10.1.0.1/24", mtu=mtu)]) == [None]
        link = env.links.find("br-a")
        assert link is not None
        assert link.mtu == mtu

    def test_ipv6_works_where_the_host_switches_it_off_by_default(self, env: Env) -> None:
        env.sysctl.write("net/ipv6/conf/default/disable_ipv6", "1")
        assert env.links.create_bridges([bridge("br6", "fd00:1::1/64", "10.1.0.1/24", off=False)]) == [None]
        link = env.links.find("br6")
        assert link is not None
        assert set(link.addresses) == {"fd00:1::1/64", "10.1.0.1/24"}

    def test_without_a_mac_the_kernel_chooses_one(self, env: Env) -> None:
        assert env.links.create_bridges([bridge("br-a", mac="")]) == [None]
        link = env.links.find("br-a")
        assert link is not None
        assert len(link.mac) == 17

    def test_a_taken_name_is_refused_and_the_foreign_link_left_alone(self, env: Env) -> None:
        env.add_foreign("taken", "bridge", "10.9.0.1/24")
        before = env.links.find("taken")
        (error,) = env.links.create_bridges([bridge("taken", "10.1.0.1/24", mtu=1400)])
        assert error is not None
        assert (error.errno, error.operation) == (errno.EEXIST, "create bridge taken")
        assert env.links.find("taken") == before

    def test_one_bad_bridge_does_not_fail_its_neighbours(self, env: Env) -> None:
        wanted = [bridge("br-a", "10.1.0.1/24"), bridge("x" * 16), bridge("br-b", "10.2.0.1/24"), bridge("br-a")]
        assert codes(env.links.create_bridges(wanted)) == [0, errno.ERANGE, 0, errno.EEXIST]
        assert {link.name for link in env.links.dump()} >= {"br-a", "br-b"}

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("n" * 16, errno.ERANGE),
            ("n" * 100_000, errno.ERANGE),
            ("ä" * 8, errno.ERANGE),
            ("a/b", errno.EINVAL),
            ("a:b", errno.EINVAL),
            ("a b", errno.EINVAL),
            ("", errno.EINVAL),
            (".", errno.EINVAL),
            ("..", errno.EINVAL),
            ("br%d", errno.EINVAL),
            ("ab\0cd", errno.EINVAL),
        ],
    )
    def test_a_bad_name_is_refused_by_name(self, env: Env, name: str, code: int) -> None:
        before = env.links.dump()
        (error,) = env.links.create_bridges([bridge(name)])
        assert error is not None
        assert (error.errno, error.operation) == (code, f"create bridge {name}")
        assert env.links.dump() == before
        assert env.links.find(name) is None
        assert env.links.remove([name]) == [None]

    @pytest.mark.parametrize("mtu", [1, 67, 65536, 70000])
    def test_an_impossible_mtu_is_named_and_the_marked_link_left_to_the_caller(self, env: Env, mtu: int) -> None:
        (error,) = env.links.create_bridges([bridge("br-a", "10.1.0.1/24", mtu=mtu)])
        assert error is not None
        assert (error.errno, error.operation) == (errno.EINVAL, f"set mtu {mtu} on br-a")
        link = env.links.find("br-a")
        assert link is not None
        assert link.alias == "towline:network:br-a"
        assert env.links.remove(["br-a"]) == [None]
        assert env.links.find("br-a") is None

    def test_a_refused_address_is_named(self, env: Env) -> None:
        wanted = bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=1279, off=False)
        (error,) = env.links.create_bridges([wanted])
        assert error is not None
        assert (error.errno, error.operation) == (errno.EINVAL, "add address fd00:1::1/64 to br-a")

    def test_repair_brings_back_what_was_changed(self, env: Env) -> None:
        wanted = bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=1400, mac="02:42:0A:00:00:01", off=False)
        changed = Bridge("br-a", "other", "02:00:00:00:00:02", 1500, ("10.1.0.9/24",), True)
        assert env.links.create_bridges([wanted]) == [None]
        right = env.links.find("br-a")
        assert env.links.repair_bridges([changed]) == [None]
        assert env.links.silence(["br-a"]) == [None]
        assert env.links.repair_bridges([wanted]) == [None]
        repaired = env.links.find("br-a")
        assert repaired is not None
        assert right is not None
        assert set(repaired.addresses) == {*right.addresses, "10.1.0.9/24"}
        assert [getattr(repaired, f) for f in ("index", "alias", "up", "mtu", "mac")] == [
            getattr(right, f) for f in ("index", "alias", "up", "mtu", "mac")
        ]
        assert env.sysctl.read("net/ipv6/conf/br-a/disable_ipv6") == "0"

    def test_repair_leaves_addresses_that_somebody_added(self, env: Env) -> None:
        assert env.links.create_bridges([bridge("br-a", "10.1.0.9/24", "10.1.0.8/24")]) == [None]
        assert env.links.repair_bridges([bridge("br-a", "10.1.0.1/24", "10.2.0.1/24")]) == [None]
        link = env.links.find("br-a")
        assert link is not None
        assert set(link.addresses) == {"10.1.0.9/24", "10.1.0.8/24", "10.1.0.1/24", "10.2.0.1/24"}

    def test_repair_from_an_mtu_too_small_for_ipv6(self, env: Env) -> None:
        small = bridge("br-a", "10.1.0.1/24", mtu=1000)
        wanted = bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=1500, off=False)
        assert env.links.create_bridges([small]) == [None]
        assert env.links.repair_bridges([wanted]) == [None]
        assert env.sysctl.read("net/ipv6/conf/br-a/accept_ra") == "0"
        assert env.links.repair_bridges([bridge("br-a", "10.1.0.1/24")]) == [None]
        link = env.links.find("br-a")
        assert link is not None
        assert link.addresses == ("10.1.0.1/24",)
        assert env.sysctl.read("net/ipv6/conf/br-a/disable_ipv6") == "1"

    def test_repair_gives_a_bridge_its_name_back(self, env: Env) -> None:
        assert env.links.create_bridges([bridge("br-b", "10.1.0.1/24")]) == [None]
        before = env.links.find("br-b")
        wanted = Bridge("br-a", network_alias("br-b"), "02:42:0a:00:00:01", addresses=("10.1.0.1/24",), ipv6_off=True)
        assert env.links.repair_bridges([wanted]) == [None]
        assert env.links.find("br-b") is None
        after = env.links.find("br-a")
        assert before is not None
        assert after is not None
        assert (after.index, after.up, after.addresses) == (before.index, True, before.addresses)

    def test_repair_refuses_what_is_absent_or_no_bridge(self, env: Env) -> None:
        env.add_foreign("cable", "veth", "")
        assert codes(env.links.repair_bridges([bridge("nosuch"), bridge("cable")])) == [errno.ENODEV, errno.EEXIST]

    def test_silence_sets_down_and_names_what_is_absent(self, env: Env) -> None:
        env.links.create_bridges([bridge("br-a", "10.1.0.1/24"), bridge("br-b", "10.2.0.1/24")])
        results = env.links.silence(["br-a", "nosuch", "br-b", "x" * 16, ""])
        assert codes(results) == [0, errno.ENODEV, 0, errno.ERANGE, errno.ENODEV]
        assert {link.name: link.up for link in env.links.dump() if link.name.startswith("br-")} == {
            "br-a": False,
            "br-b": False,
        }

    def test_what_is_disowned_stays_as_it_is(self, env: Env) -> None:
        assert env.links.create_bridges([bridge("br-a", "10.1.0.1/24")]) == [None]
        before = env.links.find("br-a")
        assert before is not None
        assert codes(env.links.disown(["br-a", "nosuch"])) == [0, errno.ENODEV]
        assert env.links.find("br-a") == structs.replace(before, alias="")

    def test_remove_one_many_and_absent_ones(self, env: Env) -> None:
        names = [f"br-{i}" for i in range(5)]
        env.add_foreign("stays", "bridge", "10.9.0.1/24")
        assert env.links.create_bridges([bridge(name) for name in names]) == [None] * 5
        assert env.links.remove(names[:1]) == [None]
        assert env.links.remove([*names, "nosuch", names[1]]) == [None] * 7
        left = {link.name for link in env.links.dump()}
        assert "stays" in left
        assert not left & set(names)
        assert env.links.create_bridges([bridge(names[0])]) == [None]

    def test_routes_are_the_prefixes_in_use(self, env: Env) -> None:
        env.add_foreign("eth9", "bridge", "192.168.7.3/20")
        env.links.create_bridges([bridge("br-a", "10.1.0.1/24"), bridge("br6", "fd00:1::1/64", off=False)])
        index = {link.name: link.index for link in env.links.dump()}
        assert set(env.links.routes()) == {
            HostRoute("192.168.0.0/20", index["eth9"]),
            HostRoute("10.1.0.0/24", index["br-a"]),
            HostRoute("fd00:1::/64", index["br6"]),
        }

    def test_nothing_asked_nothing_done(self, env: Env) -> None:
        before = env.links.dump()
        links = env.links
        assert [links.create_bridges([]), links.repair_bridges([]), links.silence([]), links.remove([])] == [[]] * 4
        assert links.disown([]) == []
        assert links.dump() == before
