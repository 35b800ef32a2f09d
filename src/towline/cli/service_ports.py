"""`--publish` of services: the docker CLI's short and long form. The daemon judges the numbers."""

from __future__ import annotations

from towline.cli.errors import UsageError
from towline.cli.values import Object

_KEYS = ("target", "published", "protocol", "mode", "name")
_WANT = "want [PORT:]TARGET[/PROTOCOL] or target=..,published=..,protocol=..,mode=..,name=.."
_MOST = 256


def ports(text: str) -> list[Object]:
    """One, or those of two ranges of one length. UsageError."""
    return [_long(text)] if "=" in text else _short(text)


def target(text: str) -> tuple[int, str]:
    """Port and protocol that `--publish-rm` names."""
    number, slash, protocol = text.partition("/")
    return _number(number, text), protocol.lower() if slash else "tcp"


def _long(text: str) -> Object:
    found: Object = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals or key not in _KEYS or key in found:
            raise UsageError(f'invalid port "{text}": {_WANT}')
        found[key] = _number(value, text) if key in ("target", "published") else value.strip().lower()
    if "target" not in found:
        raise UsageError(f'invalid port "{text}": it names no target')
    return found


def _short(text: str) -> list[Object]:
    numbers, slash, protocol = text.partition("/")
    published, colon, inside = numbers.rpartition(":")
    targets = _range(inside, text)
    outside = _range(published, text) if colon and published else [0] * len(targets)
    if len(outside) != len(targets) or ":" in published:
        raise UsageError(f'invalid port "{text}": {_WANT}')
    named: Object = {"protocol": protocol.lower()} if slash else {}
    return [
        {"target": to, **({"published": at} if at else {}), **named} for at, to in zip(outside, targets, strict=True)
    ]


def _range(text: str, whole: str) -> list[int]:
    first, dash, last = text.partition("-")
    start = _number(first, whole)
    end = _number(last, whole) if dash else start
    if not start <= end < start + _MOST:
        raise UsageError(f'invalid port "{whole}": {_WANT}')
    return list(range(start, end + 1))


def _number(text: str, whole: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise UsageError(f'invalid port "{whole}": {_WANT}')
    return int(text)
