"""Engine API versions: which are served, and how two are compared."""

from __future__ import annotations

from towline.model.errors import InvalidParameter

Version = tuple[int, ...]

OLDEST = "1.24"
NEWEST = "1.56"
_DIGITS = 18


def parse(text: str) -> Version:
    """Like moby's api/types/versions: parts that are no number count as 0, trailing zeros do not matter."""
    parts = [int(part[:_DIGITS]) if part.isdigit() else 0 for part in text.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


_OLDEST = parse(OLDEST)
_NEWEST = parse(NEWEST)
_SERVED: dict[str, Version] = {f"1.{minor}": (1, minor) for minor in range(_OLDEST[1], _NEWEST[1] + 1)}


class TooOld(InvalidParameter):
    """The client speaks a version older than the oldest served; answered as plain text."""


def negotiate(text: str) -> Version:
    """The version a request is answered in; "" is the newest. TooOld, or InvalidParameter for too new a version."""
    if (version := _SERVED.get(text)) is not None:
        return version
    if not text:
        return _NEWEST
    version = parse(text)
    if version < _OLDEST:
        raise TooOld(
            f"client version {text} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version"
        )
    if version > _NEWEST:
        raise InvalidParameter(f"client version {text} is too new. Maximum supported API version is {NEWEST}")
    return version
