"""nf_tables objects as netlink messages: tables, chains, rules, sets, elements. Decides nothing.

Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from towline.kernel.netlink import NLM_F_APPEND, NLM_F_CREATE, Message, attr, nest
from towline.kernel.nft_expr import expressions, number, text
from towline.kernel.nft_types import definition, set_userdata, text_userdata
from towline.model.ruleset import Chain, Element, Family, Rule, Set, TableId

FAMILIES: dict[Family, int] = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
OURS = "towline"
"""Begins the comment of every chain and set that we make; others in our tables are the operator's."""
_OPERATORS = "towline: yours, never changed"

_SUBSYSTEM = 10
(NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE, NEWSET, GETSET, DELSET) = (
    _SUBSYSTEM << 8 | number_ for number_ in range(12)
)
NEWSETELEM, GETSETELEM, DELSETELEM, NEWGEN, GETGEN = (_SUBSYSTEM << 8 | number_ for number_ in range(12, 17))
_BATCH_BEGIN, _BATCH_END, _BATCH_GENID = 16, 17, 1

_POLICIES = {"drop": 0, "accept": 1}
_RULE_COMMENT = _CHAIN_COMMENT = 0
_NESTED = 0x8000
_HEAD = struct.Struct("=HH")
_BE32 = struct.Struct(">I")
_ELEMENT_BYTES = 60_000


class Step(NamedTuple):
    """A message of a transaction, and what it does in words (for the error that names it)."""

    message: Message
    operation: str


def batch_begin(generation: int | None = None) -> Message:
    """With a generation the kernel refuses (ERESTART) if the ruleset is no longer the one that was read."""
    body = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    return Message(_BATCH_BEGIN, 0, body + (b"" if generation is None else attr(_BATCH_GENID, _BE32.pack(generation))))


BATCH_END = Message(_BATCH_END, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))


def header(family: Family | None) -> bytes:
    """struct nfgenmsg; None asks for all families."""
    return bytes((FAMILIES[family] if family else 0, 0, 0, 0))


def add_table(table: TableId) -> Step:
    body = header(table.family) + text(1, table.name) + number(2, 0)
    return Step(Message(NEWTABLE, NLM_F_CREATE, body), f"add table {table.family} {table.name}")


def delete_table(table: TableId) -> Step:
    return Step(_named(DELTABLE, table, 1), f"delete table {table.family} {table.name}")


def add_chain(table: TableId, chain: Chain) -> Step:
    body = header(table.family) + text(1, table.name) + text(3, chain.name)
    if chain.hook is not None:
        device = text(3, chain.hook.device) if chain.hook.device else b""
        hook = nest(4, number(1, chain.hook.hook), number(2, chain.hook.priority), device)
        body += hook + number(5, _POLICIES[chain.hook.policy]) + text(7, chain.hook.type)
    body += attr(12, text_userdata(_CHAIN_COMMENT, OURS if chain.ours else _OPERATORS))
    return Step(Message(NEWCHAIN, NLM_F_CREATE, body), f"add chain {_path(table, chain.name)}")


def delete_chain(table: TableId, chain: str) -> Step:
    return Step(_named(DELCHAIN, table, 3, chain), f"delete chain {_path(table, chain)}")


def flush_chain(table: TableId, chain: str) -> Step:
    return Step(_named(DELRULE, table, 2, chain), f"flush chain {_path(table, chain)}")


def add_rule(table: TableId, chain: str, rule: Rule, *, first: bool = False) -> Step:
    body = header(table.family) + text(1, table.name) + text(2, chain) + nest(4, expressions(rule.exprs))
    body += attr(7, text_userdata(_RULE_COMMENT, rule.name))
    flags = NLM_F_CREATE if first else NLM_F_CREATE | NLM_F_APPEND
    return Step(Message(NEWRULE, flags, body), f"add rule {rule.name!r} to chain {_path(table, chain)}")


def delete_rule(table: TableId, chain: str, handle: int) -> Step:
    message = _named(DELRULE, table, 2, chain)
    body = message.body + attr(3, struct.pack(">Q", handle))
    return Step(message._replace(body=body), f"delete rule {handle} of chain {_path(table, chain)}")


def add_set(table: TableId, item: Set, set_id: int) -> Step:
    """set_id: unique in the transaction (the kernel insists on one)."""
    wanted = definition(item)
    body = header(table.family) + text(1, table.name) + text(2, item.name)
    body += number(3, wanted.flags) + number(4, wanted.key_type) + number(5, wanted.key_length)
    if item.data_types:
        body += number(6, wanted.data_type) + number(7, wanted.data_length)
    comment = f"{OURS}: {item.comment}" if item.comment else OURS
    body += number(10, set_id) + attr(13, set_userdata(item.key_types, item.data_types, comment))
    return Step(Message(NEWSET, NLM_F_CREATE, body), f"add set {_path(table, item.name)}")


def delete_set(table: TableId, name: str) -> Step:
    return Step(_named(DELSET, table, 2, name), f"delete set {_path(table, name)}")


def flush_set(table: TableId, name: str) -> Step:
    return Step(_named(DELSETELEM, table, 2, name), f"flush set {_path(table, name)}")


def add_elements(elements: Iterable[Element]) -> Iterator[Step]:
    return _elements(NEWSETELEM, NLM_F_CREATE, "add elements to set", elements)


def delete_elements(elements: Iterable[Element]) -> Iterator[Step]:
    return _elements(DELSETELEM, 0, "delete elements of set", elements)


def request(kind: int, table: TableId, *names: tuple[int, str]) -> Message:
    """A question about a table or, with (attribute, name) pairs, about what is in it."""
    return Message(kind, 0, header(table.family) + b"".join([text(1, table.name), *(text(*name) for name in names)]))


def _elements(kind: int, flags: int, verb: str, elements: Iterable[Element]) -> Iterator[Step]:
    for (table, name), encoded in _by_set(elements).items():
        head, path = _set_head(table, name)
        for chunk in _chunks(encoded):
            yield Step(Message(kind, flags, head + nest(3, chunk)), f"{verb} {path}")


def _by_set(elements: Iterable[Element]) -> dict[tuple[TableId, str], list[bytes]]:
    sets: dict[tuple[TableId, str], list[bytes]] = {}
    for element in elements:
        sets.setdefault((element.table, element.set), []).append(_element(element.key, element.data))
    return sets


def _chunks(encoded: list[bytes]) -> Iterator[bytes]:
    """The list is one attribute, whose length has 16 bits."""
    step = _ELEMENT_BYTES // len(encoded[0])
    for start in range(0, len(encoded), step):
        yield b"".join(encoded[start : start + step])


def _element(key: bytes, data: bytes) -> bytes:
    head, middle = _element_frame(len(key), len(data))
    padded = head + key + bytes(-len(key) & 3)
    return padded + middle + data + bytes(-len(data) & 3) if data else padded


@lru_cache(maxsize=256)
def _element_frame(key: int, data: int) -> tuple[bytes, bytes]:
    """What stands before the key and before the data in NFTA_LIST_ELEM { KEY { VALUE } DATA { VALUE } }."""
    middle = _HEAD.pack(8 + data, 2 | _NESTED) + _HEAD.pack(4 + data, 1)
    length = 12 + (key + 3 & ~3) + ((len(middle) + data + 3 & ~3) if data else 0)
    head = _HEAD.pack(length, 1 | _NESTED) + _HEAD.pack(8 + key, 1 | _NESTED) + _HEAD.pack(4 + key, 1)
    return head, middle


@lru_cache(maxsize=256)
def _set_head(table: TableId, name: str) -> tuple[bytes, str]:
    return header(table.family) + text(1, table.name) + text(2, name), _path(table, name)


def _named(kind: int, table: TableId, name_attribute: int, name: str = "") -> Message:
    names = ((name_attribute, name),) if name else ()
    return request(kind, table, *names)


def _path(table: TableId, name: str) -> str:
    return f"{table.family} {table.name} {name}"
