"""What the sandbox's own DNS server says to one query: an answer, or that somebody else has to be asked.

Docker's rules (docker facts 6.6; moby daemon/libnetwork/resolver.go). Additions: EDNS is answered as RFC 6891 asks,
and names are compared without regard to case everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from towline.dns import wire
from towline.dns.names import Names
from towline.dns.wire import Query

_ADDRESS_TYPES = (wire.A, wire.AAAA, wire.MX)

Shuffle = Callable[[list[bytes]], None]


class Forward(NamedTuple):
    """None of our names: ask an upstream server."""

    query: Query


def answer(
    data: bytes, names: Names, shuffle: Shuffle, *, stream: bool = False, ndots: bool = False
) -> bytes | Forward | None:
    """None: drop it. shuffle: puts a list of records in random order, in place. stream: the query came over TCP.

    ndots: the sandbox set the option `ndots` to more than 0 itself: single labels are not forwarded, so that the
    client goes on with its search domains.
    """
    query = wire.parse_query(data)
    if not isinstance(query, Query):
        return None if query is None else wire.refusal(data, query)
    if query.qclass != wire.IN:
        return Forward(query)
    if query.qtype == wire.SRV:
        return _service(query, data, names, stream)
    records = _records(names, query)
    if records is None:
        if ndots and query.qtype in (wire.A, wire.AAAA) and _single_label(query.name):
            return wire.failure(query, data, wire.NOERROR, recursion=True)
        return Forward(query)
    if len(records) > 1:
        mixed = list(records)
        shuffle(mixed)
        records = tuple(mixed)
    return wire.reply(query, data, records, limit=wire.limit_of(query, stream=stream))


def _records(names: Names, query: Query) -> tuple[bytes, ...] | None:
    """None if the question is not for us. A name without addresses of the family, or asked for MX, has no records."""
    if query.qtype == wire.PTR:
        record = names.pointer(query.name)
        return (record,) if record else None
    if query.qtype not in _ADDRESS_TYPES:
        return None
    owner = names.find(query.name)
    if owner is None:
        return None
    return owner.a if query.qtype == wire.A else owner.aaaa if query.qtype == wire.AAAA else ()


def _service(query: Query, data: bytes, names: Names, stream: bool) -> bytes | Forward:
    found = names.service(query.name)
    if not found:
        return Forward(query)
    records, addresses = zip(*found, strict=True)
    return wire.reply(query, data, records, addresses, limit=wire.limit_of(query, stream=stream))


def _single_label(name: bytes) -> bool:
    return len(name) > 0 and name[0] + 1 == len(name)
