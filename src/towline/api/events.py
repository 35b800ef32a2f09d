"""GET /events: what was kept since, then what happens until (moby daemon/server/router/system)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from towline.api.call import EMPTY_HEADERS, Call
from towline.api.wire_out import encode
from towline.model.errors import InvalidParameter
from towline.model.events import Event
from towline.policy.filters import EventFilter, parse
from towline.policy.timestamps import parse_seconds

_JSON_LINES_SINCE = (1, 52)
_SEQUENCE = "application/json-seq"
_STREAMS = ("application/jsonl", "application/x-ndjson", _SEQUENCE)
_RECORD_SEPARATOR = b"\x1e"


class Span(msgspec.Struct, frozen=True):
    """Nanoseconds since the epoch; None: not given."""

    since: int | None
    until: int | None


async def events(call: Call) -> web.StreamResponse:
    span = _span(call.query)
    wanted = EventFilter(parse(call.query.get("filters", "")))
    media_type = _media_type(call)
    response = web.StreamResponse(headers=CIMultiDict(EMPTY_HEADERS))
    response.headers["Content-Type"] = media_type
    separator = _RECORD_SEPARATOR if media_type == _SEQUENCE else b""
    past, coming = _open(call, span)
    await response.prepare(call.request)
    for event in past:
        if wanted.matches(event):
            await response.write(separator + line(event))
    if coming is not None:
        remaining = None if span.until is None else (span.until - time.time_ns()) / 10**9
        async with call.streams.until(remaining, call.request.protocol):
            async for event in coming:
                if wanted.matches(event):
                    await response.write(separator + line(event))
    await response.write_eof()
    return response


def line(event: Event) -> bytes:
    """The event as one line of JSON."""
    shown = {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": dict(sorted(event.attributes.items()))},
        "scope": event.scope,
        "time": event.time // 10**9,
        "timeNano": event.time,
    }
    return encode(shown) + b"\n"


def _span(query: dict[str, str]) -> Span:
    since, until = (_moment(query, name) for name in ("since", "until"))
    if since is not None and until is not None and until < since:
        texts = f"({query['since']}) cannot be after `until` time ({query['until']})"
        raise InvalidParameter(f"`since` time {texts}")
    return Span(since, until)


def _moment(query: dict[str, str], name: str) -> int | None:
    text = query.get(name, "")
    try:
        return parse_seconds(text) if text else None
    except InvalidParameter as refusal:
        raise InvalidParameter(f"invalid value for '{name}': {refusal}") from None


def _media_type(call: Call) -> str:
    if call.version < _JSON_LINES_SINCE:
        return "application/json"
    accepted = call.request.headers.get("Accept", "")
    offered = [part.partition(";")[0].strip() for part in accepted.split(",")]
    return next((kind for kind in offered if kind in _STREAMS), _STREAMS[0])


def _open(call: Call, span: Span) -> tuple[list[Event], AsyncIterator[Event] | None]:
    """Subscribe before looking back, without a wait in between: no event is lost or told twice."""
    bus = call.engine.events
    ended = span.until is not None and span.until <= time.time_ns()
    coming = None if ended else bus.subscribe()
    if span.since is None and span.until is None:
        return [], coming
    return bus.past(span.since or 0, span.until), coming
