"""The sandbox part of a work: namespaces, veth pairs, default routes. Runs in the writer thread."""

from __future__ import annotations

import logging
from functools import partial

from towline.control.flows import FlowSweeper
from towline.control.undo import UndoStack
from towline.control.work import Work
from towline.kernel.contract import Kernel
from towline.model.desired import Interface
from towline.model.errors import KernelError, NamespaceGone, TowlineError
from towline.plan.sandbox import Transition

log = logging.getLogger(__name__)


class Joiner:
    def __init__(self, kernel: Kernel, sweeper: FlowSweeper) -> None:
        self._kernel = kernel
        self._sweeper = sweeper

    def join(self, work: Work, undo: UndoStack) -> None:
        """Everything that the work makes, each step's undo registered first. Raises the first refusal."""
        for path in work.pins:
            undo.push(f"unpin {path}", partial(self._kernel.sandboxes.drop, path))
            self._kernel.sandboxes.make(path)
        for path, source in work.adopts:
            undo.push(f"unpin {path}", partial(self._kernel.sandboxes.drop, path))
            self._kernel.sandboxes.adopt(path, source)
        for transition in work.transitions:
            self._enter(transition, undo)

    def _enter(self, transition: Transition, undo: UndoStack) -> None:
        netns = transition.netns
        for interface in transition.joins:
            undo.push(f"unplug {interface.host_name}", partial(self._unplug, netns, interface))
            self._kernel.sandboxes.join(netns, interface)
        if transition.defaults is not None:
            undo.push("restore default routes", partial(self._kernel.sandboxes.set_defaults, netns, transition.former))
            self._kernel.sandboxes.set_defaults(netns, transition.defaults)
        for interface in transition.joins:
            self._announce(netns, interface)

    def _announce(self, netns: str, interface: Interface) -> None:
        """Neighbours learn the new place at once; one that does not hear it asks later, so a failure is not one."""
        try:
            self._kernel.sandboxes.announce(netns, interface)
        except TowlineError as error:
            log.warning("not announced", extra={"fields": {"link": interface.host_name, "error": str(error)}})

    def _unplug(self, netns: str, interface: Interface) -> None:
        for error in self._kernel.sandboxes.leave(netns, [interface.host_name]):
            if error is not None:
                raise error

    def leave(self, work: Work) -> bool:
        """Everything that the work gives up, and what its new ports make stale; goes on after an error. True if
        something is left for reconcile."""
        left = False
        for transition in work.transitions:
            self._sweeper.opened(transition.opened)
            if transition.leaves:
                left |= self._part(transition)
        for path in work.unpins:
            try:
                self._kernel.sandboxes.drop(path)
            except TowlineError as error:
                log.warning("namespace not given up", extra={"fields": {"path": path, "error": str(error)}})
                left = True
        return left

    def _part(self, transition: Transition) -> bool:
        names = [interface.host_name for interface in transition.leaves]
        errors = self._unlink(transition.netns, names)
        for error in errors:
            log.warning("endpoint not unplugged", extra={"fields": {"error": str(error)}})
        self._sweeper.forget(a.partition("/")[0] for interface in transition.leaves for a in interface.addresses)
        return bool(errors)

    def _unlink(self, netns: str, names: list[str]) -> list[KernelError]:
        """A namespace that is gone has taken its links along."""
        try:
            return [error for error in self._kernel.sandboxes.leave(netns, names) if error is not None]
        except NamespaceGone:
            return []
        except KernelError as error:
            return [error]
