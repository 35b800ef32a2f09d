"""The links of networks: bridges, and the tunnels of global ones with their rows. Runs in the writer thread.

A global network is made with its first endpoint on this node and goes with the last, as a part of that endpoint's work.
Works of one batch may share one: who made it does not take it away from the others when it fails.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial

from towline.control.forwarding import Forwarding
from towline.control.parents import Parents
from towline.control.undo import UndoStack
from towline.control.work import Outcome, Realisation, Work
from towline.kernel.contract import Kernel, Link
from towline.model.desired import ALIAS_PREFIX, Bridge, Vxlan, is_apart
from towline.model.errors import Failure, KernelError, TowlineError
from towline.model.network import SWARM, Network
from towline.plan.rows import rows_of
from towline.store.contract import Put, Store

log = logging.getLogger(__name__)


class Realiser:
    """retire, reclaim, need_repair: see `Applier`."""

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        *,
        forwarding: Forwarding,
        retire: Callable[[Sequence[str]], None],
        reclaim: Callable[[str], None],
        need_repair: Callable[[], None],
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._forwarding = forwarding
        self._retire = retire
        self._reclaim = reclaim
        self._need_repair = need_repair
        self._parents = Parents(store.view(), kernel, retire=retire, reclaim=reclaim)

    def make(self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome]) -> None:
        self._make_parents(works, undo, outcomes)
        wanted = [(i, r) for i, work in enumerate(works) for r in work.creates if r.desired.bridge is not None]
        if not wanted:
            return
        self._ensure_forwarding(works)
        for i, realisation in wanted:
            for name in _links_of(realisation):
                self._reclaim(name)
            undo[i].push(_removal(realisation), partial(self._discard, realisation, works[i]))
        self._make_bridges(wanted, undo, outcomes)
        self._make_tunnels([(i, r) for i, r in wanted if outcomes[i] is None], outcomes)

    def drop(self, works: Sequence[Work]) -> None:
        gone = [r for work in works for r in work.removes]
        self._silence_and_retire(gone)
        for realisation in gone:
            self._parents.give_up(realisation)

    def _make_parents(self, works: Sequence[Work], undo: Sequence[UndoStack], outcomes: list[Outcome]) -> None:
        for i, work in enumerate(works):
            for realisation in work.creates:
                if (parent := realisation.desired.parent) is not None:
                    undo[i].push(f"give up link {parent.name}", partial(self._give_up_parent, realisation, works[i]))
                    outcomes[i] = outcomes[i] or self._parents.make(parent)

    def _give_up_parent(self, realisation: Realisation, work: Work) -> None:
        if self.shared(realisation, work):
            self._need_repair()
        else:
            self._parents.give_up(realisation)

    def shared(self, realisation: Realisation, work: Work) -> bool:
        """Is it a global network that an endpoint needs which is not of this work?"""
        own = {change.record.id for change in work.changes if isinstance(change, Put)}
        network = realisation.network
        others = self._store.view().endpoints_of(network.id) if network.scope == SWARM else ()
        return any(endpoint.ifname and endpoint.id not in own for endpoint in others)

    # bridges

    def _make_bridges(
        self, wanted: Sequence[tuple[int, Realisation]], undo: Sequence[UndoStack], outcomes: list[Outcome]
    ) -> None:
        bridges = [r.desired.bridge for _, r in wanted if r.desired.bridge is not None]
        for (i, realisation), bridge, error in zip(wanted, bridges, self._try_to_create(bridges), strict=True):
            if error is None or error.errno != errno.EEXIST:
                outcomes[i] = outcomes[i] or error
            elif realisation.network.scope == SWARM and self._is_ours(bridge.name, bridge.alias):
                outcomes[i] = outcomes[i] or self._kernel.links.repair_bridges([bridge])[0]
            else:
                undo[i].withdraw(_removal(realisation))
                outcomes[i] = self._name_taken(bridge, error)

    def _try_to_create(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        """A send as a whole that was refused, or whose answer was lost, counts for each of them."""
        try:
            return self._kernel.links.create_bridges(bridges)
        except KernelError as error:
            return [error for _ in bridges]

    def _ensure_forwarding(self, works: Sequence[Work]) -> None:
        try:
            self._forwarding.ensure(r.network for work in works for r in work.creates if r.desired.bridge is not None)
        except KernelError as error:
            log.warning("networks cannot reach beyond this host", extra={"fields": {"error": str(error)}})
            self._need_repair()

    def _is_ours(self, name: str, alias: str) -> bool:
        """What a crash, or a failed removal, has left of the same network."""
        link = self._kernel.links.find(name)
        return link is not None and link.alias == alias

    def _name_taken(self, bridge: Bridge, error: KernelError) -> TowlineError:
        """A link of that name exists, and it is not one of ours on its way out."""
        link = self._kernel.links.find(bridge.name)
        if link is None:
            return error
        if link.kind != "bridge":
            return Failure(f"existing interface {bridge.name} is not a bridge")
        return Failure(
            f"bridge {bridge.name} exists on this host and belongs to no network here:"
            " delete it, or choose another com.docker.network.bridge.name"
        )

    # tunnels

    def _make_tunnels(self, wanted: Sequence[tuple[int, Realisation]], outcomes: list[Outcome]) -> None:
        for i, realisation in wanted:
            if (vxlan := realisation.desired.tunnel) is not None:
                outcomes[i] = outcomes[i] or self._make_tunnel(realisation.network, vxlan)

    def _make_tunnel(self, network: Network, vxlan: Vxlan) -> TowlineError | None:
        refusal = self._kernel.tunnels.create([vxlan])[0]
        if refusal is not None:
            taken = refusal.errno == errno.EEXIST
            if (left := self._make_room(network, vxlan, refusal) if taken else refusal) is not None:
                return left
        rows = rows_of(self._store.view().peers_of(network.id), vxlan.local, vxlan.secure)
        if rows and (refused := self._kernel.tunnels.set_rows(vxlan.name, rows, ())) is not None:
            fields = {"network": network.name, "error": str(refused)}
            log.error("rows of a tunnel could not be set", extra={"fields": fields})
            self._need_repair()
        return None

    def _make_room(self, network: Network, vxlan: Vxlan, error: KernelError) -> TowlineError | None:
        """There is a link of that name, or one that carries that VXLAN id: a leftover of ours goes first."""
        found = next((link for link in self._kernel.links.dump() if _obstructs(link, vxlan)), None)
        if found is None:
            return error
        if found.alias == vxlan.alias and found.name == vxlan.name:
            return self._kernel.tunnels.repair([vxlan])[0]
        if found.name == vxlan.name:
            return Failure(
                f"link {found.name} of this host stands where the tunnel of network {network.name} should:"
                " rename it, or delete it"
            )
        if not (found.alias.startswith(f"{ALIAS_PREFIX}tunnel:") or is_apart(found.name)):
            return Failure(
                f"network {network.name} needs VXLAN id {vxlan.vni} on UDP port {vxlan.port}, which link {found.name}"
                " of this host has: delete that link, or make the cluster with another --data-path-port"
            )
        self._reclaim(found.name)
        return self._kernel.tunnels.create([vxlan])[0]

    # going

    def _discard(self, realisation: Realisation, work: Work) -> None:
        """The MAC is made from the network's id: a link of that name with another one was not made by us."""
        if self.shared(realisation, work):
            self._need_repair()
            return
        desired = realisation.desired
        macs = {part.name: part.mac for part in (desired.tunnel, desired.bridge) if part is not None}
        found = [self._kernel.links.find(name) for name in macs]
        if all(link is None or link.mac == macs[link.name] for link in found):
            self._silence_and_retire([realisation], present=[link.name for link in found if link is not None])

    def _silence_and_retire(self, gone: Sequence[Realisation], present: Collection[str] | None = None) -> None:
        tunnels = [r.desired.tunnel.name for r in gone if r.desired.tunnel is not None]
        bridges = [r.desired.bridge.name for r in gone if r.desired.bridge is not None]
        for names, silence in ((tunnels, self._kernel.tunnels.silence), (bridges, self._kernel.links.silence)):
            there = [name for name in names if present is None or name in present]
            for name, error in zip(there, silence(there) if there else (), strict=True):
                if error is not None and error.errno != errno.ENODEV:
                    log.warning("link could not be set down", extra={"fields": {"link": name, "error": str(error)}})
            if there:
                self._retire(there)


def share(works: Sequence[Work]) -> list[int]:
    """A global network that one work of a batch gives up and a later one needs stays as it is. Answers which works
    would have made one."""
    given_up: dict[str, Work] = {}
    takers: list[int] = []
    for i, work in enumerate(works):
        for realisation in work.creates:
            giver = given_up.pop(realisation.network.id, None)
            if giver is not None:
                giver.removes = tuple(r for r in giver.removes if r.network.id != realisation.network.id)
                work.creates = tuple(r for r in work.creates if r.network.id != realisation.network.id)
                takers.append(i)
        given_up.update((r.network.id, work) for r in work.removes if r.network.scope == SWARM)
    return takers


def _links_of(realisation: Realisation) -> list[str]:
    parts = (realisation.desired.tunnel, realisation.desired.bridge)
    return [part.name for part in parts if part is not None]


def _obstructs(link: Link, vxlan: Vxlan) -> bool:
    state = link.vxlan
    return link.name == vxlan.name or (state is not None and (state.vni, state.port) == (vxlan.vni, vxlan.port))


def _removal(realisation: Realisation) -> str:
    return f"remove link {', '.join(_links_of(realisation))}"
