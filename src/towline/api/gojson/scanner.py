"""Syntax: Go's scanner (encoding/json/scanner.go), with its texts and its limit of 10,000 levels.

Numbers become `Number`; everything else the usual Python values. Nothing here recurses.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

MAX_DEPTH = 10_000

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_UNESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_CHARACTERS = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS: dict[int, tuple[bytes, Any]] = {
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
    ord("n"): (b"null", None),
}
_QUOTED = {0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r"}


class Number(NamedTuple):
    """A JSON number as written."""

    text: str


class MalformedJson(Exception):
    """Malformed JSON; the message is Go's."""


class Scanned(NamedTuple):
    """value: the first JSON value of the text. end: offset behind it."""

    value: Any
    end: int


def scan(data: bytes) -> Scanned:
    """Read one value; what follows is not looked at. MalformedJson if it is malformed or cut short."""
    return _Scanner(data).scan()


def quote_byte(code: int) -> str:
    """A byte in single quotes as Go's error texts write it."""
    if code == 0x27:
        return "'\\''"
    if code in _QUOTED:
        return f"'{_QUOTED[code]}'"
    if code == 0x5C:
        return "'\\\\'"
    if code < 0x20 or code == 0x7F:
        return f"'\\x{code:02x}'"
    if 0x80 <= code <= 0xA0 or code == 0xAD:
        return f"'\\u{code:04x}'"
    return f"'{chr(code)}'"


class _Scanner:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str] = []

    def scan(self) -> Scanned:
        while True:
            value, complete = self._begin_value()
            if not complete:
                continue
            while True:
                if not self._open:
                    return Scanned(value, self._at)
                self._add(value)
                if not self._closes():
                    break
                value = self._open.pop()

    def _begin_value(self) -> tuple[Any, bool]:
        """A complete value, or False when a container was opened that awaits its first member."""
        code = self._next()
        if code == 0x7B:
            return self._begin_container({}, 0x7D)
        if code == 0x5B:
            return self._begin_container([], 0x5D)
        if code == 0x22:
            return self._string(), True
        if code in _LITERALS:
            return self._literal(code), True
        if code == 0x2D or 0x30 <= code <= 0x39:
            return self._number(), True
        raise self._error("looking for beginning of value")

    def _begin_container(self, container: dict[str, Any] | list[Any], end: int) -> tuple[Any, bool]:
        if len(self._open) >= MAX_DEPTH:
            raise self._error("exceeded max depth")
        self._at += 1
        if self._next() == end:
            self._at += 1
            return container, True
        self._open.append(container)
        if isinstance(container, dict):
            self._key()
        return None, False

    def _key(self) -> None:
        if self._next() != 0x22:
            raise self._error("looking for beginning of object key string")
        self._keys.append(self._string())
        if self._next() != 0x3A:
            raise self._error("after object key")
        self._at += 1

    def _add(self, value: Any) -> None:
        container = self._open[-1]
        if isinstance(container, dict):
            container[self._keys.pop()] = value
        else:
            container.append(value)

    def _closes(self) -> bool:
        """After a member: True if its container ends here, False if another member follows."""
        keyed = isinstance(self._open[-1], dict)
        code = self._next()
        if code == (0x7D if keyed else 0x5D):
            self._at += 1
            return True
        if code != 0x2C:
            raise self._error("after object key:value pair" if keyed else "after array element")
        self._at += 1
        if keyed:
            self._key()
        return False

    def _next(self) -> int:
        """The next code that is no space, without consuming it."""
        space = _SPACE.match(self._data, self._at)
        assert space is not None
        self._at = space.end()
        return self._code()

    def _code(self) -> int:
        if self._at >= len(self._data):
            raise MalformedJson("unexpected EOF")
        return self._data[self._at]

    def _error(self, context: str) -> MalformedJson:
        return MalformedJson(f"invalid character {quote_byte(self._code())} {context}")

    def _string(self) -> str:
        self._at += 1
        start = self._at
        while True:
            plain = _PLAIN.match(self._data, self._at)
            assert plain is not None
            self._at = plain.end()
            code = self._code()
            if code == 0x22:
                break
            if code != 0x5C:
                raise self._error("in string literal")
            self._escape()
        raw = self._data[start : self._at]
        self._at += 1
        return _unescape(raw.decode("utf-8", "replace"))

    def _escape(self) -> None:
        if (escape := _ESCAPE.match(self._data, self._at)) is not None:
            self._at = escape.end()
            return
        self._at += 1
        if self._code() != 0x75:
            raise self._error("in string escape code")
        self._at += 1
        while chr(self._code()) in "0123456789abcdefABCDEF":
            self._at += 1
        raise self._error("in \\u hexadecimal character escape")

    def _literal(self, code: int) -> Any:
        word, value = _LITERALS[code]
        for expected in word:
            if self._code() != expected:
                raise self._error(f"in literal {word.decode()} (expecting '{chr(expected)}')")
            self._at += 1
        return value

    def _number(self) -> Number:
        number = _NUMBER.match(self._data, self._at)
        if number is None:
            self._at += 1
            raise self._error("in numeric literal")
        self._at = number.end()
        if self._at < len(self._data):
            self._check_number_end(number.group())
        return Number(number.group().decode())

    def _check_number_end(self, number: bytes) -> None:
        code = self._data[self._at]
        if code == 0x2E and b"." not in number and b"e" not in number.lower():
            self._at += 1
            raise self._error("after decimal point in numeric literal")
        if code in b"eE" and b"e" not in number.lower():
            self._at += 1
            if self._code() in b"+-":
                self._at += 1
            raise self._error("in exponent of numeric literal")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    text = _UNESCAPE.sub(lambda m: _CHARACTERS[m[1]] if m[1] else chr(int(m[2], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
