"""A ruleset as text, close to what `nft list` prints, from our typed values alone (for golden files)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from towline.firewall import builders
from towline.kernel.nft_types import DATA_TYPES
from towline.model import ruleset as r
from towline.model.ruleset import Chain, Element, Expr, Rule, Table

_FIELDS = {value.load: name.lower() for name, value in vars(builders).items() if isinstance(value, builders.Field)} | {
    half.load: f"nd_target[{i}]" for i, half in enumerate(builders.ND_TARGET)
}
_OPERATORS = {0: "==", 1: "!="}
_VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto"}


def render_table(table: Table) -> str:
    sets = [_set_line(item) for item in table.sets]
    chains = [line for chain in table.chains for line in _chain_lines(chain)]
    return "\n".join([f"table {table.id.family} {table.id.name}", *sets, *chains, ""])


def render_elements(elements: Iterable[Element], tables: Iterable[Table]) -> str:
    sets = {(table.id, item.name): item for table in tables for item in table.sets}
    lines = []
    for element in elements:
        item = sets[element.table, element.set]
        data = f" : {_value(element.data, item.data_types)}" if element.data else ""
        key = _value(element.key, item.key_types)
        lines.append(f"{element.table.family} {element.set} {{ {key}{data} }}")
    return "\n".join(sorted(lines)) + "\n"


def _set_line(item: r.Set) -> str:
    data = f" : {' . '.join(item.data_types)}" if item.data_types else ""
    return f"  {'map' if data else 'set'} {item.name} {{ {' . '.join(item.key_types)}{data} }}  # {item.comment}"


def _chain_lines(chain: Chain) -> Iterable[str]:
    hook = chain.hook
    suffix = f" {hook.type} hook {hook.hook} priority {hook.priority} policy {hook.policy}" if hook else ""
    owner = "" if chain.ours else " (the operator's)"
    yield f"  chain {chain.name}{suffix}{owner}"
    for rule in chain.rules:
        yield f"    {_rule(rule)}  # {rule.name}"


def _rule(rule: Rule) -> str:
    words: list[str] = []
    loaded: list[str] = []
    for expr in rule.exprs:
        plain = _without_register(expr)
        if plain in _FIELDS:
            loaded.append(_FIELDS[plain])
        else:
            words.append(_word(expr, " . ".join(loaded)))
            if not isinstance(expr, r.Bitwise):
                loaded = []
    return " ".join(word for word in words if word)


def _without_register(expr: Expr) -> Expr:
    return msgspec.structs.replace(expr, reg=8) if hasattr(expr, "reg") and not isinstance(expr, r.Lookup) else expr


def _word(expr: Expr, left: str) -> str:
    match expr:
        case r.Lookup():
            words = f"{left} {'not in ' if expr.invert else 'in '}@{expr.set}"
            return words if expr.dreg is None else f"{left} map @{expr.set} =>"
        case r.Cmp():
            return f"{left} {_OPERATORS[expr.op]} 0x{expr.data.hex()}"
        case r.Bitwise():
            return f"({left} & 0x{expr.mask.hex()} ^ 0x{expr.xor.hex()})"
        case r.Verdict():
            return f"{_VERDICTS[expr.code]} {expr.chain}".rstrip()
        case r.Nat():
            port = "" if expr.port is None else f" port reg {expr.port}"
            return f"{'dnat' if expr.kind else 'snat'} family {expr.family} address reg {expr.addr}{port}"
        case r.Meta(write=True):
            return f"write meta {expr.key}"
        case r.Match():
            return f"match {expr.name} revision {expr.revision} 0x{expr.info.hex()}"
        case r.Reject():
            return f"reject kind {expr.kind} code {expr.code}"
        case r.Masquerade() | r.Counter():
            return type(expr).__name__.lower()
    raise AssertionError(f"no text for {expr}")


def _value(data: bytes, types: tuple[str, ...]) -> str:
    parts = []
    for name in types:
        length = DATA_TYPES[name].length
        parts.append(_datum(data[:length], name))
        data = data[length + 3 & ~3 :] if len(types) > 1 else data[length:]
    assert not data
    return " . ".join(parts)


def _datum(data: bytes, name: str) -> str:
    match name:
        case "ifname":
            return data.rstrip(b"\0").decode()
        case "ipv4_addr" | "ipv6_addr":
            return str(ip_address(data))
        case "ether_addr":
            return data.hex(":")
        case _:
            return str(int.from_bytes(data, "big")) if name.startswith("inet") else f"0x{data.hex()}"
