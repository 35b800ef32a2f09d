"""Keys and data of sets and maps as the kernel compares them (see `model.ruleset`)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}


def is_ifname(name: str) -> bool:
    return 0 < len(name.encode()) < 16 and "\0" not in name


@lru_cache(maxsize=4096)
def ifname(name: str) -> bytes:
    """16 bytes, NUL padded. ValueError beyond the kernel's 15."""
    if not is_ifname(name):
        raise ValueError(f"interface name {name!r} must have 1 to 15 bytes, none of them NUL")
    return name.encode().ljust(16, b"\0")


def is_address(text: str) -> bool:
    """Bare, without a scope."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def address(text: str) -> bytes:
    """4 or 16 bytes, big endian."""
    return ip_address(text).packed


def ether(mac: str) -> bytes:
    """6 bytes of "02:42:ac:11:00:02"."""
    data = bytes.fromhex(mac.replace(":", ""))
    if len(data) != 6:
        raise ValueError(f"invalid MAC address {mac!r}")
    return data


def protocol(name: str) -> bytes:
    """One byte. ValueError for a protocol without ports that we publish."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}")
    return bytes((PROTOCOLS[name],))


def port(number: int) -> bytes:
    return number.to_bytes(2, "big")


def concat(*parts: bytes) -> bytes:
    """A concatenation: every part padded to four bytes, as registers hold them."""
    return b"".join([part + bytes(-len(part) & 3) for part in parts])


def link_local(mac: str) -> str:
    """The IPv6 link-local address that the kernel makes from a MAC (modified EUI-64, RFC 4291 appendix A)."""
    data = ether(mac)
    interface = bytes((data[0] ^ 2,)) + data[1:3] + b"\xff\xfe" + data[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + interface))
