"""The codec against dnspython, and against everything that is no DNS message."""

from __future__ import annotations

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dns_lab import World, keep_order, sandbox_id_of
from towline.dns import wire
from towline.dns.answer import Forward, answer
from towline.dns.names import Names
from towline.dns.wire import Query

_label = st.text("abcXYZ019-_", min_size=1, max_size=63)
_name = st.lists(_label, min_size=0, max_size=4).map(lambda labels: ".".join(labels) + ".")


def _many(count: int, *, ipv6: bool = False) -> Names:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.255.254")
    for index in range(count):
        address = f"10.1.{index >> 8}.{index & 255}"
        world.join(network, f"w{index}", ipv4=address, ipv6=f"fd00:1::{index + 2:x}" if ipv6 else "", aliases=["pool"])
    return world.directory.names(sandbox_id_of("cli"))


@given(_name, st.sampled_from([1, 28, 12, 33, 255, 65]), st.booleans(), st.sampled_from([None, 0, 512, 1232, 65535]))
def test_questions_are_read_as_dnspython_writes_them(name: str, kind: int, do: bool, size: int | None) -> None:
    options = {} if size is None else {"use_edns": 0, "payload": size, "want_dnssec": do}
    message = dns.message.make_query(name, dns.rdatatype.RdataType.make(kind), **options)
    data = message.to_wire()
    query = wire.parse_query(data)
    assert isinstance(query, Query)
    assert query.name + b"\0" == dns.name.from_text(name).to_wire()
    assert (query.ident, query.qtype, query.qclass, query.size) == (message.id, kind, 1, len(data))
    assert query.plain
    if size is None:
        assert query.edns is None
    else:
        assert query.edns is not None
        assert (query.edns.size, bool(query.edns.flags & 0x8000)) == (size, do)


def test_options_and_other_records_make_a_query_special() -> None:
    cookie = dns.message.make_query("web", "A", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")])
    query = wire.parse_query(cookie.to_wire())
    assert isinstance(query, Query)
    assert not query.plain


@given(st.binary(max_size=600))
def test_any_bytes_are_answered_or_dropped(data: bytes) -> None:
    _check(data)


@given(st.binary(max_size=200), st.integers(0, 2), st.integers(0, 3), st.binary(min_size=2, max_size=2))
def test_any_body_behind_a_query_header(body: bytes, records: int, extra: int, flags: bytes) -> None:
    _check(b"\x12\x34" + bytes((flags[0] & 0x07, flags[1])) + bytes((0, 1, 0, records, 0, 0, 0, extra)) + body)


@given(_name, st.data())
def test_damaged_questions(name: str, data: st.DataObject) -> None:
    message = bytearray(dns.message.make_query(name, "A", use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(message[: data.draw(st.integers(0, len(message)))]))


def _check(data: bytes) -> None:
    """Never raises; an answer has the question's id, fits the client, and is readable."""
    names = _NAMES
    for stream in (False, True):
        said = answer(data, names, keep_order, stream=stream)
        if isinstance(said, Forward):
            assert said.query.size <= len(data)
            continue
        if said is None:
            assert len(data) < 12 or data[2] & 0x80
            continue
        query = wire.parse_query(data)
        limit = wire.limit_of(query, stream=stream) if isinstance(query, Query) else 64
        assert len(said) <= limit
        assert said[:2] == data[:2]
        assert dns.message.from_wire(said).flags & dns.flags.QR


_NAMES = _many(3, ipv6=True)


@pytest.mark.parametrize(
    ("body", "rcode"),
    [
        (b"", dns.rcode.FORMERR),
        (b"\x03web", dns.rcode.FORMERR),
        (b"\x03web\x00\x00\x01\x00", dns.rcode.FORMERR),
        (b"\xc0\x0c\x00\x01\x00\x01", dns.rcode.FORMERR),
        (b"\x03web\xc0\x0c\x00\x01\x00\x01", dns.rcode.FORMERR),
        (b"\x40" + b"x" * 64 + b"\x00\x00\x01\x00\x01", dns.rcode.FORMERR),
        (b"\xff" + b"x" * 255 + b"\x00\x00\x01\x00\x01", dns.rcode.FORMERR),
        ((b"\x3f" + b"x" * 63) * 4 + b"\x00\x00\x01\x00\x01", dns.rcode.FORMERR),
        (b"\x01x" * 127 + b"\x01x" + b"\x00\x00\x01\x00\x01", dns.rcode.FORMERR),
    ],
    ids=["nothing", "cut name", "cut type", "loop", "name loop", "label of 64", "label of 255", "name of 257", "257"],
)
def test_malformed_questions_are_refused(body: bytes, rcode: int) -> None:
    said = answer(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + body, _NAMES, keep_order)
    assert isinstance(said, bytes)
    reply = dns.message.from_wire(said)
    assert (reply.id, reply.rcode()) == (0x1234, rcode)


def test_the_longest_name_is_a_name() -> None:
    body = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"x" * 61 + b"\x00\x00\x01\x00\x01"
    said = answer(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + body, _NAMES, keep_order)
    assert isinstance(said, Forward)
    assert len(said.query.name) == 254


@pytest.mark.parametrize(
    ("header", "rcode"),
    [
        (b"\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00", dns.rcode.NOTIMP),
        (b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", dns.rcode.FORMERR),
        (b"\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00", dns.rcode.FORMERR),
        (b"\x01\x00\x00\x01\x00\x02\x00\x00\x00\x00", dns.rcode.FORMERR),
        (b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x03", dns.rcode.FORMERR),
    ],
    ids=["update", "no question", "two questions", "answers", "three extra records"],
)
def test_unusual_headers_are_refused(header: bytes, rcode: int) -> None:
    said = answer(b"\x12\x34" + header + b"\x03web\x00\x00\x01\x00\x01" * 2, _NAMES, keep_order)
    assert isinstance(said, bytes)
    assert (int.from_bytes(said[:2], "big"), said[3] & 0xF) == (0x1234, rcode)


def test_answers_and_scraps_are_dropped() -> None:
    assert answer(b"\x12\x34\x81\x80" + bytes(8), _NAMES, keep_order) is None
    assert answer(b"\x12\x34\x01", _NAMES, keep_order) is None


def test_an_unknown_edns_version_is_refused() -> None:
    query = dns.message.make_query("w1", "A", use_edns=1)
    said = answer(query.to_wire(), _NAMES, keep_order)
    assert isinstance(said, bytes)
    reply = dns.message.from_wire(said)
    assert (reply.rcode(), reply.edns) == (dns.rcode.BADVERS, 0)


@pytest.mark.parametrize("do", [False, True])
def test_edns_is_answered_with_do_copied(do: bool) -> None:
    query = dns.message.make_query("w1", "A", use_edns=0, payload=1232, want_dnssec=do)
    said = answer(query.to_wire(), _NAMES, keep_order)
    assert isinstance(said, bytes)
    reply = dns.message.from_wire(said)
    assert (reply.edns, reply.payload, bool(reply.ednsflags & dns.flags.DO)) == (0, 4096, do)
    plain = answer(dns.message.make_query("w1", "A").to_wire(), _NAMES, keep_order)
    assert isinstance(plain, bytes)
    assert dns.message.from_wire(plain).edns == -1


@pytest.mark.parametrize(
    ("size", "limit", "count"), [(None, 512, 30), (100, 512, 30), (1232, 1232, 74), (65535, 65507, 200)]
)
def test_long_answers_are_cut_at_the_negotiated_size(size: int | None, limit: int, count: int) -> None:
    options = {} if size is None else {"use_edns": 0, "payload": size}
    said = answer(dns.message.make_query("pool", "A", **options).to_wire(), _many(200), keep_order)
    assert isinstance(said, bytes)
    assert len(said) <= limit
    reply = dns.message.from_wire(said)
    assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (count if size != 100 else 29, count < 200)


def test_a_stream_takes_64_kib_and_no_more() -> None:
    names = _many(5000)
    query = dns.message.make_query("pool", "A").to_wire()
    said = answer(query, names, keep_order, stream=True)
    assert isinstance(said, bytes)
    assert 65500 < len(said) <= 65535
    assert dns.message.from_wire(said).flags & dns.flags.TC


@given(st.text(max_size=80))
def test_encoded_names_are_dnspythons_or_none(text: str) -> None:
    encoded = wire.encode_name(text)
    if encoded is not None and text.isascii() and "\\" not in text and "@" not in text:
        assert dns.name.from_text(text).to_wire() == encoded + b"\0"
