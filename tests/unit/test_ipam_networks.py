"""Whole networks: what Docker shows for them, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.support.ipam import POOLS, UINT64_MAX, Ask, create, snapshot
from towline.ipam.default import DefaultIpam
from towline.ipam.networks import (
    release_network,
    subnet_status,
)
from towline.ipam.prefixes import PrefixSet
from towline.model.config import AddressPool
from towline.model.errors import Failure, Forbidden, InvalidParameter
from towline.model.network import Pool, SubnetStatus


@pytest.fixture
def driver() -> DefaultIpam:
    """As the recorded Docker: its default bridge has the first subnet."""
    driver = DefaultIpam(POOLS)
    create(driver, "bridge")
    return driver


RECORDED: list[tuple[list[Ask], dict[str, bool], list[Pool], list[tuple[int, int]]]] = [
    ([], {}, [Pool("10.0.1.0/24", gateway="10.0.1.1")], [(3, 253)]),
    ([Ask("10.60.0.0/16")], {}, [Pool("10.60.0.0/16", gateway="10.60.0.1")], [(3, 65533)]),
    (
        [Ask("10.61.0.0/24", "10.61.0.64/26")],
        {},
        [Pool("10.61.0.0/24", "10.61.0.64/26", "10.61.0.64")],
        [(3, 63)],
    ),
    (
        [Ask("fd00:77::/64"), Ask("10.62.0.0/24")],
        {"ipv6": True},
        [Pool("10.62.0.0/24", gateway="10.62.0.1"), Pool("fd00:77::/64", gateway="fd00:77::1")],
        [(3, 253), (2, UINT64_MAX - 1)],
    ),
    ([Ask("fd00:78::/64")], {}, [Pool("10.0.1.0/24", gateway="10.0.1.1")], [(3, 253)]),
    ([Ask("0.0.0.0/26")], {}, [Pool("10.0.1.0/26", gateway="10.0.1.1")], [(3, 61)]),
    ([Ask("10.63.0.0/30")], {}, [Pool("10.63.0.0/30", gateway="10.63.0.1")], [(3, 1)]),
    ([Ask("10.5.0.0/32")], {}, [Pool("10.5.0.0/32", gateway="10.5.0.0")], [(1, 0)]),
    ([Ask("10.5.0.0/31")], {}, [Pool("10.5.0.0/31", gateway="10.5.0.0")], [(1, 1)]),
    ([Ask("10.8.0.0/24", "10.8.0.5/32")], {}, [Pool("10.8.0.0/24", "10.8.0.5/32", "10.8.0.5")], [(3, 0)]),
    (
        [],
        {"ipv6": True},
        [Pool("10.0.1.0/24", gateway="10.0.1.1"), Pool("fd7a:65b3:b3df::/64", gateway="fd7a:65b3:b3df::1")],
        [(3, 253), (2, UINT64_MAX - 1)],
    ),
    (
        [],
        {"ipv4": False, "ipv6": True},
        [Pool("fd7a:65b3:b3df::/64", gateway="fd7a:65b3:b3df::1")],
        [(2, UINT64_MAX - 1)],
    ),
    (
        [Ask("fd00:77::/64")],
        {"ipv6": True},
        [Pool("fd00:77::/64", gateway="fd00:77::1"), Pool("10.0.1.0/24", gateway="10.0.1.1")],
        [(2, UINT64_MAX - 1), (3, 253)],
    ),
]


@pytest.mark.parametrize(("requests", "families", "pools", "status"), RECORDED)
def test_pools_and_status_as_docker_shows_them(
    driver: DefaultIpam,
    requests: list[Ask],
    families: dict[str, bool],
    pools: list[Pool],
    status: list[tuple[int, int]],
) -> None:
    network = create(driver, "a", *requests, **families)
    assert list(network.pools) == pools
    assert list(subnet_status(driver, network).items()) == [
        (pool.subnet, SubnetStatus(*counts)) for pool, counts in zip(pools, status, strict=True)
    ]


OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"
REFUSED: list[tuple[list[Ask], type[Exception], str]] = [
    ([Ask("10.60.0.0/24")], Forbidden, OVERLAP),
    ([Ask("10.0.0.0/8")], Forbidden, OVERLAP),
    ([Ask("10.5.0.0/24"), Ask("10.5.0.0/25")], Forbidden, OVERLAP),
    (
        [Ask("10.5.0.0/24", gateway="10.5.0.0")],
        Failure,
        "failed to allocate gateway (10.5.0.0): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", gateway="10.5.0.255")],
        Failure,
        "failed to allocate gateway (10.5.0.255): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", aux={"a": "10.5.0.1"})],
        Failure,
        "failed to allocate secondary ip address (a:10.5.0.1): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", aux={"a": "10.5.0.9", "b": "10.5.0.9"})],
        Failure,
        "failed to allocate secondary ip address (b:10.5.0.9): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24"), Ask("10.6.0.0/24", aux={"a": "10.7.0.1"})],
        Forbidden,
        "auxiliary address: (a:10.7.0.1) must belong to the master pool: 10.6.0.0/24",
    ),
    ([Ask("fd00:5::/128")], Failure, "failed to allocate gateway (): no available addresses on this pool"),
    (
        [Ask("0.0.0.0/24", "10.0.0.0/25")],
        Failure,
        'failed to parse pool request for address space "LocalDefault" pool "" subpool "10.0.0.0/25": '
        "invalid address subpool",
    ),
    (
        [Ask("10.5.0.0/24", "fd00::/80")],
        InvalidParameter,
        "pool and subpool are of incompatible address families",
    ),
]


@pytest.mark.parametrize(("requests", "kind", "text"), REFUSED, ids=[text for _, _, text in REFUSED])
def test_a_refusal_says_what_docker_says_and_leaves_nothing(
    driver: DefaultIpam, requests: list[Ask], kind: type[Exception], text: str
) -> None:
    create(driver, "a", Ask("10.60.0.0/16"))
    before = snapshot(driver, "bridge", "a")
    with pytest.raises(kind) as refused:
        create(driver, "x", Ask("10.99.0.0/24"), *requests, ipv6=True)
    assert str(refused.value) == text
    assert snapshot(driver, "bridge", "a", "x") == [*before, []]
    create(driver, "y", Ask("10.99.0.0/24", gateway="10.99.0.9"), Ask("10.5.0.0/24"), Ask("10.6.0.0/24"))


def test_given_back_pools_are_the_next_to_go() -> None:
    driver = DefaultIpam(POOLS)
    networks = [create(driver, str(number)) for number in range(5)]
    release_network(driver, networks[2], ())
    assert [create(driver, name).pools[0].subnet for name in ("p", "q")] == ["10.0.2.0/24", "10.0.5.0/24"]


def test_automatic_pools_of_this_host_avoid_its_prefixes_those_of_the_cluster_do_not() -> None:
    driver, in_use = DefaultIpam(POOLS), PrefixSet(["10.0.0.0/16"])
    assert create(driver, "a", in_use=in_use).pools[0].subnet == "10.1.0.0/24"
    assert create(driver, "b", in_use=in_use, scope="global").pools[0].subnet == "10.0.0.0/24"
    assert create(driver, "c", Ask("10.0.5.0/24"), in_use=in_use).pools[0].subnet == "10.0.5.0/24"


def test_a_skipped_gateway_is_taken_only_when_given(driver: DefaultIpam) -> None:
    network = create(driver, "a", skip_gateway4=True)
    assert network.pools[0].gateway == ""
    assert subnet_status(driver, network)["10.0.1.0/24"].used == 2
    assert (
        create(driver, "b", Ask("10.9.0.0/24", gateway="10.9.0.7"), skip_gateway4=True).pools[0].gateway == "10.9.0.7"
    )


def test_exhausted_predefined_pools_are_named_with_their_fill() -> None:
    driver = DefaultIpam((AddressPool("10.0.0.0/23", 24),))
    create(driver, "a")
    create(driver, "b")
    with pytest.raises(InvalidParameter) as refused:
        create(driver, "c")
    assert str(refused.value) == (
        "all predefined address pools have been fully subnetted: 10.0.0.0/23 in /24: 2 of 2 taken"
    )
