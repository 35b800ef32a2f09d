"""One request's share of a batch: what to commit, and what the kernel gains and loses by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from towline.model.desired import Desired
from towline.model.errors import TowlineError
from towline.model.network import Network
from towline.plan.sandbox import Transition
from towline.store.contract import Change


class Realisation(NamedTuple):
    """A network and what the kernel holds, or must hold, for it."""

    network: Network
    desired: Desired


def _nothing() -> None: ...


@dataclass(slots=True)
class Work:
    """changes are committed before the kernel is touched, and taken back (`revert`) when the kernel refuses.

    creates, removes: networks. pins, unpins: namespaces to make and to give up; adopts: (pin, path of one that
    exists). transitions: what changes inside
    sandboxes and for them. final: the client has been promised that the object is gone, so nothing may fail after the
    commit; what the kernel refuses then is left to reconcile.

    release, settle: called on the event loop when all is done, in this order; abandon: called there instead when the
    work failed, after everything it did has been undone. So it is whether or not the client still waits.
    """

    changes: list[Change]
    creates: tuple[Realisation, ...] = ()
    removes: tuple[Realisation, ...] = ()
    pins: tuple[str, ...] = ()
    adopts: tuple[tuple[str, str], ...] = ()
    unpins: tuple[str, ...] = ()
    transitions: tuple[Transition, ...] = ()
    final: bool = False
    revert: list[Change] = field(default_factory=list)
    release: Callable[[], None] = _nothing
    settle: Callable[[], None] = _nothing
    abandon: Callable[[], None] = _nothing

    def when_abandoned(self, step: Callable[[], None]) -> None:
        """Do this too, before what `abandon` does already."""
        before = self.abandon

        def both() -> None:
            try:
                step()
            finally:
                before()

        self.abandon = both


Outcome = TowlineError | None
