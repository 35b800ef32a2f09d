"""nftables data types as `nft` numbers them, and what a set tells `nft list` about its keys.

Source: nftables include/datatype.h (numbers, six bits each in a concatenation) and libnftnl include/udata.h.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from towline.model.ruleset import Set, SetDefinition

_SET_MAP = 0x8
_U32 = struct.Struct("=I")
_BYTEORDER_MIXED, _BYTEORDER_HOST, _BYTEORDER_BIG = 0, 1, 2
_UDATA_KEY_BYTEORDER, _UDATA_DATA_BYTEORDER, _UDATA_MERGE, _UDATA_KEY_TYPEOF, _UDATA_COMMENT = 0, 1, 2, 3, 7
_EXPR_PAYLOAD, _EXPR_META, _EXPR_CONCAT = 7, 9, 13
_META_IIFNAME, _TRANSPORT_HEADER = 6, 3


class DataType(NamedTuple):
    """length in bytes, as the kernel compares it."""

    number: int
    length: int
    byteorder: int


DATA_TYPES = {
    "ipv4_addr": DataType(7, 4, _BYTEORDER_BIG),
    "ipv6_addr": DataType(8, 16, _BYTEORDER_BIG),
    "ether_addr": DataType(9, 6, _BYTEORDER_BIG),
    "ether_type": DataType(10, 2, _BYTEORDER_BIG),
    "inet_proto": DataType(12, 1, _BYTEORDER_BIG),
    "inet_service": DataType(13, 2, _BYTEORDER_BIG),
    "mark": DataType(19, 4, _BYTEORDER_HOST),
    "ifname": DataType(41, 16, _BYTEORDER_HOST),
    "@th,64,64": DataType(4, 8, _BYTEORDER_BIG),
    "@th,128,64": DataType(4, 8, _BYTEORDER_BIG),
}
"""The last two are raw packet bits (transport header, offset, length), as `nft` writes them where it has no name."""


class Layout(NamedTuple):
    """Of a key or of data: type number and length as in NFTA_SET_KEY_TYPE and NFTA_SET_KEY_LEN."""

    number: int
    length: int
    byteorder: int


@lru_cache(maxsize=256)
def layout(types: tuple[str, ...]) -> Layout:
    """ValueError for a type this engine does not use."""
    unknown = [name for name in types if name not in DATA_TYPES]
    if unknown or not types:
        raise ValueError(f"unknown nftables data type {', '.join(unknown) or '(none)'}")
    parts = [DATA_TYPES[name] for name in types]
    if len(parts) == 1:
        return Layout(*parts[0])
    number = 0
    for part in parts:
        number = number << 6 | part.number
    return Layout(number, sum(part.length + 3 & ~3 for part in parts), _BYTEORDER_MIXED)


def definition(item: Set) -> SetDefinition:
    """How the kernel describes the set once it is made."""
    key = layout(item.key_types)
    if not item.data_types:
        return SetDefinition(0, key.number, key.length, 0, 0)
    data = layout(item.data_types)
    return SetDefinition(_SET_MAP, key.number, key.length, data.number, data.length)


def set_userdata(key_types: tuple[str, ...], data_types: tuple[str, ...], comment: str) -> bytes:
    """NFTA_SET_USERDATA: without the byte orders `nft list` prints interface names as empty strings."""
    entries = [_number(_UDATA_KEY_BYTEORDER, layout(key_types).byteorder)]
    if data_types:
        entries.append(_number(_UDATA_DATA_BYTEORDER, layout(data_types).byteorder))
    entries.append(_number(_UDATA_MERGE, 0))
    if any(name.startswith("@") for name in key_types):
        entries.append(_typeof(key_types))
    if comment:
        entries.append(text_userdata(_UDATA_COMMENT, comment))
    return b"".join(entries)


def text_userdata(kind: int, text: str) -> bytes:
    """One entry with a NUL-terminated text. ValueError above 128 bytes, the longest comment `nft` takes."""
    data = text.encode() + b"\0"
    if len(data) > 129:
        raise ValueError(f"nftables comment longer than 128 bytes: {text}")
    return bytes((kind, len(data))) + data


def _typeof(key_types: tuple[str, ...]) -> bytes:
    """Raw bits have no data type that `nft` could print and read back: such a key is described by expressions."""
    parts = [_entry(i, _expression(name)) for i, name in enumerate(key_types)]
    return _entry(_UDATA_KEY_TYPEOF, _number(0, _EXPR_CONCAT) + _entry(1, b"".join(parts)))


def _expression(name: str) -> bytes:
    if name == "ifname":
        return _number(0, _EXPR_META) + _entry(1, _number(0, _META_IIFNAME))
    if not name.startswith("@th,"):
        raise ValueError(f"{name} cannot stand beside raw packet bits in a key")
    offset, length = map(int, name.removeprefix("@th,").split(","))
    fields = (0, 0, _TRANSPORT_HEADER, offset, length)
    return _number(0, _EXPR_PAYLOAD) + _entry(1, b"".join([_number(i, value) for i, value in enumerate(fields)]))


def _entry(kind: int, data: bytes) -> bytes:
    return bytes((kind, len(data))) + data


def _number(kind: int, value: int) -> bytes:
    return bytes((kind, 4)) + _U32.pack(value)
