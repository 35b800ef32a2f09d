"""A store with named faults: fail the nth update, or call a hook just before or after it. Updates count from 1."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Literal

from towline.model.errors import RevisionConflict, StoreCorrupt, StoreError
from towline.model.view import View
from towline.store.contract import Change, Store, Watcher

Fault = Literal["disk-full", "read-only", "io-error", "corrupt", "conflict"]
Hook = Callable[[], None]

FAULTS: dict[Fault, StoreError] = {
    "disk-full": StoreError("store: disk full: cannot write towline.db; free space and retry"),
    "read-only": StoreError("store: read-only: cannot write towline.db; check its permissions and its mount"),
    "io-error": StoreError("store: I/O error on towline.db (SQLITE_IOERR_WRITE); check the disk and the kernel log"),
    "corrupt": StoreCorrupt("database disk image is malformed (SQLITE_CORRUPT)"),
    "conflict": RevisionConflict("store: at revision 2, not 1: plan again"),
}


def kill_this_process() -> None:
    """A hook: SIGKILL, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyStore:
    """Wraps any `Store` and is one. A failed update does not reach `inner`; `updates` counts it all the same."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.updates = 0
        self._faults: dict[int, Fault] = {}
        self._before: dict[int, Hook] = {}
        self._after: dict[int, Hook] = {}
        self._always: Fault | None = None

    def fail(self, nth: int, fault: Fault) -> None:
        self._faults[nth] = fault

    def fail_until_healed(self, fault: Fault) -> None:
        self._always = fault

    def heal(self) -> None:
        self._always = None
        self._faults.clear()

    def before(self, nth: int, hook: Hook) -> None:
        self._before[nth] = hook

    def after(self, nth: int, hook: Hook) -> None:
        self._after[nth] = hook

    def update(self, changes: Sequence[Change], *, expect: int | None = None) -> int:
        self.updates += 1
        nth = self.updates
        self._before.get(nth, _nothing)()
        fault = self._faults.get(nth, self._always)
        if fault is not None:
            raise FAULTS[fault]
        revision = self.inner.update(changes, expect=expect)
        self._after.get(nth, _nothing)()
        return revision

    def view(self) -> View:
        return self.inner.view()

    def meta(self, key: str) -> str | None:
        return self.inner.meta(key)

    def note(self, changes: Sequence[Change]) -> None:
        self.inner.note(changes)

    def watch(self, watcher: Watcher, *, since: int) -> Callable[[], None]:
        return self.inner.watch(watcher, since=since)

    def close(self) -> None:
        self.inner.close()


def _nothing() -> None:
    """The hook of an update that has none."""
