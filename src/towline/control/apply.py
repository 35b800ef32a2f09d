"""Batches of work applied: one store transaction, one netlink burst, one nft transaction. Runs in the writer thread.

A batch that fails is applied again one work at a time, so that one bad request never fails another. Whatever a failed
work had done is undone here before its outcome is told.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from towline.control.flows import FlowSweeper
from towline.control.forwarding import Forwarding
from towline.control.joiner import Joiner
from towline.control.realiser import Realiser, share
from towline.control.undo import UndoStack
from towline.control.work import Outcome, Realisation, Work
from towline.firewall import guards, network_elements
from towline.kernel.contract import Kernel
from towline.model.errors import Failure, KernelError, StoreError, TowlineError
from towline.model.ruleset import AddElements, DeleteElements, Element, NftChange
from towline.store.contract import Change, Store

log = logging.getLogger(__name__)

_UNKNOWN_OUTCOME = frozenset({errno.ENOBUFS, errno.EINTR, errno.EAGAIN, errno.EIO})  # the answer may have been lost


def elements_of(realisations: Sequence[Realisation]) -> tuple[Element, ...]:
    return tuple(
        element
        for realisation in realisations
        if realisation.desired.rules is not None
        for element in network_elements(realisation.desired.rules)
    )


class Applier:
    """retire: takes the names of links that are silent, to unlink them later; reclaim: unlinks one now if it is
    waiting, so that its name is free. need_repair: store and kernel differ, and somebody must compare them soon."""

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        *,
        forwarding: Forwarding,
        sweeper: FlowSweeper,
        retire: Callable[[Sequence[str]], None],
        reclaim: Callable[[str], None],
        need_repair: Callable[[], None],
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._joiner = Joiner(kernel, sweeper)
        self._realiser = Realiser(
            store, kernel, forwarding=forwarding, retire=retire, reclaim=reclaim, need_repair=need_repair
        )
        self._need_repair = need_repair

    def apply(self, works: Sequence[Work]) -> list[Outcome]:
        """One outcome per work, in order; what a failed work did has been undone. Never raises."""
        try:
            self._store.update([change for work in works for change in work.changes])
        except StoreError as error:
            return [error] if len(works) == 1 else [self.apply([work])[0] for work in works]
        undo = [UndoStack() for _ in works]
        for work, stack in zip(works, undo, strict=True):
            stack.push("take back the intent", partial(self._take_back, work.revert))
        for taker in share(works):
            undo[taker].push("give up the network if nobody needs it", self._need_repair)
        outcomes: list[Outcome] = [None] * len(works)
        try:
            self._carry_out(works, undo, outcomes)
        except Exception as error:
            log.exception("a batch was cut short")
            outcomes = [self._verdict(work, _internal(error)) for work in works]
        for stack, outcome in zip(undo, outcomes, strict=True):
            if outcome is not None and stack.unwind():
                self._need_repair()
        return outcomes

    def _carry_out(self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome]) -> None:
        """An interface is guarded for as long as it is plugged in: it leaves before its rules, which come before it."""
        self._realiser.make(works, undo, outcomes)
        live = self._part(works, undo, outcomes)
        self._program_rules(works, undo, outcomes, live)
        self._join(works, undo, outcomes)
        self._realiser.drop(works)
        self._finish(works, outcomes)

    def _take_back(self, changes: Sequence[Change]) -> None:
        try:
            self._store.update(changes)
        except StoreError:
            self._store.note(changes)
            raise

    # sandboxes

    def _part(self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome]) -> set[str]:
        """Host ends that could neither be unplugged nor set down."""
        live: set[str] = set()
        for i, work in enumerate(works):
            if outcomes[i] is None and any(transition.leaves for transition in work.transitions):
                undo[i].push("plug in again", self._need_repair)
                parting = self._joiner.part(work, undo[i])
                live.update(parting.live)
                if parting.errors:
                    self._need_repair()
        return live

    def _join(self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome]) -> None:
        for i, work in enumerate(works):
            if outcomes[i] is None and (work.pins or work.transitions):
                try:
                    self._joiner.join(work, undo[i])
                except TowlineError as error:
                    outcomes[i] = self._verdict(work, error)

    def _finish(self, works: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
        for work, outcome in zip(works, outcomes, strict=True):
            if outcome is None and (work.unpins or work.transitions) and self._joiner.finish(work):
                self._need_repair()

    # rules

    def _program_rules(
        self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome], live: Collection[str]
    ) -> None:
        todo = [i for i, outcome in enumerate(outcomes) if outcome is None]
        for i in todo:
            if works[i].transitions:
                undo[i].push("take back rules", partial(self._take_back_rules, works[i]))
        error = self._commit_rules([works[i] for i in todo], live)
        if error is None:
            return
        for i in todo:
            alone = error if len(todo) == 1 else self._commit_rules([works[i]], live)
            outcomes[i] = None if alone is None else self._verdict(works[i], alone)

    def _take_back_rules(self, work: Work) -> None:
        """All or nothing, as they were committed: what is not there was never committed."""
        made = elements_of([r for r in work.creates if not self._realiser.shared(r, work)])
        gains, losses = _joined(t.gains for t in work.transitions), _joined(t.losses for t in work.transitions)
        try:
            self._replace(gains + made, losses)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise

    def _verdict(self, work: Work, error: TowlineError) -> Outcome:
        """The store has forgotten what a final work removes: that cannot fail any more, what is left is drift."""
        if not work.final:
            return error
        log.warning("the kernel refused part of a removal", extra={"fields": {"error": str(error)}})
        self._need_repair()
        return None

    def _commit_rules(self, works: Sequence[Work], live: Collection[str]) -> TowlineError | None:
        """live: host ends that are plugged in although they should not; their guard stays until reconcile has them."""
        transitions = [transition for work in works for transition in work.transitions]
        losses = tuple(e for e in _joined(t.losses for t in transitions) if not guards(e, live))
        gone = elements_of([r for work in works for r in work.removes]) + losses
        made = elements_of([r for work in works for r in work.creates]) + _joined(t.gains for t in transitions)
        try:
            self._replace(gone, made)
        except KernelError as error:
            if error.errno in _UNKNOWN_OUTCOME:
                self._need_repair()
            return error
        return None

    def _replace(self, gone: tuple[Element, ...], made: tuple[Element, ...]) -> None:
        changes: list[NftChange] = []
        if gone:
            changes.append(DeleteElements(gone))
        if made:
            changes.append(AddElements(made))
        if changes:
            self._kernel.nft.commit(changes)


def _internal(error: Exception) -> TowlineError:
    return error if isinstance(error, TowlineError) else Failure(f"internal error: {type(error).__name__}: {error}")


def _joined(parts: Iterable[tuple[Element, ...]]) -> tuple[Element, ...]:
    return tuple(element for part in parts for element in part)
