"""PrefixSet and Gaps against naive models."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.ipam.gaps import Gaps
from towline.ipam.prefix import Prefix, format_address, parse_address, parse_interface, parse_prefix
from towline.ipam.prefixes import PrefixSet

Network = IPv4Network | IPv6Network


def overlap(a: Network, b: Network) -> bool:
    return a.version == b.version and int(a[0]) <= int(b[-1]) and int(b[0]) <= int(a[-1])


@st.composite
def small_prefixes(draw: st.DrawFn) -> str:
    """Blocks of 10.0.0.0/26 or fd00::/122, so that they meet."""
    bits, base = draw(st.sampled_from([(32, "10.0.0.0"), (128, "fd00::")]))
    length = draw(st.integers(bits - 6, bits))
    host = draw(st.integers(0, 63)) >> bits - length << bits - length
    v6, start = parse_address(base)
    return str(Prefix(v6, start + host, length))


@given(st.lists(st.tuples(st.booleans(), small_prefixes()), max_size=40), small_prefixes(), st.integers(0, 7))
@settings(max_examples=300)
def test_prefix_set_equals_counted_networks(steps: list[tuple[bool, str]], probe: str, order: int) -> None:
    subject, model = PrefixSet(), Counter[str]()
    for adding, text in steps:
        if adding:
            subject.add(text)
            model[text] += 1
        else:
            subject.discard(text)
            model[text] = max(0, model[text] - 1)
    present = {text for text, count in model.items() if count}
    assert {str(prefix) for prefix in subject} == present
    assert len(subject) == len(present)
    assert list(subject) == sorted(subject)
    assert (probe in subject) == (probe in present)
    nets = [ip_network(text) for text in present]
    touching = {str(net) for net in nets if overlap(net, ip_network(probe))}
    assert subject.overlaps(probe) == bool(touching)
    found = subject.overlapping(probe)
    assert str(found) in touching if touching else found is None

    within = parse_prefix(probe)
    length = within.bits - order
    blocks: list[Network] = []
    if length >= within.length:
        blocks += ip_network(probe).subnets(new_prefix=length)
    free = [str(block) for block in blocks if not any(overlap(block, net) for net in nets)]
    assert str(subject.first_gap(within, length)) == (free[0] if free else "None")


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 127), st.integers(0, 40)), max_size=30),
    st.integers(0, 127),
    st.integers(0, 127),
    st.integers(0, 5),
)
@settings(max_examples=300)
def test_gaps_equal_a_set_of_integers(steps: list[tuple[bool, int, int]], start: int, end: int, order: int) -> None:
    subject, free = Gaps(127), set(range(128))
    for filling, low, length in steps:
        high = min(127, low + length)
        (subject.fill if filling else subject.clear)(low, high)
        block = set(range(low, high + 1))
        free = free - block if filling else free | block
    assert subject.is_free(min(start, end), max(start, end)) == (
        set(range(min(start, end), max(start, end) + 1)) <= free
    )
    assert {at for at in range(128) if subject.is_free(at, at)} == free
    size = 1 << order
    wanted = [at for at in range(0, 128, size) if at >= start and at + size - 1 <= end]
    expected = next((at for at in wanted if set(range(at, at + size)) <= free), None)
    assert subject.first_block(start, end, order) == expected


def test_members_that_nest_reappear_when_the_outer_one_goes() -> None:
    subject = PrefixSet(["10.0.0.0/8", "10.1.0.0/16", "192.168.1.7"])
    assert subject.overlaps("10.2.0.0/16")
    subject.discard("10.0.0.0/8")
    assert not subject.overlaps("10.2.0.0/16")
    assert subject.overlaps("10.1.255.0/24")
    assert subject.overlaps("192.168.1.0/24")


def test_an_inner_member_that_goes_leaves_the_outer_one() -> None:
    subject = PrefixSet(["10.0.0.0/8", "10.1.0.0/16"])
    subject.discard("10.1.0.0/16")
    assert subject.overlaps("10.1.2.0/24")
    assert str(subject.first_gap(parse_prefix("10.0.0.0/7"), 16)) == "11.0.0.0/16"


def test_a_wider_member_names_itself_before_the_inner_ones() -> None:
    subject = PrefixSet(["10.1.0.0/16", "10.0.0.0/8"])
    assert str(subject.overlapping("10.1.2.0/24")) == "10.0.0.0/8"


@given(st.integers(0, 2**128 - 1), st.booleans())
def test_address_texts_go_round(value: int, v6: bool) -> None:
    value &= 2**128 - 1 if v6 else 2**32 - 1
    assert parse_address(format_address(value, v6)) == (v6, value)


@pytest.mark.parametrize(
    ("text", "block", "address"),
    [
        ("10.5.0.7/24", "10.5.0.0/24", "10.5.0.7"),
        ("10.5.0.7", "10.5.0.7/32", "10.5.0.7"),
        ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0"),
        ("fd00:0:0::1/64", "fd00::/64", "fd00::1"),
    ],
)
def test_interfaces_are_read(text: str, block: str, address: str) -> None:
    prefix, value = parse_interface(text)
    assert (str(prefix), format_address(value, prefix.v6)) == (block, address)


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "10.0.0/8", "10.0.0.0/"])
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_prefix(text)
