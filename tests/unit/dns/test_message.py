"""Upstream answers: what is believed, how long it is kept, how it ages; and the cache's bounds."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.dns import wire
from towline.dns.cache import Cache
from towline.dns.message import Reply, is_failure, parse_reply, readdressed
from towline.dns.wire import Query

_SOA = "ns.example. admin.example. 1 7200 3600 1209600"


def _asked(name: str = "www.Example.", kind: str = "A", **options: object) -> tuple[dns.message.Message, bytes, Query]:
    message = dns.message.make_query(name, kind, **options)
    data = message.to_wire()
    query = wire.parse_query(data)
    assert isinstance(query, Query)
    return message, data, query


def _parsed(reply: dns.message.Message, query: Query, data: bytes) -> Reply | None:
    return parse_reply(reply.to_wire(), query, data[12 : query.end], query.ident)


def test_an_answer_ages_and_is_addressed_to_another_client() -> None:
    message, data, query = _asked(use_edns=0)
    reply = dns.message.make_response(message)
    reply.answer.append(dns.rrset.from_text("www.example.", 300, "IN", "CNAME", "host.example."))
    reply.answer.append(dns.rrset.from_text("host.example.", 60, "IN", "A", "192.0.2.1"))
    parsed = _parsed(reply, query, data)
    assert parsed is not None
    assert (parsed.keep, parsed.rcode, parsed.truncated, len(parsed.ttls)) == (60, 0, False, 2)
    _, other, other_query = _asked("WWW.example.", use_edns=0)
    later = dns.message.from_wire(readdressed(parsed, other_query, other, 59))
    assert later.id == other_query.ident
    assert str(later.question[0].name) == "WWW.example."
    assert [rrset.ttl for rrset in later.answer] == [241, 1]
    assert later.edns == 0


@pytest.mark.parametrize(
    ("rcode", "ttl", "minimum", "keep"),
    [
        (dns.rcode.NXDOMAIN, 900, 300, 300),
        (dns.rcode.NXDOMAIN, 60, 300, 60),
        (dns.rcode.NOERROR, 900, 300, 300),
        (dns.rcode.NOERROR, 90000, 90000, 10800),
        (dns.rcode.SERVFAIL, 900, 300, 0),
        (dns.rcode.REFUSED, 900, 300, 0),
    ],
)
def test_negative_answers_are_kept_by_their_soa(rcode: dns.rcode.Rcode, ttl: int, minimum: int, keep: int) -> None:
    message, data, query = _asked()
    reply = dns.message.make_response(message)
    reply.set_rcode(rcode)
    reply.authority.append(dns.rrset.from_text("example.", ttl, "IN", "SOA", f"{_SOA} {minimum}"))
    parsed = _parsed(reply, query, data)
    assert parsed is not None
    assert (parsed.rcode, parsed.keep) == (rcode, keep)


def test_what_may_not_be_kept() -> None:
    message, data, query = _asked()
    empty = dns.message.make_response(message)
    truncated = dns.message.make_response(message)
    truncated.flags |= dns.flags.TC
    truncated.answer.append(dns.rrset.from_text("www.example.", 60, "IN", "A", "192.0.2.1"))
    short = dns.message.make_response(message)
    short.answer.append(dns.rrset.from_text("www.example.", 0, "IN", "A", "192.0.2.1"))
    for reply in (empty, truncated, short):
        parsed = _parsed(reply, query, data)
        assert parsed is not None
        assert parsed.keep == 0


def test_answers_to_something_else_are_not_believed() -> None:
    message, data, query = _asked()
    question = data[12 : query.end]
    good = dns.message.make_response(message)
    good.answer.append(dns.rrset.from_text("www.example.", 60, "IN", "A", "192.0.2.1"))
    found = good.to_wire()
    assert parse_reply(found, query, question, query.ident) is not None
    assert parse_reply(found, query, question, query.ident ^ 1) is None
    assert parse_reply(data, query, question, query.ident) is None
    other = dns.message.make_response(dns.message.make_query("wwx.example.", "A", id=query.ident)).to_wire()
    assert parse_reply(other, query, question, query.ident) is None
    kind = dns.message.make_response(dns.message.make_query("www.example.", "AAAA", id=query.ident)).to_wire()
    assert parse_reply(kind, query, question, query.ident) is None
    for cut in range(len(found)):
        assert parse_reply(found[:cut], query, question, query.ident) is None
    behind = parse_reply(found + b"garbage", query, question, query.ident)
    assert behind is not None
    assert behind.data == found


def test_a_failure_without_a_question() -> None:
    assert is_failure(b"\x12\x34\x81\x85" + bytes(8), 0x1234)
    for other in (b"\x12\x34\x81\x80", b"\x12\x35\x81\x85", b"\x12\x34\x01\x05"):
        assert not is_failure(other + bytes(8), 0x1234)
    assert not is_failure(b"\x12\x34\x81\x85", 0x1234)


@given(st.binary(max_size=300), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_any_bytes_behind_the_question(rest: bytes, answers: int, authorities: int, extra: int) -> None:
    _, data, query = _asked()
    question = data[12 : query.end]
    counts = bytes((0, 1, 0, answers, 0, authorities, 0, extra))
    parsed = parse_reply(data[:2] + b"\x81\x80" + counts + question + rest, query, question, query.ident)
    if parsed is not None:
        assert 0 <= parsed.keep <= 86400
        assert len(readdressed(parsed, query, data, 7)) == len(parsed.data)


def _reply(size: int = 100, keep: int = 10) -> Reply:
    return Reply(bytes(size), 0, False, (), keep)


def test_the_cache_forgets_when_the_time_has_come() -> None:
    cache = Cache()
    cache.put("a", _reply(keep=10), 100.0)
    cache.put("never", _reply(keep=0), 100.0)
    assert cache.get("a", 100.0) == (_reply(keep=10), 0)
    assert cache.get("a", 109.9) == (_reply(keep=10), 9)
    assert cache.get("a", 110.0) is None
    assert cache.get("never", 100.0) is None
    assert len(cache) == 0


def test_the_cache_drops_what_was_not_used_for_longest() -> None:
    cache = Cache(entries=3)
    for key in "abc":
        cache.put(key, _reply(), 0.0)
    cache.get("a", 1.0)
    cache.put("d", _reply(), 1.0)
    assert [key for key in "abcd" if cache.get(key, 1.0)] == ["a", "c", "d"]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000), st.integers(0, 5)), max_size=80))
def test_the_cache_keeps_to_its_bytes(steps: list[tuple[int, int, int]]) -> None:
    cache, size = Cache(entries=10, size=10_000), 0
    for now, (key, length, keep) in enumerate(steps):
        cache.put(key, _reply(length, keep), float(now))
        cache.get(key - 1, float(now))
        size = sum(len(entry.reply.data) + 400 for entry in cache._entries.values())
        assert size <= 10_000
        assert cache._room == 10_000 - size
        assert len(cache) <= 10
