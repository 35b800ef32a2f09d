"""A sandbox in the words of a table: how long, what command, which networks and ports."""

from __future__ import annotations

import time

from towline.cli.values import Object, as_list, as_object, as_text

_STEPS = (
    # shorter than this many seconds, unit in seconds, its name; a single one has words of its own
    (60, 1, "second"),
    (46 * 60, 60, "minute"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (730 * 86400, 30 * 86400, "month"),
)
_SINGLE = {"second": "1 second", "minute": "About a minute", "hour": "About an hour"}


def seconds_since_1970(stamp: str) -> float:
    """Of an RFC 3339 time in UTC; 0 for anything else."""
    date, _, clock = stamp.partition("T")
    parts = [*date.split("-"), *clock.rstrip("Z").split(":")]
    try:
        year, month, day, hour, minute = map(int, parts[:5])
        second = float(parts[5])
    except (ValueError, IndexError):
        return 0
    year -= month < 3  # years begin in March, so that leap days are their ends
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    return days * 86400 + hour * 3600 + minute * 60 + second


def lasting(seconds: float) -> str:
    """A duration as Docker words it."""
    if seconds < 1:
        return "Less than a second"
    for limit, unit, name in _STEPS:
        if seconds < limit:
            count = max(int(seconds) // unit, 1)
            return _SINGLE.get(name, f"1 {name}") if count == 1 else f"{count} {name}s"
    return f"{int(seconds) // (365 * 86400)} years"


def age(stamp: str) -> str:
    """ "5 minutes ago" of an RFC 3339 time, "" of none."""
    moment = seconds_since_1970(stamp)
    return f"{lasting(time.time() - moment)} ago" if moment else ""


def status(sandbox: Object) -> str:
    state = as_text(sandbox.get("state"))
    if state == "running":
        return f"Up {lasting(time.time() - seconds_since_1970(as_text(sandbox.get('started'))))}"
    if state == "exited":
        return f"Exited ({as_text(sandbox.get('exit_code'))}) {age(as_text(sandbox.get('finished')))}".rstrip()
    return state.capitalize()


def command(sandbox: Object, width: int) -> str:
    """In quotes, cut to `width` characters (0: whole); of an attached one the way in."""
    text = " ".join(map(as_text, as_list(sandbox.get("command"))))
    if sandbox.get("origin") == "attach":
        return "(attached)"
    if width and len(text) > width - 2:
        text = text[: width - 3] + "…"
    return f'"{text}"'


def networks(endpoints: list[Object]) -> str:
    """ "web=10.80.0.5, back": the first address where there is one."""
    words = []
    for endpoint in endpoints:
        address = (as_text(endpoint.get("ipv4")) or as_text(endpoint.get("ipv6"))).partition("/")[0]
        name = as_text(endpoint.get("network_name"))
        words.append(f"{name}={address}" if address else name)
    return ", ".join(words)


def ports(endpoints: list[Object]) -> str:
    """As `docker ps` shows published ports."""
    published = [as_object(port) for endpoint in endpoints for port in as_list(endpoint.get("published"))]
    return ", ".join(map(port, published))


def port(published: Object) -> str:
    """0.0.0.0:8080->80/tcp; without a host port 80/tcp."""
    host, number = as_text(published.get("host_ip")), as_text(published.get("host_port"))
    inside = f"{as_text(published.get('port'))}/{as_text(published.get('protocol'))}"
    if not host or number in ("", "0"):
        return inside
    return f"[{host}]:{number}->{inside}" if ":" in host else f"{host}:{number}->{inside}"
