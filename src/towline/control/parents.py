"""Links of the host that interfaces of sandboxes are made on (macvlan): made with the first network that needs one of
ours, gone with the last. Runs in the writer thread.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from towline.control.compare import Difference, MakeParent, Obstructed
from towline.control.work import Realisation
from towline.drivers.parent import why_absent
from towline.kernel.contract import Kernel, Link
from towline.model.desired import Parent
from towline.model.errors import Failure, KernelError, TowlineError
from towline.model.info import Finding
from towline.model.network import SWARM, Network
from towline.model.view import View
from towline.plan.presence import is_present

log = logging.getLogger(__name__)


class Parents:
    """retire, reclaim: see `Applier`."""

    def __init__(
        self,
        view: View,
        kernel: Kernel,
        *,
        retire: Callable[[Sequence[str]], None],
        reclaim: Callable[[str], None],
    ) -> None:
        self._view = view
        self._kernel = kernel
        self._retire = retire
        self._reclaim = reclaim

    def make(self, parent: Parent) -> TowlineError | None:
        """Docker's words where it is not there and cannot be made."""
        if parent.kind:
            self._reclaim(parent.name)
        error = self._kernel.links.ensure_parent(parent)
        if error is None:
            return None
        if parent.kind == "dummy":
            return error
        if error.errno == errno.ENODEV:
            try:
                return why_absent(parent, lower_there=self._is_there(parent.lower))
            except KernelError as unknown:
                return unknown
        return Failure(f"failed to create {parent.name} vlan link: {error.reason}")

    def _is_there(self, name: str) -> bool:
        return bool(name) and self._kernel.links.find(name) is not None

    def give_up(self, realisation: Realisation) -> None:
        """One of ours that no other network needs: its name is free when the reaper has unlinked it."""
        parent = realisation.desired.parent
        if parent is None or not parent.kind:
            return
        others = self._view.networks_with_link(parent.name)
        if any(other.id != realisation.network.id and self._is_made(other) for other in others):
            return
        try:
            link = self._kernel.links.find(parent.name)
        except KernelError as error:
            log.warning("link not given up", extra={"fields": {"link": parent.name, "error": str(error)}})
            return
        if link is not None and link.alias == parent.alias:
            self._kernel.links.silence([parent.name])
            self._retire([parent.name])

    def _is_made(self, network: Network) -> bool:
        return network.scope != SWARM or is_present(self._view, network.id)


def compare_parents(
    realisations: Iterable[Realisation], links: Mapping[str, Link | None], leaving: Iterable[str] = ()
) -> list[Difference]:
    """One of each name. links: by name; what is not in it does not exist. leaving: on their way out."""
    gone = set(leaving)
    wanted = {
        r.desired.parent.name: (r.network, r.desired.parent) for r in realisations if r.desired.parent is not None
    }
    found = (
        _compare(network, parent, links.get(parent.name), parent.name in gone) for network, parent in wanted.values()
    )
    return [difference for difference in found if difference is not None]


def _compare(network: Network, parent: Parent, link: Link | None, leaving: bool) -> Difference | None:
    subject = f"network {network.name}"
    if link is None or leaving:
        problem = f"its parent interface {parent.name} does not exist"
        if parent.kind:
            return Difference(Finding(subject, problem, "make it"), MakeParent(parent))
        return Difference(Finding(subject, f"{problem} on this host", "bring it back by hand"), Obstructed(network))
    if parent.kind and link.alias == parent.alias and not link.up:
        finding = Finding(subject, f"its parent interface {parent.name} is down", "set it up")
        return Difference(finding, MakeParent(parent))
    return None
