"""Every interleaving of two nodes, an operator, crashes, old news and late teardowns, visited one by one."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support import migrations as lab
from tests.support.migrations import Doing, Instance, Rules, World
from towline.migrate.protocol import Act, Commit, Step


def explore(rules: Rules) -> tuple[int, set[str]]:
    """Visits all worlds; how many, and the states in which records ended. AssertionError with the way to a bad one."""
    came: dict[World, tuple[World, str] | None] = {World(): None}
    settled: dict[World, World] = {}
    waiting, endings = deque(came), set()
    while waiting:
        world = waiting.popleft()
        wrong = lab.what_is_wrong(world)
        assert not wrong, _way(came, world, wrong)
        quiet = lab.everybody_back(world, rules)
        if quiet not in settled:
            settled[quiet] = end = lab.settle(quiet, rules)
            endings.add(end.record.state)
            left = lab.what_is_wrong(end) or lab.what_is_left(end)
            assert not left, _way(came, world, left)
            if world.record.state in ("switched", "live", "done"):
                assert end.record.state == "done", _way(came, world, "undone")
        for name, after in lab.successors(world, rules):
            if after not in came:
                came[after] = (world, name)
                waiting.append(after)
    return len(came), endings


def _way(came: dict[World, tuple[World, str] | None], world: World, wrong: str) -> str:
    steps: list[str] = []
    step = came[world]
    while step is not None:
        world, name = step
        steps.append(name)
        step = came[world]
    return "\n".join([wrong, *reversed(steps)])


def test_one_migration() -> None:
    count, endings = explore(Rules())
    assert endings == {"done", "aborted"}
    assert count > 1_000


def test_a_host_that_reboots() -> None:
    count, endings = explore(Rules(reboots=1))
    assert endings == {"done", "aborted"}
    assert count > 5_000


def test_a_process_that_ends_by_itself() -> None:
    count, endings = explore(Rules(ends=True))
    assert endings == {"done", "aborted"}
    assert count > 1_000


def test_another_one_after_it() -> None:
    """Back again, or once more after an abort; a teardown for the first may come at any time of the second."""
    count, endings = explore(Rules(migrations=2, at_once=True))
    assert endings == {"done", "aborted"}
    assert count > 10_000


# protocols that are wrong in one point: what the exploration is worth


def _thaws_by_itself(world: World, node: int, *, failed: str = "", expired: bool = False) -> tuple[int, Step]:
    """The source does not wait for the record when the deadline has passed."""
    epoch, step = lab.decide(world, node, failed=failed, expired=expired)
    if isinstance(step, Commit) and step.to == "aborted" and world.instances[epoch].process == "frozen":
        return epoch, Act.THAW
    return epoch, step


def _releases_before_the_switch(
    world: World, node: int, *, failed: str = "", expired: bool = False
) -> tuple[int, Step]:
    epoch, step = lab.decide(world, node, failed=failed, expired=expired)
    return epoch, Act.RELEASE if isinstance(step, Commit) and step.to == "switched" else step


def _forgets_an_earlier_one(world: World, node: int, *, failed: str = "", expired: bool = False) -> tuple[int, Step]:
    """A node turns to the next migration with all that it still has of the last."""
    if world.mine[node].id != world.seen[node].id:
        return 0, None
    return lab.decide(world, node, failed=failed, expired=expired)


def _commits_without_looking(world: World, doing: Doing, node: int | None) -> World:
    """No compare: whoever comes last is right."""
    return world._replace(record=world.record._replace(state=str(doing.step)))


def _forgets_the_release(have: Instance, act: Act) -> Instance:
    """`released` is not kept: an instance that ended is taken for one that was never restored."""
    return lab.effect(have, act)._replace(released=False)


def _same_epoch_again(world: World) -> World:
    """An epoch at the target that an aborted migration has had already."""
    after = lab.begin(world)
    if world.record.state != "aborted":
        return after
    return after._replace(
        record=after.record._replace(next=world.record.next, attempt=1), places=world.places, instances=world.instances
    )


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        (Rules(decide=_thaws_by_itself), "it runs twice|it runs and nobody hears it"),
        (Rules(decide=_releases_before_the_switch), "it never ends|it runs and nobody hears it"),
        (Rules(decide=_forgets_an_earlier_one, migrations=2), "is not gone"),
        (Rules(commit=_commits_without_looking), "its address has two owners"),
        (Rules(effect=_forgets_the_release, ends=True), "what has ended lives again|it never ends"),
        (Rules(begin=_same_epoch_again, migrations=2, at_once=True), "nobody lives"),
    ],
    ids=["thaw", "release", "turn", "compare", "released", "epoch"],
)
def test_a_wrong_protocol_is_found(rules: Rules, wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        explore(rules)


class LongLife(RuleBasedStateMachine):
    """Many migrations in a row, at random."""

    game = Rules(migrations=12)

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        choices = list(lab.successors(self.world, self.game))
        if choices:
            self.world = data.draw(st.sampled_from(choices))[1]

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        self.world = lab.settle(lab.everybody_back(self.world, self.game), self.game)

    @invariant()
    def promises_hold(self) -> None:
        assert not lab.what_is_wrong(self.world)
        end = lab.settle(lab.everybody_back(self.world, self.game), self.game)
        assert not lab.what_is_wrong(end)
        assert not lab.what_is_left(end)


TestLongLife = LongLife.TestCase
TestLongLife.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
