"""GET /containers/{id}/logs: Docker's frames, one byte for the stream, three of zero, four for the length of the text
(moby api/types/container, pkg/stdcopy)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web
from multidict import CIMultiDict

from towline.api.call import EMPTY_HEADERS, Call
from towline.api.gotext import parse_bool
from towline.api.versions import Version
from towline.control.contract import LogEntry
from towline.model.errors import InvalidParameter
from towline.model.sandbox import Sandbox
from towline.policy.timestamps import parse_seconds

_NAMED_SINCE: Version = (1, 42)
_STREAMS = {"stdout": 1, "stderr": 2}


async def send(call: Call, sandbox: Sandbox) -> web.StreamResponse:
    """Query: stdout, stderr, follow, timestamps, tail, since, until. Both streams if neither is named."""
    wanted = _streams(call.query)
    stamped = parse_bool("timestamps", call.query.get("timestamps", ""))
    entries = call.engine.logs(
        sandbox.id,
        tail=_tail(call.query.get("tail", "")),
        since=_moment(call.query.get("since", "")),
        follow=parse_bool("follow", call.query.get("follow", "")),
    )
    until = _moment(call.query.get("until", ""))
    response = web.StreamResponse(headers=CIMultiDict(EMPTY_HEADERS))
    kind = "multiplexed-stream" if call.version >= _NAMED_SINCE else "raw-stream"
    response.headers["Content-Type"] = f"application/vnd.docker.{kind}"
    await response.prepare(call.request)
    async with call.streams.until(None, call.request.protocol):
        await _write(response, entries, wanted, until, stamped)
    await response.write_eof()
    return response


async def _write(
    response: web.StreamResponse, entries: AsyncIterator[LogEntry], wanted: set[str], until: str, stamped: bool
) -> None:
    async for entry in entries:
        if until and entry.time > until:
            break
        if entry.stream in wanted:
            await response.write(frame(entry, stamped))


def frame(entry: LogEntry, stamped: bool) -> bytes:
    text = entry.time.encode() + b" " + entry.text if stamped else entry.text
    return bytes((_STREAMS[entry.stream], 0, 0, 0)) + len(text).to_bytes(4, "big") + text


def _streams(query: dict[str, str]) -> set[str]:
    named = {name for name in _STREAMS if parse_bool(name, query.get(name, ""))}
    if not named and any(name in query for name in _STREAMS):
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    return named or set(_STREAMS)


def _tail(text: str) -> int | None:
    """Anything but a number is all, as in Docker."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _moment(text: str) -> str:
    """As LogEntry has it; "" stays ""."""
    if text in ("", "0"):
        return ""
    seconds, nanoseconds = divmod(parse_seconds(text), 10**9)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
    except (OverflowError, ValueError, OSError):
        raise InvalidParameter(f"invalid value for a time: {text[:40]}") from None
