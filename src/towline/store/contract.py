"""Three verbs: view, update, watch. One conformance suite runs against every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.model.view import View


class Put(msgspec.Struct, frozen=True):
    """Create or replace. The record's type decides its kind."""

    record: Network | Endpoint | Sandbox | Peer | Block | Service


class Delete(msgspec.Struct, frozen=True):
    """Deleting what is not there is no error."""

    kind: type[Network] | type[Endpoint] | type[Sandbox] | type[Peer] | type[Block] | type[Service]
    id: str


class SetMeta(msgspec.Struct, frozen=True):
    """A small named text: daemon id, whether sweeping is allowed. value None removes it."""

    key: str
    value: str | None


META_SWEEP = "sweep"
SWEEP_SUSPENDED = "suspended"
"""The value of META_SWEEP after a damaged store was set aside: what the store does not know stays in the kernel."""

Change = Put | Delete | SetMeta
Watcher = Callable[[int, Sequence[Change]], None]


class Store(Protocol):
    """One writer at a time (the caller's duty); `view` may be used from any thread and always sees the last update."""

    def view(self) -> View: ...
    def meta(self, key: str) -> str | None: ...
    def update(self, changes: Sequence[Change], *, expect: int | None = None) -> int:
        """Apply all or nothing, durably, in one transaction; answer the new revision.

        Raises RevisionConflict if `expect` is given and is not the current revision; StoreError if it cannot be
        written (full, read-only, I/O): then the view is as before.
        """
        ...

    def note(self, changes: Sequence[Change]) -> None:
        """Apply to the view at once; written with the next `update`. For marks that may be lost (phase=ready)."""
        ...

    def watch(self, watcher: Watcher, *, since: int) -> Callable[[], None]:
        """Call `watcher(revision, changes)` for every update after `since`, in order, no gap; the answer stops it.
        Called in the updating thread. If `since` is older than what is kept, RevisionConflict: read a view first."""
        ...

    def close(self) -> None: ...
