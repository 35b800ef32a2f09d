"""JSON without the `json` package (7 ms of imports): CPython's own C scanner and string encoder, called directly.

Falls back to the public package where the C parts are missing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = " \t\r\n"


class _ScannerSettings:
    """What the C scanner reads from its context: plain dicts, lists, ints and floats."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner wants an attribute of this name


def _c_parts() -> tuple[Callable[[str, int], tuple[object, int]], Callable[[str], str]]:
    try:
        parts = __import__("_json")
        return parts.make_scanner(_ScannerSettings()), parts.encode_basestring
    except (ImportError, AttributeError):
        from json.decoder import JSONDecoder
        from json.encoder import encode_basestring

        return JSONDecoder().raw_decode, encode_basestring


_scan, quote = _c_parts()


def loads(data: bytes) -> object:
    """One JSON value. ValueError for anything else, also for nesting that is too deep."""
    text = data.decode("utf-8")
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if text[end:].strip(_SPACE):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object, indent: int = 0) -> str:
    """`indent` spaces a level, or one line for 0. Text stays as it is, control characters are escaped."""
    return _dump(value, indent, "\n" if indent else "")


def _dump(value: object, indent: int, newline: str) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        inner = newline + " " * indent
        return _block("{}", [quote(str(k)) + colon + _dump(v, indent, inner) for k, v in value.items()], newline, inner)
    if isinstance(value, list | tuple):
        inner = newline + " " * indent
        return _block("[]", [_dump(item, indent, inner) for item in value], newline, inner)
    return repr(value)


def _block(brackets: str, parts: list[str], newline: str, inner: str) -> str:
    if not parts:
        return brackets
    return brackets[0] + inner + f",{inner}".join(parts) + newline + brackets[1]
