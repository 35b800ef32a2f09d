"""Docker's notations of a moment: unix seconds with a fraction, RFC 3339 or a part of it, a duration before now.

Source: moby api/types/time/timestamp.go and Go's time.ParseDuration. All moments are nanoseconds since the epoch.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from towline.model.errors import InvalidParameter

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d{1,18}\.?\d{0,18}|\.\d{1,18})(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_SECONDS = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, now: int) -> int:
    """What a filter's `until` says. InvalidParameter with Docker's text."""
    if text == "":
        raise InvalidParameter("failed to parse value as time or duration: value is empty")
    if text != "0" and (duration := _duration(text)) is not None:
        return now - duration
    if (date := _DATE.fullmatch(text)) is not None:
        return _date(text, date)
    if "-" in text:
        raise InvalidParameter(f'parsing time "{text}": not an RFC 3339 time')
    try:
        return parse_seconds(text)
    except InvalidParameter as refusal:
        reason = str(refusal).partition(": ")[2]
        raise InvalidParameter(f"failed to parse value as time or duration: {reason}") from None


def parse_seconds(text: str) -> int:
    """`seconds[.fraction]`, which is what the query of /events takes. InvalidParameter with Docker's text."""
    seconds, point, fraction = text.partition(".")
    if not _SECONDS.fullmatch(seconds):
        raise InvalidParameter(f'invalid timestamp "{text}": invalid seconds "{seconds}": invalid syntax')
    if point and not re.fullmatch(r"\d{1,18}", fraction, re.ASCII):
        raise InvalidParameter(f'invalid timestamp "{text}": invalid nanoseconds "{fraction}": invalid syntax')
    return int(seconds) * 10**9 + int(f"{fraction:0<9}"[:9])


def _duration(text: str) -> int | None:
    if not _DURATION.fullmatch(text):
        return None
    total = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def _date(text: str, date: re.Match[str]) -> int:
    year, month, day, hour, minute, second, fraction, zone = date.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
        offset = timedelta() if zone in (None, "Z") else _offset(zone)
    except ValueError as error:
        raise InvalidParameter(f'parsing time "{text}": {error}') from None
    elapsed = moment.replace(tzinfo=UTC) - _EPOCH - offset
    return (elapsed.days * 86400 + elapsed.seconds) * 10**9 + int(f"{fraction or '':0<9}")


def _offset(zone: str) -> timedelta:
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 24 or minutes > 59:
        raise ValueError("time zone offset out of range")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone.startswith("-") else offset
