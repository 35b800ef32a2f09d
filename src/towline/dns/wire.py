"""DNS messages as bytes: questions in, answers out. Hostile input gives an rcode or None, never an exception.

Names are kept as labels on the wire without the root byte (b"\\x03web\\x02dn"): lower case of the bytes is lower case
of the name, since no label length is an ASCII letter. Source: RFC 1035, 3596, 6891 (EDNS), 7873.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

A, SOA, PTR, MX, AAAA, SRV, OPT = 1, 6, 12, 15, 28, 33, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
QR, OPCODE, TC, RD, RA, CD = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080, 0x0010

TTL = 600
"""Seconds, of every record that we answer ourselves, as Docker's."""
MAX_UDP = 65507
MAX_MESSAGE = 65535
RECEIVE = 4096
"""The largest query we take over UDP, and what our OPT record says."""

HEADER = struct.Struct(">6H")
_U16 = struct.Struct(">H")
_TYPE_CLASS = struct.Struct(">2H")
RECORD = struct.Struct(">2HIH")
"""Type, class, TTL and length of the data, as they follow a record's name."""

_ROOM_FOR_NAME = 255
_QUESTION_POINTER = b"\xc0\x0c"


class Edns(NamedTuple):
    """size: the sender's UDP payload size. flags: DO bit 0x8000. options: the record carries some."""

    size: int
    version: int
    flags: int
    options: bool


class Query(NamedTuple):
    """A question that is well formed.

    name: labels without the root, in the sender's case. end: offset behind the question; size: behind the last record.
    plain: nothing besides the question and an OPT record without options.
    """

    ident: int
    flags: int
    name: bytes
    qtype: int
    qclass: int
    end: int
    size: int
    edns: Edns | None
    plain: bool


def parse_query(data: bytes) -> Query | int | None:
    """An rcode if it must be refused; None if it is to be dropped (no header, or an answer)."""
    if len(data) < 12:
        return None
    ident, flags, questions, answers, authorities, extra = HEADER.unpack_from(data)
    if flags & QR:
        return None
    if flags & OPCODE:
        return NOTIMP
    if questions != 1 or answers > 1 or authorities > 1 or extra > 2:
        return FORMERR
    root = _root_of(data)
    end = root + 5
    if not root or end > len(data):
        return FORMERR
    qtype, qclass = _TYPE_CLASS.unpack_from(data, root + 1)
    if not (extra or answers or authorities):
        return Query(ident, flags, data[12:root], qtype, qclass, end, end, None, True)
    return _with_records(Query(ident, flags, data[12:root], qtype, qclass, end, end, None, True), data)


def _root_of(data: bytes) -> int:
    """Offset of the root byte that ends the question's name; 0 if the name is compressed, too long or cut off."""
    at, last = 12, min(len(data), 12 + _ROOM_FOR_NAME)
    while at < last:
        length = data[at]
        if not length:
            return at
        if length > 63:
            return 0
        at += length + 1
    return 0


def _with_records(query: Query, data: bytes) -> Query | int:
    _, _, _, answers, authorities, extra = HEADER.unpack_from(data)
    edns: Edns | None = None
    at, plain = query.end, not (answers or authorities)
    for index in range(answers + authorities + extra):
        start = skip_name(data, at)
        if not start or start + 10 > len(data):
            return FORMERR
        kind, klass, ttl, length = RECORD.unpack_from(data, start)
        at, name_length = start + 10 + length, start - at
        if at > len(data):
            return FORMERR
        if kind != OPT or index < answers + authorities:
            plain = False
            continue
        if edns is not None or name_length != 1:
            return FORMERR
        edns = Edns(klass, ttl >> 16 & 0xFF, ttl & 0xFFFF, bool(length))
    if edns is not None and edns.version:
        return BADVERS
    return query._replace(size=at, edns=edns, plain=plain and not (edns and edns.options))


def skip_name(data: bytes, at: int) -> int:
    """Offset behind a name that may be compressed; 0 if it is malformed. Pointers are not followed."""
    start = at
    while at < len(data):
        length = data[at]
        if length >= 0xC0:
            return at + 2 if at + 2 <= len(data) else 0
        if length > 63 or at - start >= _ROOM_FOR_NAME:
            return 0
        at += length + 1
        if not length:
            return at
    return 0


def limit_of(query: Query, *, stream: bool) -> int:
    """The longest answer the sender can take, bytes."""
    if stream:
        return MAX_MESSAGE
    return 512 if query.edns is None else min(max(512, query.edns.size), MAX_UDP)


def reply(query: Query, data: bytes, answers: Sequence[bytes], extra: Sequence[bytes] = (), *, limit: int) -> bytes:
    """NOERROR with these records; `data` is the query itself. What exceeds `limit` is left out, and TC says so."""
    opt = _opt_for(query.edns) if query.edns is not None else b""
    question = data[12 : query.end]
    flags = QR | RA | query.flags & (RD | CD)
    body, additional = b"".join(answers), b"".join(extra)
    count, more = len(answers), len(extra)
    if 12 + len(question) + len(body) + len(additional) + len(opt) > limit:
        room = limit - 12 - len(question) - len(opt)
        count, more, flags, additional = _fitting(answers, room), 0, flags | TC, b""
        body = b"".join(answers[:count])
    head = HEADER.pack(query.ident, flags, 1, count, 0, more + (opt != b""))
    return b"".join((head, question, body, additional, opt))


def _fitting(records: Sequence[bytes], room: int) -> int:
    for count, record in enumerate(records):
        room -= len(record)
        if room < 0:
            return count
    return len(records)


def failure(query: Query, data: bytes, rcode: int, *, recursion: bool = False, truncated: bool = False) -> bytes:
    """An answer without records. recursion: RA is set (Docker's own SERVFAIL and REFUSED do not have it)."""
    opt = _opt_for(query.edns) if query.edns is not None else b""
    flags = QR | rcode | query.flags & (RD | CD) | (RA if recursion else 0) | (TC if truncated else 0)
    return HEADER.pack(query.ident, flags, 1, 0, 0, opt != b"") + data[12 : query.end] + opt


def refusal(data: bytes, rcode: int) -> bytes:
    """The answer to what `parse_query` refused with this rcode: a header, for BADVERS with an OPT record."""
    ident, flags = _TYPE_CLASS.unpack_from(data)
    flags = QR | flags & (OPCODE | RD) | rcode & 0xF
    if rcode < 16:
        return HEADER.pack(ident, flags, 0, 0, 0, 0)
    return HEADER.pack(ident, flags, 0, 0, 0, 1) + b"\0" + RECORD.pack(OPT, RECEIVE, (rcode >> 4) << 24, 0)


def _opt_for(edns: Edns) -> bytes:
    """DO is copied (RFC 3225); options are not ours to answer."""
    return b"\0" + RECORD.pack(OPT, RECEIVE, edns.flags & 0x8000, 0)


def encode_name(text: str) -> bytes | None:
    """Labels without the root, lengths checked; None if this text cannot be a name."""
    labels = [label.encode() for label in text.removesuffix(".").split(".")]
    if any(not 0 < len(label) < 64 for label in labels):
        return None
    wire = b"".join([bytes((len(label),)) + label for label in labels])
    return wire if len(wire) < _ROOM_FOR_NAME else None


def reverse_name(address: str) -> bytes:
    """The name that a PTR question for this address asks for, lower case."""
    wire = encode_name(ip_address(address).reverse_pointer)
    if wire is None:
        raise ValueError(f"no reverse name for {address}")
    return wire


def address_record(packed: bytes) -> bytes:
    """An A or AAAA record whose owner is the question's name."""
    kind = A if len(packed) == 4 else AAAA
    return _QUESTION_POINTER + RECORD.pack(kind, IN, TTL, len(packed)) + packed


def pointer_record(target: bytes) -> bytes:
    """A PTR record; target: labels without the root."""
    return _QUESTION_POINTER + RECORD.pack(PTR, IN, TTL, len(target) + 1) + target + b"\0"


def service_record(port: int, target: bytes) -> bytes:
    """An SRV record with priority and weight 0, as Docker's."""
    return _QUESTION_POINTER + RECORD.pack(SRV, IN, TTL, len(target) + 7) + bytes(4) + _U16.pack(port) + target + b"\0"


def named_address_record(name: bytes, packed: bytes) -> bytes:
    """An A or AAAA record with an owner of its own, for the additional section."""
    return name + b"\0" + address_record(packed)[2:]
