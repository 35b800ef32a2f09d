"""Answers of upstream servers: are they what was asked, how long may they be kept, how do they look later.

A message is checked once, record by record, without following compression; what fits no answer to the question is not
believed. Source: RFC 1035, 2181 (TTL), 2308 (negative answers), 5452 (spoofing).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from towline.dns import wire
from towline.dns.wire import Query

_U32 = struct.Struct(">I")
_LONGEST, _LONGEST_NEGATIVE = 86400, 10800
_ANSWER, _AUTHORITY = 0, 1


class Reply(NamedTuple):
    """ttls: offsets of the TTL fields (not of OPT). keep: seconds it may be cached, 0 = not at all."""

    data: bytes
    rcode: int
    truncated: bool
    ttls: tuple[int, ...]
    keep: int


class _Records(NamedTuple):
    """end: behind the last record. answers: the smallest TTL of the answer section, None without one. negative: by the
    SOA of the authority section."""

    end: int
    ttls: tuple[int, ...]
    answers: int | None
    negative: int | None


def parse_reply(data: bytes, query: Query, question: bytes, ident: int) -> Reply | None:
    """None if it is malformed or does not answer this question with this id. question: as it was sent."""
    if len(data) < 12 + len(question):
        return None
    found, flags, questions, *counts = wire.HEADER.unpack_from(data)
    if found != ident or not flags & wire.QR or flags & wire.OPCODE or questions != 1:
        return None
    if not _same_question(data[12 : query.end], question):
        return None
    records = _walk(data, query.end, (counts[0], counts[1], counts[2]))
    if records is None:
        return None
    rcode, truncated = flags & 0xF, bool(flags & wire.TC)
    keep = 0 if truncated or rcode not in (wire.NOERROR, wire.NXDOMAIN) else _keep(records, rcode)
    return Reply(data[: records.end], rcode, truncated, records.ttls, keep)


def is_failure(data: bytes, ident: int) -> bool:
    """The server refused without repeating the question, as some do with FORMERR, SERVFAIL, NOTIMP and REFUSED."""
    if len(data) < 12:
        return False
    found, flags, questions, *_ = wire.HEADER.unpack_from(data)
    return found == ident and bool(flags & wire.QR) and not questions and flags & 0xF in (1, 2, 4, 5)


def _same_question(found: bytes, sent: bytes) -> bool:
    return found[-4:] == sent[-4:] and found[:-4].lower() == sent[:-4].lower()


def _walk(data: bytes, at: int, counts: tuple[int, int, int]) -> _Records | None:
    ttls: list[int] = []
    least: list[int] = []
    negative: int | None = None
    for section, count in enumerate(counts):
        for _ in range(count):
            start = wire.skip_name(data, at)
            if not start or start + 10 > len(data):
                return None
            kind, _, ttl, length = wire.RECORD.unpack_from(data, start)
            at = start + 10 + length
            if at > len(data):
                return None
            if kind == wire.OPT:
                continue
            ttls.append(start + 4)
            if section == _ANSWER:
                least.append(ttl)
            elif section == _AUTHORITY and kind == wire.SOA and length >= 22:
                negative = min(_sane(ttl), _sane(_U32.unpack_from(data, at - 4)[0]))
    return _Records(at, tuple(ttls), min(map(_sane, least)) if least else None, negative)


def _sane(ttl: int) -> int:
    return 0 if ttl >= 1 << 31 else ttl


def _keep(records: _Records, rcode: int) -> int:
    """Negative answers are kept only with an SOA; a chain of aliases may end in one."""
    if records.answers is not None and rcode == wire.NOERROR and records.negative is None:
        return min(records.answers, _LONGEST)
    if records.negative is None:
        return 0
    known = records.negative if records.answers is None else min(records.answers, records.negative)
    return min(known, _LONGEST_NEGATIVE)


def readdressed(reply: Reply, query: Query, data: bytes, age: int = 0) -> bytes:
    """The message for a client: its id, its spelling of the name, TTLs less `age` seconds."""
    made = bytearray(reply.data)
    made[0:2] = data[0:2]
    made[12 : query.end] = data[12 : query.end]
    for offset in reply.ttls if age else ():
        ttl = _U32.unpack_from(made, offset)[0]
        _U32.pack_into(made, offset, max(0, _sane(ttl) - age))
    return bytes(made)
