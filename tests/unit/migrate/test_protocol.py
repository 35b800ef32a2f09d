"""Who may change a migration's record, and with which words others are refused."""

from __future__ import annotations

import msgspec
import pytest

from towline.migrate.protocol import LONGEST_REASON, Act, Commit, Move, advance, source_step, target_step
from towline.model.errors import Conflict, Forbidden, InvalidParameter, TowlineError
from towline.model.migration import Migration, MigrationState, SourceFacts, TargetFacts

DIGEST = "0123456789abcdef" * 4
AT = 1_700_000_000_000_000_000


def record(state: MigrationState) -> Migration:
    return Migration("m1", "web", "east", "west", 3, 5, state=state)


def move(came_from: MigrationState, to: MigrationState, **changes: object) -> Move:
    digest = DIGEST if to == "frozen" else ""
    return msgspec.structs.replace(Move("m1", 3, 5, came_from, to, digest), **changes)


def test_the_whole_way() -> None:
    migration = record("planned")
    way: list[tuple[MigrationState, str]] = [
        ("reserved", "west"),
        ("prepared", "west"),
        ("frozen", "east"),
        ("switched", "west"),
        ("live", "west"),
        ("done", "east"),
    ]
    for at, (state, node) in enumerate(way):
        migration = advance(migration, move(migration.state, state), node, AT + at)
    assert migration.state == "done"
    assert migration.digest == DIGEST
    assert migration.times == {state: AT + at for at, (state, _) in enumerate(way)}


@pytest.mark.parametrize(
    ("state", "asked", "node", "error", "text"),
    [
        (
            "planned",
            move("planned", "reserved", id="m0"),
            "west",
            Conflict,
            "migration m0 is not the one of sandbox web",
        ),
        ("planned", move("planned", "reserved", epoch=2), "west", Conflict, "from epoch 3 to 5, not from 2 to 5"),
        ("planned", move("planned", "reserved", next=4), "west", Conflict, "from epoch 3 to 5, not from 3 to 4"),
        ("planned", move("planned", "reserved"), "east", Forbidden, "only the target of migration m1"),
        ("planned", move("planned", "reserved"), "north", Forbidden, "only the target of migration m1"),
        ("prepared", move("prepared", "frozen"), "west", Forbidden, "only the source of migration m1"),
        ("prepared", move("prepared", "frozen", digest="x"), "east", InvalidParameter, "is no SHA-256"),
        (
            "planned",
            move("frozen", "switched"),
            "west",
            Conflict,
            "m1 is planned: it cannot go from frozen to switched",
        ),
        ("planned", move("planned", "live"), "west", Conflict, "it cannot go from planned to live"),
        ("aborted", move("frozen", "switched"), "west", Conflict, "m1 is aborted"),
        ("switched", move("frozen", "aborted"), "east", Conflict, "can only be migrated back"),
        ("done", move("done", "aborted"), "east", Conflict, "belongs to node west"),
        ("frozen", move("frozen", "aborted"), "north", Forbidden, "north has no part in migration m1"),
        (
            "frozen",
            move("prepared", "aborted"),
            "east",
            Conflict,
            "m1 is frozen: it cannot go from prepared to aborted",
        ),
    ],
)
def test_a_move_that_is_refused(
    state: MigrationState, asked: Move, node: str, error: type[TowlineError], text: str
) -> None:
    with pytest.raises(error, match=text):
        advance(record(state), asked, node, AT)


@pytest.mark.parametrize("state", ["planned", "reserved", "prepared", "frozen"])
def test_an_operator_aborts(state: MigrationState) -> None:
    asked = move(state, "aborted", reason="no time today" * 1000)
    after = advance(record(state), asked, "", AT, manager=True)
    assert after.state == "aborted"
    assert after.reason == asked.reason[:LONGEST_REASON]


def test_an_operator_says_nothing_else() -> None:
    with pytest.raises(Forbidden, match="only the target"):
        advance(record("frozen"), move("frozen", "switched"), "", AT, manager=True)


def test_asked_twice_is_harmless() -> None:
    after = advance(record("frozen"), move("frozen", "switched"), "west", AT)
    assert advance(after, move("frozen", "switched"), "west", AT + 1) == after


def test_the_source_cuts_off_before_it_freezes() -> None:
    assert source_step(record("prepared"), SourceFacts()) is Act.LOCK
    assert source_step(record("prepared"), SourceFacts(network="locked")) is Act.FREEZE


def test_the_source_waits_until_the_target_is_prepared() -> None:
    for state in ("planned", "reserved"):
        assert source_step(record(state), SourceFacts()) is None  # type: ignore[arg-type]


def test_after_the_switch_nothing_is_too_late() -> None:
    facts = TargetFacts(reserved=True, process="held", network="silent", images=True)
    assert target_step(record("switched"), facts, failed="no memory", expired=True) is Act.OPEN
    assert target_step(record("frozen"), facts, failed="no memory") == Commit("aborted", "no memory")
    assert target_step(record("frozen"), facts, expired=True) == Commit("aborted", "the deadline has passed")
