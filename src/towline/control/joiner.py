"""The sandbox part of a work: namespaces, veth pairs, default routes. Runs in the writer thread."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from towline.control.flows import FlowSweeper
from towline.control.undo import UndoStack
from towline.control.unplug import unplug
from towline.control.work import Work
from towline.kernel.contract import Kernel
from towline.model.desired import Interface
from towline.model.errors import KernelError, NamespaceGone, TowlineError
from towline.plan.sandbox import Transition

log = logging.getLogger(__name__)


class Parting(NamedTuple):
    """live: host ends that could neither be unplugged nor set down. errors: something is left for reconcile."""

    live: tuple[str, ...] = ()
    errors: bool = False


class Joiner:
    """`part`, then the rules, then `join` and `finish`: so an interface is never plugged in without its rules."""

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
        if not _parts_only(transition):
            self._reroute(transition, undo)
        for interface in transition.joins:
            self._announce(netns, interface)

    def _reroute(self, transition: Transition, undo: UndoStack) -> None:
        if transition.defaults is not None:
            netns = transition.netns
            undo.push("restore default routes", partial(self._kernel.sandboxes.set_defaults, netns, transition.former))
            self._kernel.sandboxes.set_defaults(netns, transition.defaults)

    def _announce(self, netns: str, interface: Interface) -> None:
        """Neighbours learn the new place at once; one that does not hear it asks later, so a failure is not one."""
        try:
            self._kernel.sandboxes.announce(netns, interface)
        except TowlineError as error:
            log.warning("not announced", extra={"fields": {"link": interface.host_name, "error": str(error)}})

    def _unplug(self, netns: str, interface: Interface) -> None:
        """Set down at least, because its rules go next."""
        for error in self._unlink(netns, [interface]):
            self._silence([interface])
            raise error

    def part(self, work: Work, undo: UndoStack) -> Parting:
        """Every interface that the work gives up; goes on after an error. The default routes move first if they can, so
        that there is no moment without one."""
        done = [self._part(transition, undo) for transition in work.transitions if transition.leaves]
        live = tuple(name for parting in done for name in parting.live)
        return Parting(live, any(parting.errors for parting in done))

    def _part(self, transition: Transition, undo: UndoStack) -> Parting:
        errors: list[TowlineError] = []
        if _parts_only(transition) and not _takes_routes_along(transition):
            try:
                self._reroute(transition, undo)
            except TowlineError as error:
                errors.append(error)
        refused = self._unlink(transition.netns, transition.leaves)
        for problem in (*errors, *refused):
            log.warning("endpoint not unplugged cleanly", extra={"fields": {"error": str(problem)}})
        return Parting(self._silence(transition.leaves) if refused else (), bool(errors or refused))

    def _silence(self, interfaces: Sequence[Interface]) -> tuple[str, ...]:
        """Host ends that stay up."""
        names = [interface.host_name for interface in interfaces if interface.slave is None]
        answers = zip(names, self._kernel.links.silence(names), strict=True)
        return tuple(name for name, error in answers if error is not None and error.errno != errno.ENODEV)

    def _unlink(self, netns: str, interfaces: Sequence[Interface]) -> list[KernelError]:
        """A namespace that is gone has taken its links along."""
        try:
            return unplug(self._kernel.sandboxes, netns, interfaces)
        except NamespaceGone:
            return []
        except KernelError as error:
            return [error]

    def finish(self, work: Work) -> bool:
        """What connections the work makes stale, and the namespaces it gives up; goes on after an error. True if
        something is left for reconcile."""
        left = False
        for transition in work.transitions:
            self._sweeper.opened(transition.opened)
            self._sweeper.forget(a.partition("/")[0] for gone in transition.leaves for a in gone.addresses)
        for path in work.unpins:
            try:
                self._kernel.sandboxes.drop(path)
            except TowlineError as error:
                log.warning("namespace not given up", extra={"fields": {"path": path, "error": str(error)}})
                left = True
        return left


def _parts_only(transition: Transition) -> bool:
    return bool(transition.leaves) and not transition.joins


def _takes_routes_along(transition: Transition) -> bool:
    """Each default route that changes goes, and goes with its interface."""
    before, after = transition.former, transition.defaults
    gone = {interface.name for interface in transition.leaves}
    families = ((before.ipv4, after.ipv4), (before.ipv6, after.ipv6)) if after is not None else ()
    return all(was == will or (will is None and was is not None and was[0] in gone) for was, will in families)
