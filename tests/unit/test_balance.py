"""Shares of members, and how rules inside sandboxes go from one state to another."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.control.compare_inner import INNER_TABLES, changes_between, changes_to, lost_members
from towline.firewall.balance import (
    CLASSES,
    MESH,
    SERVICES,
    Backend,
    MeshPort,
    mesh_elements,
    mesh_table,
    services_table,
    slots_for,
    vip_elements,
)
from towline.firewall.returns import EGRESS, RETURNS, Mesh, returns_elements, returns_tables
from towline.kernel.fake_nft import FakeNft
from towline.kernel.nft_types import layout
from towline.model.inner import NOTHING, Inner
from towline.model.ruleset import Element, Table

VIP, VIP6 = "10.0.0.100", "fd00::100"
PORT = MeshPort("tcp", 8080, 80)


def members(*numbers: int) -> list[Backend]:
    return [Backend(f"10.0.{n >> 8}.{n & 255}", f"fd00::{n:x}") for n in numbers]


@settings(max_examples=40)
@given(st.integers(0, 3000))
def test_each_member_has_its_share(count: int) -> None:
    elements = [e for e in vip_elements(VIP, members(*range(1, count + 1))) if e.data]
    shares = Counter(e.data for e in elements)
    assert len(elements) == (slots_for(count) if count else 0)
    assert len({e.key for e in elements}) == len(elements)
    assert len(shares) == min(count, CLASSES[-1])
    if shares:
        assert max(shares.values()) - min(shares.values()) <= 1
        assert max(shares.values()) <= 4 / 3 * min(shares.values()) or count > CLASSES[-1] // 3


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 21, 28, 30, 35, 42, 60, 70, 84, 105, 140])
def test_usual_numbers_of_members_are_served_evenly(count: int) -> None:
    shares = Counter(e.data for e in vip_elements(VIP, members(*range(1, count + 1))) if e.data)
    assert len(set(shares.values())) == 1


def test_families_are_apart() -> None:
    mixed = [Backend("10.0.0.1", ""), Backend("", "fd00::2")]
    four, six = ({e.data for e in vip_elements(vip, mixed) if e.data} for vip in (VIP, VIP6))
    assert {len(data) for data in four} == {4}
    assert {len(data) for data in six} == {16}
    assert {(e.set[-1], len(e.data)) for e in mesh_elements(PORT, mixed)} == {("4", 8), ("6", 20)}


def all_tables() -> list[tuple[Table, tuple[Element, ...]]]:
    some = members(1, 2, 300)
    back = returns_elements([Mesh("02:00:00:00:00:01", "10.1.0.2"), Mesh("02:00:00:00:00:02", "10.1.0.3")])
    return [
        (services_table(), (*vip_elements(VIP, some), *vip_elements(VIP6, some))),
        (mesh_table("eth0", 1450), tuple(mesh_elements(PORT, some))),
        *((table, tuple(e for e in back if e.table == table.id)) for table in returns_tables("eth1")),
    ]


@pytest.mark.parametrize(("table", "elements"), all_tables(), ids=lambda value: getattr(value, "id", None) and value.id)
def test_elements_fit_their_sets(table: Table, elements: tuple[Element, ...]) -> None:
    sets = {item.name: item for item in table.sets}
    assert table.id in INNER_TABLES
    assert elements
    for element in elements:
        item = sets[element.set]
        data = layout(item.data_types).length if item.data_types else 0
        assert (element.table, len(element.key), len(element.data)) == (table.id, layout(item.key_types).length, data)


def test_of_two_meshes_with_one_mark_one_is_known() -> None:
    same = returns_elements([Mesh("02:00:00:00:00:01", "10.1.0.2"), Mesh("02:00:00:00:00:02", "11.1.0.2")])
    assert [e.table for e in same] == [RETURNS, EGRESS]


def test_another_interface_or_mtu_is_another_ruleset() -> None:
    """Rules are compared by name, so the name must tell."""
    names = {
        chain.rules[0].name
        for table in (mesh_table("eth0", 1450), mesh_table("eth1", 1450), mesh_table("eth0", 1400))
        for chain in table.chains[:1]
    }
    assert len(names) == 3


# from one state to another

_NUMBERS = st.lists(st.integers(1, 6), unique=True, max_size=6)


def state(numbers: list[int], *, mesh: bool = False) -> Inner:
    found = members(*numbers)
    tables = [services_table(), *([mesh_table("eth0", 1450)] if mesh else [])]
    elements = [*vip_elements(VIP, found), *(mesh_elements(PORT, found) if mesh else ())]
    return Inner(tuple(tables), tuple(elements))


@given(_NUMBERS, _NUMBERS, st.booleans(), st.booleans())
def test_differences_and_comparison_lead_to_the_same(one: list[int], two: list[int], a: bool, b: bool) -> None:
    before, after = state(one, mesh=a), state(two, mesh=b)
    by_difference, by_looking = FakeNft(), FakeNft()
    for nft in (by_difference, by_looking):
        nft.commit(changes_between(NOTHING, before))
    by_difference.commit(changes_between(before, after))
    held = [found for table in INNER_TABLES if (found := by_looking.read(table)) is not None]
    by_looking.commit(changes_to(after, held))
    for table in INNER_TABLES:
        assert by_difference.read(table) == by_looking.read(table)
    left = [found for table in INNER_TABLES if (found := by_looking.read(table)) is not None]
    assert changes_to(after, left) == []


def test_what_is_the_same_needs_nothing() -> None:
    assert changes_between(state([1, 2]), state([1, 2])) == []
    assert changes_between(NOTHING, NOTHING) == []


def test_who_is_no_member_any_more() -> None:
    gone = lost_members(state([1, 2], mesh=True), state([2], mesh=True))
    assert gone == {bytes((10, 0, 0, 1)), bytes.fromhex("fd00" + 27 * "0" + "1")}
    assert lost_members(state([1]), state([1, 2])) == set()
    assert {e.table for e in state([1], mesh=True).elements} == {SERVICES, MESH}
