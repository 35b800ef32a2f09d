"""Addresses, prefixes and MACs as Go's net/netip and net read them, with their error texts.

Python's `ipaddress` decides what is valid; the walk through the text below only finds the words for a refusal.
Source: Go src/net/netip/netip.go and src/net/mac.go.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from towline.api.gotext import quote

_HEX = frozenset("0123456789abcdefABCDEF")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2})+|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4})+")
_MAC_BYTES = (6, 8, 20)


class BadAddress(ValueError):
    """The message is Go's."""


def parse_addr(text: str) -> str:
    """The address in its canonical form; "" stays "". BadAddress."""
    return _canonical(_address(text)) if text else ""


def parse_prefix(text: str) -> str:
    """CIDR with its host bits as given and the address in canonical form; "" stays "". BadAddress."""
    if not text:
        return ""
    address, slash, bits = text.rpartition("/")
    if not slash:
        raise _bad_prefix(text, "no '/'")
    try:
        parsed = _address(address)
    except BadAddress as error:
        raise _bad_prefix(text, str(error)) from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise _bad_prefix(text, "IPv6 zones cannot be present in a prefix")
    if not re.fullmatch(r"0|[1-9][0-9]{0,17}", bits):
        raise _bad_prefix(text, f"bad bits after slash: {quote(bits)}")
    if int(bits) > parsed.max_prefixlen:
        raise _bad_prefix(text, "prefix length out of range")
    return f"{_canonical(parsed)}/{bits}"


def parse_mac(text: str) -> str:
    """Lower case with colons; "" stays "". BadAddress."""
    if not text:
        return ""
    digits = re.sub("[:.-]", "", text)
    if not _MAC.fullmatch(text) or len(digits) // 2 not in _MAC_BYTES:
        raise BadAddress(f"address {text}: invalid MAC address")
    return ":".join(digits[i : i + 2].lower() for i in range(0, len(digits), 2))


def _bad_prefix(text: str, reason: str) -> BadAddress:
    return BadAddress(f"netip.ParsePrefix({quote(text)}): {reason}")


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise BadAddress(f"ParseAddr({quote(text)}): {_reason(text)}") from None


def _canonical(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address) and (mapped := address.ipv4_mapped) is not None:
        return f"::ffff:{mapped}"
    return str(address)


def _reason(text: str) -> str:
    first = re.search("[.:%]", text)
    if first is None:
        return "unable to parse IP"
    if first.group() == "%":
        return "missing IPv6 address"
    reason = _reason_v4(text) if first.group() == "." else _reason_v6(text)
    return reason or "unable to parse IP"


def _reason_v4(text: str) -> str:
    value, digits, fields = 0, 0, 0
    for at, char in enumerate(text):
        if "0" <= char <= "9":
            if digits == 1 and value == 0:
                return "IPv4 field has octet with leading zero"
            value, digits = value * 10 + int(char), digits + 1
            if value > 255:
                return "IPv4 field has value >255"
        elif char != ".":
            return f"unexpected character (at {quote(text[at:])})"
        elif at in (0, len(text) - 1) or text[at - 1] == ".":
            return f"IPv4 field must have at least one digit (at {quote(text[at:])})"
        elif fields == 3:
            return "IPv4 address too long"
        else:
            value, digits, fields = 0, 0, fields + 1
    return "IPv4 address too short" if fields < 3 else ""


def _reason_v6(text: str) -> str:
    rest, percent, zone = text.partition("%")
    if percent and not zone:
        return "zone must be a non-empty string"
    ellipsis = rest.startswith("::")
    rest = rest[2:] if ellipsis else rest
    fields = 0
    while fields < 8:
        digits = _leading_hex(rest)
        if digits > 4:
            return f"each group must have 4 or less digits (at {quote(rest)})"
        if not digits:
            return f"each colon-separated field must have at least one digit (at {quote(rest)})"
        if rest[digits : digits + 1] == ".":
            return _reason_embedded(rest, fields, ellipsis)
        fields += 1
        rest, at = rest[digits:], rest[digits:]
        if not rest:
            break
        if not rest.startswith(":"):
            return f"unexpected character, want colon (at {quote(at)})"
        if rest == ":":
            return f"colon must be followed by more characters (at {quote(at)})"
        rest = rest[1:]
        if rest.startswith(":"):
            if ellipsis:
                return f"multiple :: in address (at {quote(rest)})"
            ellipsis, rest = True, rest[1:]
            if not rest:
                break
    if rest:
        return f"trailing garbage after address (at {quote(rest)})"
    if fields == 8:
        return "the :: must expand to at least one field of zeros" if ellipsis else ""
    return "" if ellipsis else "address string too short"


def _reason_embedded(rest: str, fields: int, ellipsis: bool) -> str:
    if not ellipsis and fields != 6:
        return f"embedded IPv4 address must replace the final 2 fields of the address (at {quote(rest)})"
    if fields > 6:
        return f"too many hex fields to fit an embedded IPv4 at the end of the address (at {quote(rest)})"
    return _reason_v4(rest)


def _leading_hex(text: str) -> int:
    return next((at for at, char in enumerate(text) if char not in _HEX), len(text))
