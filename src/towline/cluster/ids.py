"""Ids of clusters, nodes and global networks: 25 digits of base 36, as Docker's (swarmkit identity/randomid.go)."""

from __future__ import annotations

import secrets

LENGTH = 25
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ENTROPY = 17


def base36(number: int, width: int = 0) -> str:
    """Lower case, padded with zeros to `width`."""
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = DIGITS[rest] + digits
    return digits.rjust(width, "0")


def new_id() -> str:
    """The highest bit is set so that all are equally long; the first digit, which that makes uneven, is left out."""
    data = bytearray(secrets.token_bytes(_ENTROPY))
    data[0] |= 0x80
    return base36(int.from_bytes(data, "big"))[1 : LENGTH + 1]


def is_id(text: str) -> bool:
    return len(text) == LENGTH and all(digit in DIGITS for digit in text)
