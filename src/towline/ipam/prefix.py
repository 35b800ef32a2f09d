"""Addresses and prefixes as integers, and their texts: canonical (RFC 5952), as Go's net/netip prints them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple


class Prefix(NamedTuple):
    """A block of addresses: `start` is its first address, with host bits clear; `length` the prefix length."""

    v6: bool
    start: int
    length: int

    @property
    def bits(self) -> int:
        """Width of an address: 32 or 128."""
        return 128 if self.v6 else 32

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return 1 << self.bits - self.length

    @property
    def end(self) -> int:
        """The last address."""
        return self.start + self.size - 1

    @property
    def unspecified(self) -> bool:
        """0.0.0.0/N or ::/N: Docker takes these as "any block of that length"."""
        return self.start == 0

    def holds(self, other: Prefix) -> bool:
        return self.v6 == other.v6 and self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"{format_address(self.start, self.v6)}/{self.length}"


def parse_address(text: str) -> tuple[bool, int]:
    """(IPv6?, value); ValueError if the text is no address."""
    if ":" in text:
        return True, int(IPv6Address(text))
    return False, int(IPv4Address(text))


def format_address(value: int, v6: bool) -> str:
    if v6:
        return str(IPv6Address(value))
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def parse_interface(text: str) -> tuple[Prefix, int]:
    """A CIDR that may have host bits: its block, and the address as written. A bare address is a block of one.

    ValueError if the text is neither.
    """
    address, slash, digits = text.partition("/")
    v6, value = parse_address(address)
    bits = 128 if v6 else 32
    length = int(digits) if slash else bits
    if not 0 <= length <= bits:
        raise ValueError(f"prefix length of {text} is out of range")
    shift = bits - length
    return Prefix(v6, value >> shift << shift, length), value


def parse_prefix(text: str) -> Prefix:
    """The block of a CIDR or bare address; host bits are cleared. ValueError if the text is neither."""
    return parse_interface(text)[0]
