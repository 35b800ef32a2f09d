"""Rules of two namespaces as one: the host's, and the one for overlay networks (`apart`)."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence

from towline.kernel.contract import ForeignChain, NftChange, TableState
from towline.kernel.nft import NfNetlinkNft
from towline.model.errors import KernelError
from towline.model.ruleset import AddElements, AddTable, DeleteElements, DeleteTable, Element, TableId


class SplitNft:
    """The `Nft` contract. here, there: clients in the two namespaces. tables: those that are there."""

    def __init__(self, here: NfNetlinkNft, there: NfNetlinkNft, tables: Collection[TableId]) -> None:
        self._here = here
        self._there = there
        self._tables = frozenset(tables)

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def commit(self, changes: Sequence[NftChange]) -> None:
        """Two transactions where both namespaces are concerned; when the second is refused, the first is taken back.
        EIO if that is refused as well: then nobody knows."""
        far, near = self._divide(changes)
        if far:
            self._there.commit(far)
        if not near:
            return
        try:
            self._here.commit(near)
        except KernelError as error:
            if far:
                self._take_back(far, error)
            raise

    def _take_back(self, done: Sequence[NftChange], cause: KernelError) -> None:
        try:
            self._there.commit([_inverse(change) for change in reversed(done) if not isinstance(change, _TABLES)])
        except KernelError as error:
            raise KernelError(errno.EIO, cause.operation, f"{cause}; then {error}") from error

    def _divide(self, changes: Sequence[NftChange]) -> tuple[list[NftChange], list[NftChange]]:
        far: list[NftChange] = []
        near: list[NftChange] = []
        for change in changes:
            match change:
                case AddElements(elements) | DeleteElements(elements):
                    theirs = tuple(element for element in elements if self._is_there(element))
                    ours = tuple(element for element in elements if not self._is_there(element)) if theirs else elements
                    far += [type(change)(theirs)] if theirs else []
                    near += [type(change)(ours)] if ours else []
                case AddTable(table):
                    (far if table.id in self._tables else near).append(change)
                case DeleteTable(id):
                    (far if id in self._tables else near).append(change)
                case _:
                    near.append(change)
        return far, near

    def _is_there(self, element: Element) -> bool:
        return element.table in self._tables

    def read(self, table: TableId) -> TableState | None:
        return (self._there if table in self._tables else self._here).read(table)

    def foreign_chains(self) -> list[tuple[TableId, str]]:
        return self._here.foreign_chains()

    def foreign_forward_chains(self) -> list[ForeignChain]:
        return self._here.foreign_forward_chains()


_TABLES = AddTable | DeleteTable


def _inverse(change: NftChange) -> NftChange:
    match change:
        case AddElements(elements):
            return DeleteElements(elements)
        case DeleteElements(elements):
            return AddElements(elements)
        case _:
            return change
