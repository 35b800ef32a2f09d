"""`towline events`."""

from __future__ import annotations

import sys
import time

from towline.cli import jsontext, output, query
from towline.cli.client import connect
from towline.cli.flags import Parsed
from towline.cli.formats import shaper
from towline.cli.times import local, timestamp
from towline.cli.values import Object, as_object, as_text


def events(args: Parsed) -> int:
    """Prints each event when it comes, until --until, the end of the daemon, or an interrupt."""
    shape = shaper(args) or (_json_line if args.on("json") else event_line)
    now = time.time_ns()
    target = query.path(
        "/events",
        since=timestamp(args.text("since"), now),
        until=timestamp(args.text("until"), now),
        filters=query.filters(args.items("filter")),
    )
    for event in connect(args).stream(target):
        sys.stdout.write(shape(event))
        sys.stdout.flush()
    return 0


def _json_line(event: object) -> str:
    return jsontext.dumps(event) + "\n"


def event_line(value: object) -> str:
    """TIME TYPE ACTION ID (attributes), as the docker CLI puts it."""
    event = as_object(value)
    actor = as_object(event.get("Actor"))
    attributes = as_object(actor.get("Attributes"))
    words = [local(_time(event)), *(as_text(event.get(key)) for key in ("Type", "Action")), as_text(actor.get("ID"))]
    if attributes:
        words.append("(" + ", ".join(f"{key}={as_text(attributes[key])}" for key in sorted(attributes)) + ")")
    return output.cell(" ".join(words)) + "\n"


def _time(event: Object) -> int:
    nanoseconds, seconds = event.get("timeNano"), event.get("time")
    if isinstance(nanoseconds, int):
        return nanoseconds
    return seconds * 10**9 if isinstance(seconds, int) else 0
