"""Gap-free delivery of updates to watchers, from a kept window of the last ones."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from threading import RLock

from towline.model.errors import RevisionConflict
from towline.store.contract import Change, Watcher

KEPT_UPDATES = 1024

log = logging.getLogger(__name__)


class Feed:
    """`publish` comes from the updating thread, `watch` from any. A watcher must not call `update`; if it raises, the
    error is logged, because the update it was told of is already durable."""

    def __init__(self, revision: int) -> None:
        self._lock = RLock()
        self._revision = revision
        self._kept: deque[tuple[int, tuple[Change, ...]]] = deque(maxlen=KEPT_UPDATES)
        self._watchers: dict[object, Watcher] = {}

    def publish(self, revision: int, changes: Sequence[Change]) -> None:
        with self._lock:
            self._revision = revision
            self._kept.append((revision, tuple(changes)))
            for watcher in list(self._watchers.values()):
                _deliver(watcher, *self._kept[-1])

    def watch(self, watcher: Watcher, *, since: int) -> Callable[[], None]:
        """Kept updates after `since` are delivered before this returns, in the calling thread."""
        key = object()
        with self._lock:
            oldest = self._revision - len(self._kept)
            if not oldest <= since <= self._revision:
                raise RevisionConflict(
                    f"store: cannot watch from revision {since}: updates {oldest} to {self._revision} are kept; "
                    "read a view first"
                )
            for revision, changes in list(self._kept):
                if revision > since:
                    _deliver(watcher, revision, changes)
            self._watchers[key] = watcher
        return lambda: self._stop(key)

    def _stop(self, key: object) -> None:
        with self._lock:
            self._watchers.pop(key, None)


def _deliver(watcher: Watcher, revision: int, changes: Sequence[Change]) -> None:
    try:
        watcher(revision, changes)
    except Exception:
        log.exception("store: a watcher failed at revision %d", revision)
