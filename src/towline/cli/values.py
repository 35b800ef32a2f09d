"""Decoded JSON, looked at without trust."""

from __future__ import annotations

Object = dict[str, object]


def as_object(value: object) -> Object:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str:
    """`value` as words of a table: "" for null, Go's spelling of booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def as_list(value: object) -> list[object]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []
