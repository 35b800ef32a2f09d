"""Subnets: Docker's table of overlaps, automatic blocks against a naive search, and how exhaustion is told."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.ipam.errors import PoolOverlap
from towline.ipam.pools import Pools, local_pools, ula_pool
from towline.ipam.prefix import parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.config import GLOBAL_POOLS, LOCAL_POOLS, AddressPool
from towline.model.errors import InvalidParameter

NONE_LEFT = "all predefined address pools have been fully subnetted"


def take(pools: Pools, text: str) -> None:
    """`subnet` or `subnet|range`."""
    subnet, _, ip_range = text.partition("|")
    pools.take(parse_prefix(subnet), parse_prefix(ip_range) if ip_range else None)


@pytest.mark.parametrize(
    ("before", "asked", "granted"),
    [
        (["10.60.0.0/16"], "10.60.0.0/16", False),
        (["10.60.0.0/16"], "10.60.0.0/24", False),
        (["10.60.0.0/16"], "10.0.0.0/8", False),
        (["10.60.0.0/16"], "10.61.0.0/16", True),
        (["10.60.0.0/16"], "10.60.0.0/16|10.60.1.0/24", True),
        (["10.60.0.0/16"], "10.60.0.0/24|10.60.0.0/25", True),
        (["10.60.0.0/16|10.60.1.0/24"], "10.60.0.0/16|10.60.2.0/24", True),
        (["10.60.0.0/16|10.60.1.0/24"], "10.60.0.0/16|10.60.1.0/25", True),
        (["10.60.0.0/16|10.60.1.0/24"], "10.60.0.0/16|10.60.1.0/24", False),
        (["10.60.0.0/16|10.60.1.0/24"], "10.60.0.0/16", False),
        (["10.60.0.0/16|10.60.1.0/24"], "10.60.9.0/24", False),
        (["10.60.0.0/16|10.60.1.0/24"], "10.0.0.0/8|10.60.1.0/24", True),
    ],
)
def test_given_subnets(before: list[str], asked: str, granted: bool) -> None:
    pools = Pools((), v6=False)
    for text in before:
        take(pools, text)
    if granted:
        take(pools, asked)
        return
    with pytest.raises(
        PoolOverlap, match="^invalid pool request: Pool overlaps with other one on this address space$"
    ) as refused:
        take(pools, asked)
    assert refused.value.subnet == before[0].partition("|")[0]


def test_a_shared_subnet_is_free_when_its_last_user_goes() -> None:
    pools, subnet = Pools((), v6=False), parse_prefix("10.60.0.0/24")
    ranges = [parse_prefix("10.60.0.0/26"), parse_prefix("10.60.0.64/26")]
    pools.take(subnet)
    for ip_range in ranges:
        pools.take(subnet, ip_range)
    assert not pools.release(subnet)
    assert not pools.release(subnet, ranges[1])
    with pytest.raises(PoolOverlap):
        pools.take(subnet)
    assert pools.release(subnet, ranges[0])
    pools.take(subnet)
    pools.take(subnet, ranges[0])
    assert not pools.release(subnet, ranges[0])
    with pytest.raises(PoolOverlap):
        pools.take(subnet)


def test_dockers_default_pools_in_their_order() -> None:
    pools = Pools(LOCAL_POOLS, v6=False)
    blocks = [str(pools.allocate()) for _ in range(31)]
    assert blocks[:15] == [f"172.{second}.0.0/16" for second in range(17, 32)]
    assert blocks[15:] == [f"192.168.{third}.0/20" for third in range(0, 256, 16)]
    with pytest.raises(InvalidParameter) as refused:
        pools.allocate()
    assert str(refused.value).startswith(f"{NONE_LEFT}: 172.17.0.0/16 in /16: 1 of 1 taken, 172.18.0.0/16 in /16: 1 of")
    assert str(refused.value).endswith("192.168.0.0/16 in /20: 16 of 16 taken")


def test_automatic_subnets_avoid_what_the_host_uses() -> None:
    pools = Pools(LOCAL_POOLS, v6=False)
    used = PrefixSet(["172.17.0.9/32", "172.18.0.0/15", "172.20.128.0/17", "172.22.3.0/24"])
    assert [str(pools.allocate(exclude=used)) for _ in range(2)] == ["172.21.0.0/16", "172.23.0.0/16"]


@pytest.mark.parametrize(
    ("length", "expected"), [(26, "10.0.0.0/26"), (8, "10.0.0.0/8"), (0, "10.0.0.0/24"), (32, "10.0.0.0/32")]
)
def test_blocks_of_a_wanted_length(length: int, expected: str) -> None:
    assert str(Pools(GLOBAL_POOLS, v6=False).allocate(length)) == expected


def test_a_block_that_no_pool_can_hold() -> None:
    with pytest.raises(InvalidParameter, match="^invalid address pool: no IPv4 address pool is large enough for a /7$"):
        Pools(GLOBAL_POOLS, v6=False).allocate(7)
    with pytest.raises(InvalidParameter, match="^invalid address pool: no IPv6 address pool is configured$"):
        Pools(GLOBAL_POOLS, v6=True).allocate()


def test_nested_predefined_pools_are_left_out() -> None:
    pools = Pools([AddressPool("10.0.0.0/30", 32), AddressPool("10.0.0.0/31", 32), AddressPool("fd00::/8", 64)], False)
    assert [str(pools.allocate()) for _ in range(4)] == [f"10.0.0.{last}/32" for last in range(4)]
    with pytest.raises(InvalidParameter, match="4 of 4 taken$"):
        pools.allocate()


def test_large_ipv6_blocks_are_found_at_once() -> None:
    pools = Pools([AddressPool("fd00::/8", 64)], v6=True)
    assert [str(pools.allocate()) for _ in range(3)] == ["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:2::/64"]
    assert str(pools.allocate(9)) == "fd80::/9"


def test_configured_pools_replace_the_builtin_ones_of_their_family() -> None:
    v4, v6 = AddressPool("10.9.0.0/16", 24), AddressPool("fd11::/48", 64)
    assert local_pools((), "id") == (*LOCAL_POOLS, ula_pool("id"))
    assert local_pools((v4,), "id") == (v4, ula_pool("id"))
    assert local_pools((v6,), "id") == (*LOCAL_POOLS, v6)


def test_the_unique_local_pool_follows_the_daemons_id() -> None:
    """sha256("abc") begins ba7816bf 8f01cfea: the low 40 bits of that make the global id."""
    assert ula_pool("abc") == AddressPool("fdbf:8f01:cfea::/48", 64)
    assert ula_pool("abd") != ula_pool("abc")


def blocks_of(text: str, min_length: int) -> st.SearchStrategy[str]:
    parent = ip_network(text)
    return st.integers(min_length, 32).flatmap(
        lambda length: st.integers(0, 2 ** (length - parent.prefixlen) - 1).map(
            lambda index: f"{parent[index << 32 - length]}/{length}"
        )
    )


@given(
    st.lists(blocks_of("10.0.0.0/24", 25), max_size=12),
    st.lists(blocks_of("10.0.0.0/24", 24), max_size=6),
    st.lists(st.tuples(st.sampled_from([0, 25, 26, 27, 28, 30, 32]), st.booleans()), max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_automatic_blocks_equal_a_naive_search(
    given_blocks: list[str], used: list[str], requests: list[tuple[int, bool]]
) -> None:
    pools = Pools([AddressPool("10.0.0.128/25", 28), AddressPool("10.0.0.0/25", 27)], v6=False)
    exclude = PrefixSet(used)
    taken: list[IPv4Network] = []
    for text in given_blocks:
        block = IPv4Network(text)
        if any(block.overlaps(other) for other in taken):
            with pytest.raises(PoolOverlap):
                pools.take(parse_prefix(text))
        else:
            pools.take(parse_prefix(text))
            taken.append(block)
    for length, give_back in requests:
        busy = [*taken, *map(IPv4Network, used)]
        candidates = [
            block
            for base, own in ((IPv4Network("10.0.0.0/25"), 27), (IPv4Network("10.0.0.128/25"), 28))
            for block in base.subnets(new_prefix=length or own)
        ]
        free = [block for block in candidates if not any(block.overlaps(other) for other in busy)]
        if not free:
            with pytest.raises(InvalidParameter, match=f"^{NONE_LEFT}: "):
                pools.allocate(length, exclude)
            continue
        assert str(pools.allocate(length, exclude)) == str(free[0])
        taken.append(free[0])
        if give_back:
            pools.release(parse_prefix(str(taken.pop(0))))
