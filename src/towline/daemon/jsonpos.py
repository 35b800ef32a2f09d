"""JSON whose values know where they stand, so that an error can name line and column."""

from __future__ import annotations

from json import JSONDecodeError, JSONDecoder
from re import compile as regex

import msgspec

MAX_DEPTH = 16
_space = regex(r"[ \t\n\r]*")
_scalar = JSONDecoder(parse_constant=lambda name: _refuse(name)).raw_decode


class Node(msgspec.Struct, frozen=True):
    """value: str, int, float, bool, None, list[Node] or dict[str, Member]. at: offset in the text."""

    value: object
    at: int


class Member(msgspec.Struct, frozen=True):
    """One member of an object. at: offset of its key."""

    node: Node
    at: int


def parse_json(text: str) -> Node:
    """Raises JSONDecodeError; a key that stands twice in one object is an error too."""
    node, end = _value(text, _skip(text, 0), 0)
    end = _skip(text, end)
    if end != len(text):
        raise JSONDecodeError("something follows the end of the document", text, end)
    return node


def position(text: str, at: int) -> tuple[int, int]:
    """Line and column, both from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    start = text[at : at + 1]
    if start in ("{", "[") and depth >= MAX_DEPTH:
        raise JSONDecodeError(f"nested deeper than {MAX_DEPTH} levels", text, at)
    if start == "{":
        return _object(text, at, depth + 1)
    if start == "[":
        return _array(text, at, depth + 1)
    try:
        value, end = _scalar(text, at)
    except _Constant as error:
        raise JSONDecodeError(f"{error} is not JSON", text, at) from None
    except ValueError as error:
        if isinstance(error, JSONDecodeError):
            raise JSONDecodeError("a value is missing or not JSON", text, error.pos) from None
        raise JSONDecodeError("the number is too long", text, at) from None
    return Node(value, at), end


def _object(text: str, start: int, depth: int) -> tuple[Node, int]:
    members: dict[str, Member] = {}
    at = _skip(text, start + 1)
    if text[at : at + 1] == "}":
        return Node(members, start), at + 1
    while True:
        if text[at : at + 1] != '"':
            raise JSONDecodeError("a key in double quotes is needed here", text, at)
        key, end = _scalar(text, at)
        if key in members:
            first, _ = position(text, members[key].at)
            raise JSONDecodeError(f"key {key!r} stands in line {first} already", text, at)
        end = _expect(text, end, ":", "':' is missing after the key")
        node, end = _value(text, end, depth)
        members[key] = Member(node, at)
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return Node(members, start), at + 1
        at = _expect(text, at, ",", "',' or '}' is missing")


def _array(text: str, start: int, depth: int) -> tuple[Node, int]:
    items: list[Node] = []
    at = _skip(text, start + 1)
    if text[at : at + 1] == "]":
        return Node(items, start), at + 1
    while True:
        node, end = _value(text, at, depth)
        items.append(node)
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return Node(items, start), at + 1
        at = _expect(text, at, ",", "',' or ']' is missing")


def _expect(text: str, at: int, wanted: str, problem: str) -> int:
    """Offset of what follows `wanted`, which is next after white space."""
    at = _skip(text, at)
    if text[at : at + 1] != wanted:
        raise JSONDecodeError(problem, text, at)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _space.match(text, at)
    return match.end() if match else at


class _Constant(Exception):
    """NaN or Infinity."""


def _refuse(name: str) -> object:
    raise _Constant(name)
