"""Forgetting connections in the background: gathered, all of them, and never in anybody's way."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from towline.control.flows import FlowSweeper


class Table:
    """Notes each walk, with the niceness of its thread. It can be told to wait."""

    def __init__(self) -> None:
        self.walks: list[list[str]] = []
        self.niceness: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def forget(self, addresses: Sequence[str], *, protocol: str = "", port: int = 0) -> int:
        self.walks.append(list(addresses))
        self.niceness.append(os.getpriority(os.PRIO_PROCESS, 0))
        self.begun.set()
        assert self.go.wait(10)
        return 0

    def forget_untranslated(self, protocol: str, places: Sequence[tuple[str, int]]) -> int:
        return 0

    def close(self) -> None: ...


def test_what_comes_together_shares_one_walk() -> None:
    table = Table()
    sweeper = FlowSweeper(table, gather=60.0)
    sweeper.forget(["10.0.0.2"])
    sweeper.forget(["10.0.0.3", "fd00::3"])
    sweeper.close()
    assert table.walks == [["10.0.0.2", "10.0.0.3", "fd00::3"]]


def test_what_comes_during_a_walk_gets_another() -> None:
    table = Table()
    table.go.clear()
    sweeper = FlowSweeper(table)
    sweeper.forget(["10.0.0.2"])
    assert table.begun.wait(10)
    sweeper.forget(["10.0.0.3"])
    table.go.set()
    sweeper.close()
    assert table.walks == [["10.0.0.2"], ["10.0.0.3"]]


def test_walks_stand_back_and_nobody_else_does() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    table = Table()
    sweeper = FlowSweeper(table)
    sweeper.forget(["10.0.0.2"])
    sweeper.close()
    assert table.niceness == [min(before + 10, 19)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_nothing_to_forget_is_no_walk() -> None:
    table = Table()
    sweeper = FlowSweeper(table)
    sweeper.forget([])
    sweeper.opened([])
    sweeper.close()
    assert table.walks == []
