"""The nftables codec, where the kernel would not complain: what `nft` needs to print, splitting, and its limits."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kernel import nft_codec as codec
from towline.kernel import nft_decode as decode
from towline.kernel.netlink import iter_attrs, parse_attrs
from towline.kernel.nft_types import definition, layout, set_userdata, text_userdata
from towline.model.ruleset import Chain, Element, Hook, Rule, Set, TableId, Verdict

INET = TableId("inet", "towline")

# Recorded from nft 1.0.6 (--debug=mnl), without the part that says how to merge elements.
RECORDED_USERDATA = [
    (("ifname",), (), "000401000000"),
    (("ifname", "ifname"), (), "000400000000"),
    (("ifname",), ("ipv4_addr",), "000401000000010402000000"),
]
RECORDED_TYPES = [
    (("ifname",), 0x29, 16),
    (("ifname", "ifname"), 0xA69, 32),
    (("ifname", "inet_proto", "ipv4_addr", "inet_service"), 0xA4C1CD, 28),
    (("ipv4_addr", "inet_proto", "inet_service"), 0x730D, 12),
    (("ifname", "@th,64,64", "@th,128,64"), 0x29104, 32),
]
RECORDED_TYPEOF = bytes.fromhex(
    "0368 00040d000000 0160"  # a concatenation of
    "000e 000409000000 0106 000406000000"  # meta iifname
    "0126 000407000000 011e 000400000000 010400000000 020403000000 030440000000 040440000000"  # @th,64,64
    "0226 000407000000 011e 000400000000 010400000000 020403000000 030480000000 040440000000"  # @th,128,64
)


@pytest.mark.parametrize(("key", "data", "recorded"), RECORDED_USERDATA)
def test_userdata_as_nft_writes_it(key: tuple[str, ...], data: tuple[str, ...], recorded: str) -> None:
    assert set_userdata(key, data, "").startswith(bytes.fromhex(recorded))


@pytest.mark.parametrize(("types", "number", "length"), RECORDED_TYPES)
def test_type_numbers_as_nft_counts_them(types: tuple[str, ...], number: int, length: int) -> None:
    assert layout(types)[:2] == (number, length)


def test_raw_bits_are_described_by_expressions_as_nft_does() -> None:
    made = set_userdata(("ifname", "@th,64,64", "@th,128,64"), (), "")
    assert made.endswith(RECORDED_TYPEOF)


@pytest.mark.parametrize("types", [(), ("nonsense",), ("ifname", "nonsense")])
def test_unknown_types(types: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="unknown nftables data type"):
        layout(types)


def test_raw_bits_beside_another_type() -> None:
    with pytest.raises(ValueError, match="cannot stand beside"):
        set_userdata(("ipv4_addr", "@th,64,64"), (), "")


def test_a_comment_has_at_most_128_bytes() -> None:
    assert text_userdata(0, "x" * 128)[1] == 129
    with pytest.raises(ValueError, match="longer than 128"):
        text_userdata(0, "é" * 65)


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=4, max_size=4)), min_size=1))
def test_elements_read_back(pairs: list[tuple[bytes, bytes]]) -> None:
    steps = list(codec.add_elements(Element(INET, "m", key, data) for key, data in pairs))
    assert [step.operation for step in steps] == ["add elements to set inet towline m"]
    assert decode.elements(steps[0].message.body) == dict(pairs)


def test_elements_of_several_sets_are_grouped() -> None:
    elements = [Element(INET, name, bytes(16)) for name in ("a", "b", "a")]
    steps = list(codec.delete_elements(elements))
    assert [step.operation.split()[-1] for step in steps] == ["a", "b"]
    assert [len(list(iter_attrs(parse_attrs(s.message.body[4:])[3]))) for s in steps] == [2, 1]


def test_long_lists_are_split_below_the_length_of_an_attribute() -> None:
    many = [Element(INET, "m", struct.pack("I12x", number), bytes(6)) for number in range(20_000)]
    steps = list(codec.add_elements(many))
    lists = [parse_attrs(step.message.body[4:])[3] for step in steps]
    assert max(map(len, lists)) < 65_000
    found: dict[bytes, bytes] = {}
    for step in steps:
        found |= decode.elements(step.message.body)
    assert list(found) == [element.key for element in many]


def test_definitions_read_back() -> None:
    item = Set("ports", ("ipv4_addr", "inet_proto", "inet_service"), ("ipv4_addr", "inet_service"), "why")
    info = decode.set_info(codec.add_set(INET, item, 1).message.body)
    assert (info.name, info.comment) == ("ports", "towline: why")
    assert (info.definition.flags, info.definition.key_length, info.definition.data_length) == (8, 12, 8)
    assert info.definition == definition(item)
    chain = decode.chain(codec.add_chain(INET, Chain("forward", Hook("nat", 2, -10, "drop"))).message.body)
    assert chain == decode.ChainInfo(INET, "forward", Hook("nat", 2, -10, "drop"), codec.OURS)
    operators = decode.chain(codec.add_chain(INET, Chain("user", ours=False)).message.body)
    assert operators is not None
    assert operators.comment not in ("", codec.OURS)


def test_an_unknown_family_is_passed_over() -> None:
    body = codec.add_chain(INET, Chain("c")).message.body
    assert decode.chain(b"\x63" + body[1:]) is None


def test_a_rule_carries_its_name() -> None:
    step = codec.add_rule(INET, "c", Rule("what it is for", (Verdict(1),)))
    handle = struct.pack("=HH", 12, 3) + struct.pack(">Q", 42)
    assert decode.rule(step.message.body + handle) == decode.RuleInfo("c", 42, "what it is for")
