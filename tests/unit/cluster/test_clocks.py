"""The middle of the managers' clocks is believed."""

from __future__ import annotations

from towline.cluster.clocks import ManagerClocks

HOUR = 3600 * 10**9


def test_alone_a_manager_believes_itself() -> None:
    assert ManagerClocks().middle == 0


def test_of_three_the_one_that_is_wrong_is_seen_by_all() -> None:
    good, bad = ManagerClocks(), ManagerClocks()
    good.heard("other", 5, 3)
    good.heard("bad", HOUR, 0)
    assert good.middle == 2
    for name in ("good", "other"):
        bad.heard(name, 0, HOUR)
    assert bad.middle == -HOUR


def test_the_last_word_counts_and_who_is_gone_does_not() -> None:
    clocks = ManagerClocks()
    for name in ("one", "two"):
        clocks.heard(name, HOUR, 0)
    clocks.heard("one", 4, 0)
    assert clocks.middle == 4
    clocks.keep(["two"])
    assert clocks.middle == HOUR // 2
