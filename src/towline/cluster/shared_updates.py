"""What many watchers are told is one object, so that it is made once, and encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from towline.cluster.contract import Update
from towline.cluster.updates import merge

_MOST = 64


class SharedUpdates:
    """snapshot: of a scope, now. revision: of the copy, with which every snapshot changes."""

    def __init__(self, snapshot: Callable[[str], Update], revision: Callable[[], int]) -> None:
        self._snapshot = snapshot
        self._revision = revision
        self._snapshots: OrderedDict[str, Update] = OrderedDict()
        self._merged: OrderedDict[tuple[int, ...], tuple[tuple[Update, ...], Update]] = OrderedDict()

    def forget(self) -> None:
        """The copy was replaced."""
        self._snapshots.clear()

    def snapshot(self, scope: str) -> Update:
        """After a lost connection many nodes ask for the same at one time."""
        found = self._snapshots.pop(scope, None)
        if found is None or found.revision != self._revision():
            found = self._snapshot(scope)
        self._snapshots[scope] = found
        _bound(self._snapshots)
        return found

    def merged(self, updates: Sequence[Update]) -> Update:
        """Of one scope. In a burst the same ones wait for all of its watchers."""
        if len(updates) == 1:
            return updates[0]
        key = tuple(map(id, updates))
        found = self._merged.get(key)
        if found is None:
            found = self._merged[key] = tuple(updates), merge(updates)
            _bound(self._merged)
        return found[1]


def _bound(kept: OrderedDict[str, Update] | OrderedDict[tuple[int, ...], tuple[tuple[Update, ...], Update]]) -> None:
    if len(kept) > _MOST:
        kept.popitem(last=False)
