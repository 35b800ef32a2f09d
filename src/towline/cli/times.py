"""Times on the command line: a duration, seconds since the epoch, or a date, as `docker events` takes them."""

from __future__ import annotations

import time

from towline.cli.errors import UsageError

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def timestamp(text: str, now: int) -> str:
    """`text` as SECONDS.NANOSECONDS since the epoch; a duration counts back from `now` (nanoseconds); "" stays "".

    A date without zone is local time. Raises UsageError.
    """
    if not text:
        return ""
    whole, _, part = text.partition(".")
    if whole.isascii() and whole.isdigit() and ((part.isascii() and part.isdigit()) or not part):
        return text if part else whole
    nanoseconds = _duration(text)
    found = now - nanoseconds if nanoseconds is not None else _date(text)
    if found < 0:
        raise UsageError(f'time "{text}" is before 1970')
    return f"{found // 10**9}.{found % 10**9:09}"


def _duration(text: str) -> int | None:
    """Go's durations (1h30m, 1.5s) in nanoseconds; None for anything else."""
    rest = text.removeprefix("-")
    total = 0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if unit not in _UNITS or number.count(".") > 1 or len(number) > 12 or not number.strip("."):
            return None
        total += int(float(number) * _UNITS[unit])
    return -total if text.startswith("-") else total


def _date(text: str) -> int:
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).timestamp()) * 10**9
    except (ValueError, OverflowError, OSError):
        hint = "Want a duration (10m), seconds since 1970, or a date (2025-01-31T10:00:00Z)."
        raise UsageError(f'time "{text}" is not understood', hint) from None


def local(nanoseconds: int) -> str:
    """RFC 3339 in local time, with all nine digits, as the docker CLI prints events."""
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        moment = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        return f"{seconds}.{rest:09}"
    zone = time.strftime("%z", moment)
    offset = "Z" if zone in ("", "+0000") else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{rest:09}{offset}"
