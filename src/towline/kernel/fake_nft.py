"""A stateful fake of nftables with named faults. One commit is all or nothing, as in the kernel."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import msgspec

from towline.kernel.faults import Faults
from towline.kernel.nft_types import definition, layout
from towline.model.errors import KernelError
from towline.model.ruleset import (
    AddElements,
    AddTable,
    DeleteElements,
    DeleteForeign,
    DeleteTable,
    Element,
    ForeignChain,
    Hook,
    InsertForeign,
    NftChange,
    Set,
    Table,
    TableId,
    TableState,
)

Undo = Callable[[], None]


class FakeTable(msgspec.Struct):
    """rules: chain -> names of its rules; an operator's may be appended by a test. elements: set -> {key: data}."""

    rules: dict[str, list[str]]
    hooks: dict[str, Hook | None]
    sets: dict[str, Set]
    elements: dict[str, dict[bytes, bytes]]
    dormant: bool = False


class FakeNft:
    """`tables` and `foreign` are the state and may be changed at will (`flush` is what `nft flush ruleset` does).

    Fault steps, named by table ("inet towline"), set ("inet towline bridges") or chain ("ip filter FORWARD"):
    "add_table", "delete_table", "add_elements", "delete_elements", "insert_foreign", "delete_foreign", "read"; and
    "commit", without a name, which refuses the whole transaction after all its steps.
    """

    def __init__(self, *, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.tables: dict[TableId, FakeTable] = {}
        self.foreign: dict[tuple[TableId, str], ForeignChain] = {}
        self.commits = 0
        self._handles = count(100)

    def commit(self, changes: Sequence[NftChange]) -> None:
        undo: list[Undo] = []
        try:
            for change in changes:
                for step in self._steps(change):
                    undo.append(step)
            self._check("commit", "", "commit nftables transaction")
        except KernelError:
            for take_back in reversed(undo):
                take_back()
            raise
        self.commits += 1

    def read(self, table: TableId) -> TableState | None:
        self._check("read", _name(table), f"read table {_name(table)}")
        found = self.tables.get(table)
        if found is None:
            return None
        chains = {chain: tuple(rules) for chain, rules in found.rules.items()}
        sets = {name: dict(members) for name, members in found.elements.items()}
        definitions = {name: definition(item) for name, item in found.sets.items()}
        return TableState(table, chains, sets, dict(found.hooks), definitions, found.dormant)

    def foreign_chains(self) -> list[tuple[TableId, str]]:
        return list(self.foreign)

    def foreign_forward_chains(self) -> list[ForeignChain]:
        return list(self.foreign.values())

    def close(self) -> None:
        pass

    def flush(self) -> None:
        self.tables.clear()
        self.foreign.clear()

    def add_foreign(self, table: TableId, chain: str, *, policy: str = "drop", rules: int = 0) -> ForeignChain:
        """A base chain of somebody else at the forward hook, with so many rules of his."""
        handles = tuple((next(self._handles), "") for _ in range(rules))
        made = ForeignChain(table, chain, 2, 0, policy, handles)
        self.foreign[table, chain] = made
        return made

    def _steps(self, change: NftChange) -> Iterator[Undo]:
        match change:
            case AddTable():
                yield self._add_table(change.table)
            case DeleteTable():
                yield self._delete_table(change.id)
            case AddElements():
                for element in change.elements:
                    yield self._add_element(element)
            case DeleteElements():
                for element in change.elements:
                    yield self._delete_element(element)
            case InsertForeign():
                yield self._insert_foreign(change)
            case DeleteForeign():
                yield self._delete_foreign(change)

    def _add_table(self, table: Table) -> Undo:
        self._check("add_table", _name(table.id), f"add table {_name(table.id)}")
        old = self.tables.get(table.id)
        kept = old.rules if old else {}
        rules = {
            chain.name: [rule.name for rule in chain.rules] if chain.ours else list(kept.get(chain.name, ()))
            for chain in table.chains
        }
        sets = {item.name: item for item in table.sets}
        self.tables[table.id] = FakeTable(
            rules, {chain.name: chain.hook for chain in table.chains}, sets, {name: {} for name in sets}
        )
        return lambda: self._restore_table(table.id, old)

    def _delete_table(self, table: TableId) -> Undo:
        self._check("delete_table", _name(table), f"delete table {_name(table)}")
        old = self.tables.pop(table, None)
        return lambda: self._restore_table(table, old)

    def _restore_table(self, table: TableId, old: FakeTable | None) -> None:
        if old is None:
            self.tables.pop(table, None)
        else:
            self.tables[table] = old

    def _add_element(self, element: Element) -> Undo:
        path = f"{_name(element.table)} {element.set}"
        operation = f"add elements to set {path}"
        self._check("add_elements", path, operation)
        members = self._members(element, operation, adding=True)
        if members.get(element.key, element.data) != element.data:
            raise KernelError(errno.EEXIST, operation)
        if element.key in members:
            return _nothing
        members[element.key] = element.data
        return lambda: _drop(members, element.key)

    def _delete_element(self, element: Element) -> Undo:
        path = f"{_name(element.table)} {element.set}"
        operation = f"delete elements of set {path}"
        self._check("delete_elements", path, operation)
        members = self._members(element, operation, adding=False)
        if element.key not in members:
            raise KernelError(errno.ENOENT, operation)
        data = members.pop(element.key)
        return lambda: members.update({element.key: data})

    def _members(self, element: Element, operation: str, *, adding: bool) -> dict[bytes, bytes]:
        """The set's members, after the checks that the kernel makes of key and data (deleting needs no data)."""
        table = self.tables.get(element.table)
        item = table.sets.get(element.set) if table else None
        if table is None or item is None:
            raise KernelError(errno.ENOENT, operation)
        data = layout(item.data_types).length if item.data_types else 0
        needed = data if adding or element.data else 0
        if (len(element.key), len(element.data)) != (layout(item.key_types).length, needed):
            raise KernelError(errno.EINVAL, operation)
        return table.elements[element.set]

    def _insert_foreign(self, change: InsertForeign) -> Undo:
        path = f"{_name(change.table)} {change.chain}"
        operation = f"add rule {change.rule.name!r} to chain {path}"
        self._check("insert_foreign", path, operation)
        rule = (next(self._handles), change.rule.name)
        return self._change_foreign(change.table, change.chain, operation, lambda rules: (rule, *rules))

    def _delete_foreign(self, change: DeleteForeign) -> Undo:
        path = f"{_name(change.table)} {change.chain}"
        operation = f"delete rule {change.handle} of chain {path}"
        self._check("delete_foreign", path, operation)

        def without(rules: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
            kept = tuple(rule for rule in rules if rule[0] != change.handle)
            if kept == rules:
                raise KernelError(errno.ENOENT, operation)
            return kept

        return self._change_foreign(change.table, change.chain, operation, without)

    def _change_foreign(
        self,
        table: TableId,
        chain: str,
        operation: str,
        change: Callable[[tuple[tuple[int, str], ...]], tuple[tuple[int, str], ...]],
    ) -> Undo:
        old = self.foreign.get((table, chain))
        if old is None:
            raise KernelError(errno.ENOENT, operation)
        self.foreign[table, chain] = msgspec.structs.replace(old, rules=change(old.rules))
        return lambda: self.foreign.update({(table, chain): old})

    def _check(self, verb: str, name: str, operation: str) -> None:
        if refused := self.faults.check(verb, name, operation):
            raise refused


def _name(table: TableId) -> str:
    return f"{table.family} {table.name}"


def _nothing() -> None:
    pass


def _drop(members: dict[bytes, bytes], key: bytes) -> None:
    members.pop(key, None)
