"""Static addresses of an overlay network on two hosts: anywhere, also right after another host gave one up, and who has
one that cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.support.boxes import create, remove, run, running
from tests.support.hosts import Host, hosts
from tests.support.polling import until

MAKE = ("network", "create", "-d", "overlay", "--attachable")


@pytest.fixture(scope="module")
def two() -> Iterator[list[Host]]:
    with hosts(2) as made:
        made[0].init()
        made[1].join(made[0], "worker")
        made[0].docker(*MAKE, "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64", "wide")
        made[0].docker(*MAKE, "--subnet", "10.8.0.0/29", "tiny")
        yield made


def asked(ipv4: str = "", ipv6: str = "") -> dict[str, str]:
    return {"network": "wide", "ipv4": ipv4, "ipv6": ipv6}


def test_low_static_addresses_are_free_on_every_host(two: list[Host]) -> None:
    with (
        running(two[0].daemon, "aa", "wide") as a,
        running(two[1].daemon, "bb", asked("10.9.0.100", "fd00:9::2")) as b,
        running(two[0].daemon, "cc", asked("10.9.0.101", "fd00:9::3")) as c,
    ):
        assert ip_address(b.ipv6) == ip_address("fd00:9::2")
        for family in (4, 6):
            assert a.dial(b.address(family), 80)
            assert b.dial(c.address(family), 80)


def test_an_address_moves_to_another_host_at_once(two: list[Host]) -> None:
    here, there = two
    for _ in range(5):
        run(here.daemon, "aa", asked("10.9.0.77", "fd00:9::77"))
        remove(here.daemon, "aa")
        run(there.daemon, "bb", asked("10.9.0.77", "fd00:9::77"))
        remove(there.daemon, "bb")


def test_a_refusal_names_who_has_it(two: list[Host]) -> None:
    with running(two[0].daemon, "aa", asked("10.9.0.50")) as a:
        until(lambda: "aa (" in str(create(two[1].daemon, "bb", asked("10.9.0.50")).json))
        refused = create(two[1].daemon, "bb", asked("10.9.0.50"))
        assert refused.status == 409
        text = refused.json["message"]
        endpoint = a.endpoint("wide")["id"][:12]
        assert text.startswith("Address already in use: 10.9.0.50 of network wide: ")
        assert f"aa ({endpoint}) on node" in text
        refused = create(two[0].daemon, "bb", asked("10.9.0.50"))
        assert refused.json["message"].startswith(
            f"Address already in use: 10.9.0.50 of network wide: aa ({endpoint}) on this node has it"
        )


def test_a_full_network_says_who_has_what(two: list[Host]) -> None:
    for number in range(5):  # .0, .1 (the gateway) and .7 are reserved
        run(two[number % 2].daemon, f"t{number}", "tiny")
    until(lambda: "uses 3" in str(create(two[1].daemon, "bb", "tiny").json))
    refused = create(two[1].daemon, "bb", "tiny")
    assert refused.status == 503
    assert "all of 10.8.0.0/29 of network tiny is leased" in refused.json["message"]
    assert "uses 2" in refused.json["message"]
