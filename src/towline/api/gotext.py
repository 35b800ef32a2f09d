"""Go's strconv: quoting of texts in messages, and ParseBool."""

from __future__ import annotations

from towline.model.errors import InvalidParameter

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def quote(text: str) -> str:
    """strconv.Quote: in double quotes, what is not printable escaped."""
    return f'"{"".join(map(_quote_char, text))}"'


def parse_bool(name: str, text: str) -> bool:
    """A query parameter that Docker reads with strconv.ParseBool; "" is false. InvalidParameter."""
    if not text or text in _FALSE:
        return False
    if text in _TRUE:
        return True
    raise InvalidParameter(
        f"invalid value for {name}: {text}: strconv.ParseBool: parsing {quote(text)}: invalid syntax"
    )


def parse_uint(what: str, text: str) -> int:
    """A query parameter that Docker reads with strconv.ParseUint: `invalid WHAT 'TEXT': ...`. InvalidParameter."""
    if text.isascii() and text.isdigit():
        if int(text[-40:]) < 2**64 and not text[:-40].strip("0"):
            return int(text[-40:])
        reason = "value out of range"
    else:
        reason = "invalid syntax"
    raise InvalidParameter(f"invalid {what} '{text}': strconv.ParseUint: parsing {quote(text)}: {reason}")


def loose_bool(text: str) -> bool:
    """A query parameter that Docker reads with httputils.BoolValue: anything is true but these."""
    return text.strip().lower() not in ("", "0", "no", "false", "none")


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
