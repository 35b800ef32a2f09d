"""Functions that a `--format` template may call; names and order of arguments are those of the docker CLI."""

from __future__ import annotations

from towline.cli import jsontext
from towline.cli.expression import fault, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def function(name: str) -> Callable[..., object]:
    """Raises UsageError for an unknown one."""
    found = _FUNCTIONS.get(name)
    if found is None:
        raise fault(f"there is no function {name}; there are: {', '.join(sorted(_FUNCTIONS))}")
    return found


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            raise TypeError
    return value


def _join(items: list[object], separator: str) -> str:
    return separator.join(words(item) for item in items)


def _all(*values: object) -> object:
    return next((value for value in values if not value), values[-1])


def _any(*values: object) -> object:
    return next((value for value in values if value), values[-1])


def _json(value: object) -> str:
    if isinstance(value, dict):
        value = {key: member for key, member in value.items() if not callable(member)}
    return jsontext.dumps(value)


def _length(value: dict[str, object] | list[object] | str) -> int:
    return len(value)


def _equal(first: object, *others: object) -> bool:
    return first in others


def _truncate(text: str, length: int) -> str:
    return text[:length]


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "and": _all,
    "eq": _equal,
    "index": _index,
    "join": _join,
    "json": _json,
    "len": _length,
    "lower": lambda text: text.lower(),
    "ne": lambda first, second: first != second,
    "not": lambda value: not value,
    "or": _any,
    "println": lambda *values: " ".join(map(words, values)) + "\n",
    "split": lambda text, separator: text.split(separator),
    "title": lambda text: text.title(),
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
}
