"""The store without durability: for tests, and as the local copy inside the durable backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from towline.model.errors import RevisionConflict
from towline.store.contract import Change, Watcher
from towline.store.feed import Feed
from towline.store.state import State


class MemoryStore:
    """A `Store`. `check` and `pending` are for a backend that writes to disk before it updates this copy."""

    def __init__(self, state: State | None = None) -> None:
        self._state = State() if state is None else state
        self._feed = Feed(self._state.revision)
        self._noted: list[Change] = []

    @property
    def pending(self) -> tuple[Change, ...]:
        """What was noted since the last update, oldest first."""
        return tuple(self._noted)

    def view(self) -> State:
        return self._state

    def meta(self, key: str) -> str | None:
        return self._state.meta(key)

    def check(self, expect: int | None) -> None:
        """RevisionConflict if `expect` is given and is not the current revision."""
        if expect is not None and expect != self._state.revision:
            raise RevisionConflict(f"store: at revision {self._state.revision}, not {expect}: plan again")

    def update(self, changes: Sequence[Change], *, expect: int | None = None) -> int:
        self.check(expect)
        delivered = (*self._noted, *changes)
        self._noted.clear()
        for change in changes:
            self._state.apply(change)
        self._state.revision += 1
        self._feed.publish(self._state.revision, delivered)
        return self._state.revision

    def note(self, changes: Sequence[Change]) -> None:
        """The revision stays; watchers hear of it with the next `update`."""
        for change in changes:
            self._state.apply(change)
        self._noted.extend(changes)

    def watch(self, watcher: Watcher, *, since: int) -> Callable[[], None]:
        return self._feed.watch(watcher, since=since)

    def close(self) -> None:
        """Nothing to release."""
