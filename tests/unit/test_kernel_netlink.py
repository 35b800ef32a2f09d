"""The netlink wire: what is encoded parses back, and no input makes a parser fail or hang."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kernel import rtnl_codec as codec
from towline.kernel.netlink import attr, iter_attrs, iter_messages, nest, parse_ack, parse_attrs

KIND = st.integers(0, 0x3FFF)
ATTRS = st.lists(st.tuples(KIND, st.binary(max_size=200)), max_size=20)
ADDRESS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
)


@given(ATTRS)
def test_attributes_parse_back(attrs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attr(kind, value) for kind, value in attrs)
    assert len(data) % 4 == 0
    assert list(iter_attrs(data)) == attrs
    assert parse_attrs(memoryview(data)) == dict(attrs)


@given(ATTRS, KIND)
def test_nested_attributes_parse_back(attrs: list[tuple[int, bytes]], kind: int) -> None:
    data = nest(kind, *(attr(k, v) for k, v in attrs))
    assert struct.unpack_from("=H", data, 2)[0] == kind | 0x8000
    (found,) = iter_attrs(data)
    assert found[0] == kind
    assert list(iter_attrs(found[1])) == attrs


@given(st.binary(max_size=400))
def test_attributes_of_garbage_stay_inside_it(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in iter_attrs(data)) <= len(data)
    assert all(len(part.body) <= len(data) for part in iter_messages(data))


@given(st.binary(max_size=400), st.integers(0, 0xFFFF))
def test_no_garbage_breaks_a_parser(data: bytes, flags: int) -> None:
    parse_ack(flags, data)
    codec.parse_link(data)
    codec.parse_address(data)
    codec.parse_route(data)


@given(ATTRS, st.binary(min_size=1, max_size=65))
def test_a_cut_message_gives_the_attributes_before_the_cut(attrs: list[tuple[int, bytes]], last: bytes) -> None:
    data = b"".join(attr(kind, value) for kind, value in attrs)
    assert list(iter_attrs(data + attr(9, last)[: 3 + len(last)])) == attrs


def test_too_long_an_attribute_is_refused() -> None:
    assert len(attr(1, b"x" * 65531)) == 65536
    with pytest.raises(ValueError, match="attribute 7"):
        attr(7, b"x" * 65532)


@given(ADDRESS, st.integers(1, 2**31 - 1))
def test_addresses_parse_back(address: tuple[object, int], index: int) -> None:
    cidr = f"{address[0]}/{address[1]}"
    parsed = codec.parse_address(codec.add_address(index, cidr).body)
    assert parsed is not None
    assert codec.split_cidr(parsed.cidr) == codec.split_cidr(cidr)
    assert (parsed.link, parsed.kernel_made) == (index, False)


@given(
    st.text(st.characters(exclude_characters="%\0", exclude_categories=("Cs",)), min_size=1, max_size=15),
    st.binary(min_size=6, max_size=6),
    st.integers(1, 2**31 - 1),
)
def test_a_new_bridge_parses_back(name: str, mac: bytes, index: int) -> None:
    info = codec.parse_link(codec.new_bridge(index, name, mac.hex(":")).body)
    assert info is not None
    link = info.link
    assert (link.index, link.name, link.kind, link.mac) == (index, name, "bridge", mac.hex(":"))


@given(st.text(max_size=255).filter(lambda s: "\0" not in s and s.isprintable()), st.integers(0, 2**32 - 1))
def test_changes_parse_back(alias: str, number: int) -> None:
    attrs = (codec.alias_attr(alias), codec.mtu_attr(number), codec.group_attr(number))
    info = codec.parse_link(codec.set_link(7, *attrs, up=True).body)
    assert info is not None
    assert (info.link.mtu, info.group, info.link.up) == (number, number, True)
    assert alias.encode().startswith(info.link.alias.encode()[:500])


def test_an_acknowledgement_carries_the_kernels_text() -> None:
    tlvs = attr(1, b"no such thing\0") + attr(2, struct.pack("=I", 36))
    capped = struct.pack("=i", -errno.EINVAL) + bytes(16) + tlvs
    whole = struct.pack("=iI", -errno.EINVAL, 24) + bytes(20) + tlvs
    for flags, body in ((0x300, capped), (0x200, whole)):
        assert parse_ack(flags, body) == (errno.EINVAL, "no such thing, attribute at offset 36")
    assert parse_ack(0x100, struct.pack("=i", 0) + bytes(16)) == (0, "")


@pytest.mark.parametrize(
    ("cidr", "prefix"),
    [
        ("10.1.2.3/24", "10.1.2.0/24"),
        ("fd00::1/64", "fd00::/64"),
        ("169.254.1.1/16", "169.254.0.0/16"),
        ("127.0.0.1/8", None),
        ("224.0.0.0/4", None),
        ("::1/128", None),
        ("fe80::1/64", None),
        ("ff00::/8", None),
    ],
)
def test_prefixes_that_count_as_in_use(cidr: str, prefix: str | None) -> None:
    route = codec.host_route(cidr, 3)
    assert (route and route.prefix) == prefix
