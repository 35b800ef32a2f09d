"""What nf_tables answers, as far as we read it: names, hooks, rule comments, set definitions, elements."""

from __future__ import annotations

import struct
from typing import cast

import msgspec

from towline.kernel.netlink import iter_attrs, parse_attrs
from towline.kernel.nft_codec import FAMILIES
from towline.model.ruleset import Family, Hook, HookType, Policy, SetDefinition, TableId

_BE32 = struct.Struct(">I")
_BE_S32 = struct.Struct(">i")
_BE64 = struct.Struct(">Q")
_FAMILY_NAMES: dict[int, Family] = {number: name for name, number in FAMILIES.items()}
_TABLE_DORMANT = 1
_COMMENT, _SET_COMMENT = 0, 7


class ChainInfo(msgspec.Struct, frozen=True):
    table: TableId
    name: str
    hook: Hook | None
    comment: str


class RuleInfo(msgspec.Struct, frozen=True):
    chain: str
    handle: int
    comment: str


class SetInfo(msgspec.Struct, frozen=True):
    """anonymous: belongs to a rule of somebody else."""

    name: str
    comment: str
    definition: SetDefinition

    @property
    def anonymous(self) -> bool:
        return bool(self.definition.flags & 1)


def chain(body: bytes) -> ChainInfo | None:
    """None for a family that this engine does not know."""
    attrs = parse_attrs(body[4:])
    family = _FAMILY_NAMES.get(body[0])
    if family is None:
        return None
    return ChainInfo(TableId(family, _text(attrs[1])), _text(attrs[3]), _hook(attrs), _comment(attrs.get(12, b"")))


def _hook(attrs: dict[int, bytes]) -> Hook | None:
    if 4 not in attrs or 7 not in attrs:
        return None
    place = parse_attrs(attrs[4])
    priority = _BE_S32.unpack(place[2])[0] if 2 in place else 0
    policy: Policy = "accept" if _number(attrs.get(5)) else "drop"
    device = _text(place.get(3, b"")) or _only_device(place.get(4, b""))
    return Hook(cast(HookType, _text(attrs[7])), _number(place.get(1)), priority, policy, device)


def _only_device(devices: bytes) -> str:
    """Of a list (NFTA_HOOK_DEVS): "" if it is not exactly one."""
    names = [_text(value) for _, value in iter_attrs(devices)]
    return names[0] if len(names) == 1 else ""


def rule(body: bytes) -> RuleInfo:
    """comment: of the rule itself, or what iptables made of it (a `comment` match) when it restored its rules."""
    attrs = parse_attrs(body[4:])
    comment = _comment(attrs.get(7, b"")) or _iptables_comment(attrs.get(4, b""))
    return RuleInfo(_text(attrs[2]), _BE64.unpack(attrs[3])[0], comment)


def set_info(body: bytes) -> SetInfo:
    attrs = parse_attrs(body[4:])
    return SetInfo(
        _text(attrs[2]),
        _comment(attrs.get(13, b""), _SET_COMMENT),
        SetDefinition(*(_number(attrs.get(kind)) for kind in (3, 4, 5, 6, 7))),
    )


def elements(body: bytes) -> dict[bytes, bytes]:
    """One part of a dump of elements: key -> data."""
    found: dict[bytes, bytes] = {}
    for _, item in iter_attrs(parse_attrs(body[4:]).get(3, b"")):
        attrs = parse_attrs(item)
        if 1 in attrs:
            found[_value(attrs[1])] = _value(attrs.get(2, b""))
    return found


def table(body: bytes) -> TableId | None:
    """None for a family that this engine does not know."""
    family = _FAMILY_NAMES.get(body[0])
    return None if family is None else TableId(family, _text(parse_attrs(body[4:]).get(1, b"")))


def dormant(body: bytes) -> bool:
    """Whether a table is switched off."""
    return bool(_number(parse_attrs(body[4:]).get(2)) & _TABLE_DORMANT)


def generation(body: bytes) -> int:
    return _number(parse_attrs(body[4:]).get(1))


def _value(data: bytes) -> bytes:
    return parse_attrs(data).get(1, b"")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _number(data: bytes | None) -> int:
    return int(_BE32.unpack(data)[0]) if data else 0


def _comment(userdata: bytes, comment: int = _COMMENT) -> str:
    """The comment in libnftnl's type-length-value userdata, or ""."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == comment:
            return _text(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


def _iptables_comment(exprs: bytes) -> str:
    for _, item in iter_attrs(exprs):
        attrs = parse_attrs(item)
        if attrs.get(1) == b"match\0":
            match = parse_attrs(attrs.get(2, b""))
            if match.get(1) == b"comment\0":
                return match.get(3, b"").split(b"\0", 1)[0].decode("utf-8", "replace")
    return ""
