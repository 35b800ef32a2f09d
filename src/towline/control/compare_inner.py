"""Rules in a sandbox's namespace against what they should be, as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from towline.control.compare import AddMembers, DropMembers, ReplaceTable, compare_table
from towline.firewall.balance import MESH, SERVICES
from towline.firewall.returns import EGRESS, RETURNS
from towline.model.inner import Inner
from towline.model.ruleset import (
    AddElements,
    AddTable,
    DeleteElements,
    DeleteTable,
    Element,
    NftChange,
    TableState,
)

INNER_TABLES = (SERVICES, MESH, RETURNS, EGRESS)


def changes_between(before: Inner, after: Inner) -> list[NftChange]:
    """What leads from one state to another; elements whose table stays are changed by themselves."""
    had, has = set(before.elements), set(after.elements)
    kept = {table.id for table in after.tables if table in before.tables}
    gone = tuple(e for e in before.elements if e.table in kept and e not in has)
    new = tuple(e for e in after.elements if e.table not in kept or e not in had)
    wanted = {table.id for table in after.tables}
    changes: list[NftChange] = [DeleteTable(table.id) for table in before.tables if table.id not in wanted]
    changes += [AddTable(table) for table in after.tables if table.id not in kept]
    return [*changes, *_elements(gone, new)]


def changes_to(inner: Inner, states: Sequence[TableState]) -> list[NftChange]:
    """What leads from what the kernel holds (`INNER_TABLES` as far as they are there) to the desired state."""
    held = {state.id: state for state in states}
    wanted = {table.id for table in inner.tables}
    changes: list[NftChange] = [DeleteTable(table) for table in held if table not in wanted]
    gone: list[Element] = []
    new: list[Element] = []
    for table in inner.tables:
        members = [e for e in inner.elements if e.table == table.id]
        for difference in compare_table(table, members, held.get(table.id)):
            match difference.act:
                case ReplaceTable():
                    changes.append(AddTable(table))
                    new += members
                case AddMembers(missing, stale):
                    gone += stale
                    new += missing
                case DropMembers(extra):
                    gone += extra
                case _:
                    pass
    return [*changes, *_elements(gone, new)]


def _elements(gone: Sequence[Element], new: Sequence[Element]) -> Iterator[NftChange]:
    if gone:
        yield DeleteElements(tuple(gone))
    if new:
        yield AddElements(tuple(new))


def lost_members(before: Inner, after: Inner) -> set[bytes]:
    """Packed addresses that connections were sent to and are not any more."""
    return targets(before) - targets(after)


def targets(inner: Inner) -> set[bytes]:
    """Packed addresses that connections are sent to. The data of slots is an address, with a port behind it in the mesh
    (padded to four bytes)."""
    found = set()
    for element in inner.elements:
        if element.table in (SERVICES, MESH) and element.data:
            found.add(element.data[:-4] if element.table == MESH else element.data)
    return found
