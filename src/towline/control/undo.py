"""Undo steps, registered before the step they undo. They run in a worker thread, where no cancellation reaches them."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class UndoStack:
    """Each step must tolerate that there is nothing to undo. Unwinding goes on after an error and reports it."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def push(self, what: str, step: Callable[[], None]) -> None:
        self._steps.append((what, step))

    def withdraw(self, what: str) -> None:
        """The step turned out not to be ours to undo."""
        self._steps = [entry for entry in self._steps if entry[0] != what]

    def unwind(self) -> list[Exception]:
        errors: list[Exception] = []
        while self._steps:
            what, step = self._steps.pop()
            try:
                step()
            except Exception as error:
                log.error(
                    "undo failed; reconcile will finish it", extra={"fields": {"step": what, "error": str(error)}}
                )
                errors.append(error)
        return errors
