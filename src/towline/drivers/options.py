"""Parsing of driver options with the texts of Docker's bridge driver (moby daemon/libnetwork/drivers/bridge)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from towline.model.errors import InvalidParameter

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


def parse_go_bool(text: str) -> bool | None:
    """Go's strconv.ParseBool; None where that fails."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def bad_value(key: str, value: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"failed to parse {key} value: {value} ({why})")


def bool_option(options: Mapping[str, str], key: str, default: bool) -> bool:
    text = options.get(key)
    if text is None:
        return default
    value = parse_go_bool(text)
    if value is None:
        raise bad_value(key, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return value


def int_option(options: Mapping[str, str], key: str, default: int) -> int:
    text = options.get(key)
    if text is None:
        return default
    if not _INTEGER.match(text):
        raise bad_value(key, text, f'strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise bad_value(key, text, f'strconv.Atoi: parsing "{text}": value out of range')
    return int(text)


def address_option(options: Mapping[str, str], key: str) -> str:
    """An IP address in canonical form, "" if absent."""
    text = options.get(key)
    if text is None:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise bad_value(key, text, "nil ip") from None
