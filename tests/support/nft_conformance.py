"""What every implementation of `kernel.contract.Nft` must do. `CASES` are run by name against the fake and the real."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

import msgspec
import pytest

from towline.firewall import admit_rule
from towline.kernel.contract import (
    AddElements,
    AddTable,
    DeleteElements,
    DeleteForeign,
    DeleteTable,
    InsertForeign,
    Nft,
    NftChange,
)
from towline.kernel.nft_types import definition
from towline.model.errors import KernelError
from towline.model.ruleset import Chain, Counter, Element, Hook, Rule, Set, Table, TableId, TableState, Verdict

Case = Callable[[Nft], None]

ID = TableId("inet", "towline-test")
FOREIGN = TableId("ip", "filter")
"""The harness puts a base chain FORWARD with two rules and policy drop there, and nothing of that name in `ip6`."""


def rule(name: str, code: int = 1) -> Rule:
    return Rule(name, (Counter(), Verdict(code)))


TABLE = Table(
    ID,
    (
        Set("names", ("ifname",), comment="some"),
        Set("pairs", ("ifname", "ifname")),
        Set("ports", ("ipv4_addr", "inet_proto", "inet_service"), ("ipv4_addr", "inet_service")),
        Set("sources", ("ifname",), ("ipv6_addr",)),
    ),
    (
        Chain("user", ours=False),
        Chain("forward", Hook("filter", 2, -10), (rule("first"), rule("second", 0))),
        Chain("plain", rules=(rule("third"),)),
    ),
)


def name(number: int) -> bytes:
    return f"br-{number}".encode().ljust(16, b"\0")


def named(number: int, table: TableId = ID) -> Element:
    return Element(table, "names", name(number))


PORT = Element(ID, "ports", b"\x0a\0\0\x01\x06\0\0\0\0\x50\0\0", b"\xac\x11\0\x02\x1f\x90\0\0")
SOURCE = Element(ID, "sources", name(1), bytes(range(16)))


def refused(nft: Nft, code: int, mentions: str, *changes: NftChange) -> None:
    before = nft.read(ID)
    with pytest.raises(KernelError) as caught:
        nft.commit(changes)
    assert caught.value.errno == code
    assert mentions in str(caught.value)
    assert nft.read(ID) == before


def members(nft: Nft, set_name: str) -> dict[bytes, bytes]:
    state = nft.read(ID)
    assert state is not None
    return state.sets[set_name]


def is_as_asked(table: Table, state: TableState) -> bool:
    """Hooks, policies and what the sets hold."""
    hooks = {chain.name: chain.hook for chain in table.chains}
    definitions = {item.name: definition(item) for item in table.sets}
    return (state.hooks, state.definitions, state.dormant) == (hooks, definitions, False)


def an_absent_table_reads_as_none(nft: Nft) -> None:
    assert nft.read(ID) is None


def a_table_reads_back(nft: Nft) -> None:
    nft.commit([AddTable(TABLE)])
    state = nft.read(ID)
    assert state is not None
    assert state.id == ID
    assert state.chains == {"user": (), "forward": ("first", "second"), "plain": ("third",)}
    assert state.sets == {"names": {}, "pairs": {}, "ports": {}, "sources": {}}
    assert is_as_asked(TABLE, state)


def nothing_is_a_commit_too(nft: Nft) -> None:
    nft.commit([])
    nft.commit([AddTable(TABLE)])
    nft.commit([AddElements(()), DeleteElements(())])


def elements_come_and_go(nft: Nft) -> None:
    pair = Element(ID, "pairs", name(1) + name(2))
    nft.commit([AddTable(TABLE), AddElements((named(1), pair, PORT, SOURCE, named(2)))])
    assert members(nft, "names") == {name(1): b"", name(2): b""}
    assert members(nft, "pairs") == {pair.key: b""}
    assert members(nft, "ports") == {PORT.key: PORT.data}
    assert members(nft, "sources") == {SOURCE.key: SOURCE.data}
    nft.commit([DeleteElements((named(1), PORT)), AddElements((named(3),))])
    assert members(nft, "names") == {name(2): b"", name(3): b""}
    assert members(nft, "ports") == {}


def many_elements_in_one_commit(nft: Nft) -> None:
    many = tuple(named(i) for i in range(5000))
    nft.commit([AddTable(TABLE), AddElements(many)])
    assert members(nft, "names") == dict.fromkeys((e.key for e in many), b"")
    nft.commit([DeleteElements(many[:4999])])
    assert list(members(nft, "names")) == [name(4999)]


def adding_twice_is_no_error(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1), named(1), SOURCE))])
    nft.commit([AddElements((named(1), SOURCE))])
    refused(nft, errno.ENOENT, "names", AddElements((named(1),)), DeleteElements((named(9),)))
    assert members(nft, "names") == {name(1): b""}


def other_data_for_a_key_is_refused(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((SOURCE,))])
    refused(
        nft,
        errno.EEXIST,
        "add elements to set inet towline-test sources",
        AddElements((SOURCE._replace(data=bytes(16)),)),
    )


def deleting_what_is_absent_is_refused(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    refused(nft, errno.ENOENT, "delete elements of set inet towline-test names", DeleteElements((named(1), named(2))))


def a_refused_change_undoes_the_others(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    wrong = AddElements((Element(ID, "names", b"short"),))
    refused(nft, errno.EINVAL, "names", AddElements((named(2), named(3))), DeleteElements((named(1),)), wrong)
    refused(nft, errno.ENOENT, "nowhere", AddTable(TABLE), AddElements((Element(ID, "nowhere", name(1)),)))
    refused(nft, errno.ENOENT, "nowhere", DeleteTable(ID), AddElements((Element(ID, "nowhere", name(1)),)))


def keys_and_data_must_fit(nft: Nft) -> None:
    nft.commit([AddTable(TABLE)])
    for element in (
        Element(ID, "names", name(1) + b"\0"),
        Element(ID, "names", name(1), b"\0" * 4),
        Element(ID, "sources", name(1)),
        Element(ID, "sources", name(1), b"\0" * 4),
    ):
        refused(nft, errno.EINVAL, element.set, AddElements((element,)))


def replacing_empties_the_sets(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1), PORT))])
    nft.commit([AddTable(TABLE), AddElements((named(2),))])
    assert members(nft, "names") == {name(2): b""}
    assert members(nft, "ports") == {}


def replacing_brings_another_version(nft: Nft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    sets = (Set("names", ("ifname", "inet_proto")), Set("new", ("ether_addr",)))
    chains = (
        Chain("user", ours=False),
        Chain("forward", Hook("filter", 2, -20, "drop"), (rule("other"),)),
        Chain("plain", Hook("filter", 1, 0), (rule("first"),)),
        Chain("fresh"),
    )
    other = Table(ID, sets, chains)
    nft.commit([AddTable(other), AddElements((Element(ID, "names", name(1) + b"\6\0\0\0"),))])
    state = nft.read(ID)
    assert state is not None
    assert state.chains == {"user": (), "forward": ("other",), "plain": ("first",), "fresh": ()}
    assert state.sets == {"names": {name(1) + b"\6\0\0\0": b""}, "new": {}}
    assert is_as_asked(other, state)
    nft.commit([AddTable(TABLE)])
    state = nft.read(ID)
    assert state is not None
    assert set(state.chains) == {"user", "forward", "plain"}
    assert set(state.sets) == {"names", "pairs", "ports", "sources"}
    assert is_as_asked(TABLE, state)


def deleting_a_table(nft: Nft) -> None:
    nft.commit([DeleteTable(ID)])
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    nft.commit([DeleteTable(ID)])
    assert nft.read(ID) is None
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    nft.commit([DeleteTable(ID), AddTable(TABLE), AddElements((named(2),))])
    assert members(nft, "names") == {name(2): b""}


def tables_of_the_same_name_are_different(nft: Nft) -> None:
    other = TableId("bridge", ID.name)
    nft.commit([AddTable(TABLE), AddTable(msgspec.structs.replace(TABLE, id=other)), AddElements((named(1, other),))])
    assert members(nft, "names") == {}
    nft.commit([DeleteTable(ID)])
    state = nft.read(other)
    assert state is not None
    assert state.sets["names"] == {name(1): b""}


def foreign_chains_are_seen(nft: Nft) -> None:
    nft.commit([AddTable(TABLE)])
    chains = nft.foreign_forward_chains()
    assert [(c.table, c.chain, c.hook, c.priority, c.policy) for c in chains] == [(FOREIGN, "FORWARD", 2, 0, "drop")]
    assert [name for _, name in chains[0].rules] == ["", ""]


def chains_of_others_are_named(nft: Nft) -> None:
    nft.commit([AddTable(TABLE)])
    found = nft.foreign_chains()
    assert (FOREIGN, "FORWARD") in found
    assert all(table != ID for table, _ in found)


def our_rule_goes_first_in_a_foreign_chain(nft: Nft) -> None:
    admit = admit_rule(FOREIGN)
    nft.commit([InsertForeign(FOREIGN, "FORWARD", admit)])
    rules = nft.foreign_forward_chains()[0].rules
    assert [name for _, name in rules] == [admit.name, "", ""]
    nft.commit([DeleteForeign(FOREIGN, "FORWARD", rules[0][0])])
    assert nft.foreign_forward_chains()[0].rules == rules[1:]


def foreign_chains_that_are_not_there(nft: Nft) -> None:
    gone = TableId("ip6", "filter")
    refused(nft, errno.ENOENT, "ip6 filter FORWARD", InsertForeign(gone, "FORWARD", admit_rule(gone)))
    refused(nft, errno.ENOENT, "ip6 filter FORWARD", DeleteForeign(gone, "FORWARD", 1))
    refused(nft, errno.ENOENT, "rule 99999 of chain ip filter FORWARD", DeleteForeign(FOREIGN, "FORWARD", 99999))


CASES: dict[str, Case] = {
    name: case
    for name, case in vars(sys.modules[__name__]).items()
    if callable(case)
    and getattr(case, "__module__", "") == __name__
    and list(case.__annotations__) == ["nft", "return"]
}
