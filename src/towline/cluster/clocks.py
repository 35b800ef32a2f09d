"""Which clock is wrong? A manager cannot tell from its own: the one in the middle of all managers' is believed."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from towline.model.cluster import Alive

_JUMP = 1.0


def has_jumped(before: Alive, after: Alive) -> bool:
    """A node's clock has moved against the managers' by so much that everybody is to know."""
    return abs(after.skew - before.skew) > _JUMP


class ManagerClocks:
    """How far ahead of this manager's clock the other managers' are: nanoseconds, as their reports arrive here."""

    def __init__(self) -> None:
        self._ahead: dict[str, int] = {}

    def heard(self, node_id: str, clock: int, now: int) -> None:
        """A manager has just said that its clock is at `clock`; this one's is at `now`. Nanoseconds since the epoch."""
        self._ahead[node_id] = clock - now

    def keep(self, managers: Iterable[str]) -> None:
        """Others are no managers any more."""
        wanted = set(managers)
        self._ahead = {node_id: ahead for node_id, ahead in self._ahead.items() if node_id in wanted}

    @property
    def middle(self) -> int:
        """How far ahead of this manager's clock the middle one is; of two managers, the mean."""
        return round(median([0, *self._ahead.values()]))
