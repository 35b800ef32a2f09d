"""Types: from scanned JSON to the plain data a Go struct would hold, with encoding/json's rules and texts.

Numbers may be `Number` or Python's own. Field names match without regard to case, unknown fields and nulls are skipped.
The first wrong type is reported at the end, a text that its type refuses at once. Paths in the texts are JSON pointers
with dots (encoding/json over v2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from towline.api.gojson.scanner import Number

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    list: "array",
    dict: "object",
    int: "number",
    float: "number",
}


class TypeMismatch(Exception):
    """A value of the wrong type, or a text its type refuses; the message is Go's."""


class Report:
    """Where conversion is, and the first mismatch."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path: list[str] = []
        self.first: str | None = None

    def at(self, key: str, convert: Callable[[Any, Report], Any], value: Any) -> Any:
        self._path.append(key.replace("~", "~0").replace("/", "~1"))
        result = convert(value, self)
        self._path.pop()
        return result

    def mismatch(self, value: Any, go_type: str) -> None:
        if self.first is None:
            place = f"Go struct field {self._root}.{'.'.join(self._path)}" if self._path else "Go value"
            self.first = f"json: cannot unmarshal {_kind(value, go_type)} into {place} of type {go_type}"


class GoType(Protocol):
    """zero: what a null leaves there."""

    @property
    def zero(self) -> Any: ...
    @property
    def name(self) -> str: ...
    def convert(self, value: Any, report: Report) -> Any: ...


def decode(value: Any, target: Struct) -> dict[str, Any]:
    """Members that were given, under their Go names. TypeMismatch."""
    report = Report(target.name.rpartition(".")[2])
    result: dict[str, Any] = {} if value is None else target.convert(value, report)
    if report.first is not None:
        raise TypeMismatch(report.first)
    return result


class Scalar:
    """A Go value that JSON writes as one `kind`: string, bool."""

    def __init__(self, name: str, kind: type, zero: Any) -> None:
        self.name = name
        self.zero = zero
        self._kind = kind

    def convert(self, value: Any, report: Report) -> Any:
        if isinstance(value, self._kind):
            return value
        report.mismatch(value, self.name)
        return self.zero


class Int:
    """One of Go's integers, by its range; `int` has 64 bits."""

    zero = 0

    def __init__(self, name: str = "int", least: int = -(2**63), most: int = 2**63 - 1) -> None:
        self.name = name
        self._least = least
        self._most = most

    def convert(self, value: Any, report: Report) -> Any:
        number = int(value.text) if isinstance(value, Number) and _INTEGER.fullmatch(value.text) else value
        if type(number) is int and self._least <= number <= self._most:
            return number
        report.mismatch(value, self.name)
        return 0


class Text:
    """A type with UnmarshalText: `parse` answers the canonical text or raises ValueError with Go's words."""

    zero = ""

    def __init__(self, name: str, parse: Callable[[str], str]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, report: Report) -> Any:
        if not isinstance(value, str):
            report.mismatch(value, self.name)
            return ""
        try:
            return self._parse(value)
        except ValueError as refusal:
            raise TypeMismatch(str(refusal)) from None


class Slice:
    zero = None

    def __init__(self, element: GoType) -> None:
        self.name = f"[]{element.name}"
        self._element = element

    def convert(self, value: Any, report: Report) -> Any:
        if not isinstance(value, list):
            report.mismatch(value, self.name)
            return None
        element = self._element
        return [
            element.zero if item is None else report.at(str(index), element.convert, item)
            for index, item in enumerate(value)
        ]


class Map:
    zero = None

    def __init__(self, element: GoType) -> None:
        self.name = f"map[string]{element.name}"
        self._element = element

    def convert(self, value: Any, report: Report) -> Any:
        if not isinstance(value, dict):
            report.mismatch(value, self.name)
            return None
        element = self._element
        return {
            key: element.zero if item is None else report.at(key, element.convert, item) for key, item in value.items()
        }


class Struct:
    def __init__(self, name: str, fields: Mapping[str, GoType]) -> None:
        self.name = name
        self._fields = {field.casefold(): (field, kind) for field, kind in fields.items()}

    @property
    def zero(self) -> dict[str, Any]:
        return {}

    def convert(self, value: Any, report: Report) -> Any:
        if not isinstance(value, dict):
            report.mismatch(value, self.name)
            return {}
        result: dict[str, Any] = {}
        for key, item in value.items():
            known = self._fields.get(key.casefold())
            if known is not None and item is not None:
                result[known[0]] = report.at(key, known[1].convert, item)
        return result


STRING = Scalar("string", str, "")
BOOL = Scalar("bool", bool, False)
INT = Int()
INT64 = Int("int64")
UINT32 = Int("uint32", 0, 2**32 - 1)
UINT64 = Int("uint64", 0, 2**64 - 1)
DURATION = Int("time.Duration")
_INTEGERS = frozenset({INT.name, INT64.name, UINT32.name, UINT64.name, DURATION.name})


def _kind(value: Any, go_type: str) -> str:
    if isinstance(value, Number):
        return f"number {value.text}" if go_type in _INTEGERS else "number"
    return _KINDS[type(value)]
