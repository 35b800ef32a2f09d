"""Durations in words, as Docker's lists show them (github.com/docker/go-units HumanDuration)."""

from __future__ import annotations

_SECOND = 10**9
_MINUTE, _HOUR = 60 * _SECOND, 3600 * _SECOND


def human(nanoseconds: int) -> str:
    """ "5 seconds", "About a minute", "3 weeks"."""
    seconds, minutes = nanoseconds // _SECOND, nanoseconds // _MINUTE
    hours = (nanoseconds + _HOUR // 2) // _HOUR
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    for limit, unit, name in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < limit:
            return f"{days // unit} {name}"
    return f"{days // 365} years"
