"""The one reconcile: what the store says should exist, against what carries our mark in the kernel.

Start-up, drift repair and `doctor` all come here. Nothing is changed where the kernel is already right. Runs in the
writer thread, with no batch in flight.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from towline.control.apply import elements_of
from towline.control.compare import (
    AddMembers,
    ChangeForeign,
    Difference,
    DropMembers,
    DropNamespace,
    Hold,
    Join,
    LetGo,
    MakeBridge,
    MakeParent,
    Obstructed,
    RemoveLink,
    RepairBridge,
    ReplaceTable,
    Reroute,
    Resize,
    SetInner,
    WriteSysctl,
    compare_bridge,
    compare_foreign,
    compare_hold,
    compare_interface,
    compare_links,
    compare_pins,
    compare_table,
)
from towline.control.compare_inside import compare_inside
from towline.control.forwarding import Forwarding
from towline.control.inner_keeper import InnerKeeper
from towline.control.parents import compare_parents
from towline.control.reconcile_tunnels import TunnelReconciler
from towline.control.tunnel_acts import MakeTunnel, RepairTunnel, SetRows
from towline.control.unplug import unplug
from towline.control.work import Realisation
from towline.drivers.registry import Drivers
from towline.firewall import base
from towline.kernel.contract import Kernel, Link
from towline.model.desired import Bridge, Interface, is_apart, kernel_name
from towline.model.errors import KernelError, NamespaceGone, NotANamespace, TowlineError
from towline.model.inner import NOTHING, Inner
from towline.model.network import Network
from towline.model.ruleset import AddElements, AddTable, DeleteElements, Element, NftChange
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.inner import Balance
from towline.plan.presence import desired_now
from towline.plan.sandbox import SandboxDesired, realise

log = logging.getLogger(__name__)

Plugged = tuple[Sandbox, SandboxDesired]

_TUNNEL_ACTS = MakeTunnel | RepairTunnel | SetRows
CHUNK = 256  # bridges made in one send: bounds how long the RTNL is held


class Reconciler:
    """leaving: names of links that wait to be unlinked. namespaces: the directory in which ours are pinned.
    namespace_gone: told the id of a running sandbox that has no namespace any more; it will be ended. node_elements:
    what the firewall must know besides networks and sandboxes (of the cluster: `firewall.vtep_elements`). down: ids of
    nodes whose lease has ended. node_links: name -> alias of links of ours that may be there, and are compared
    elsewhere (`control.encryption`). inner_set: told the id of a sandbox and the rules inside that were set right."""

    def __init__(
        self,
        view: View,
        kernel: Kernel,
        drivers: Drivers,
        forwarding: Forwarding,
        *,
        leaving: Callable[[], Collection[str]],
        namespaces: str,
        namespace_gone: Callable[[str], None],
        node_elements: Callable[[], tuple[Element, ...]] = tuple,
        down: Callable[[], Collection[str]] = tuple,
        inner_set: Callable[[str, Inner], None] = lambda sandbox_id, inner: None,
        node_links: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._view = view
        self._kernel = kernel
        self._drivers = drivers
        self._forwarding = forwarding
        self._leaving = leaving
        self._namespaces = namespaces
        self._namespace_gone = namespace_gone
        self._node_elements = node_elements
        self._down = down
        self._inner_set = inner_set
        self._keeper = InnerKeeper(kernel.inner)
        self._node_links = node_links
        self._tunnels = TunnelReconciler(view, kernel, drivers)

    def compare(self) -> list[Difference]:
        """Everything, in the order in which it must be repaired."""
        realisations, plugged = self._realisations(), self._plugged()
        networks = [r.network for r in realisations if r.desired.bridge is not None]
        leaving = self._leaving()  # before the dump: what is unlinked in between is not in it
        links = self._kernel.links.dump()
        by_name = {link.name: link for link in links}
        others = [part for r in realisations for part in (r.desired.tunnel, r.desired.parent) if part is not None]
        outside = compare_links(_bridges(realisations), plugged, links, leaving, others, self._node_links())
        return [
            *self._forwarding.differences(networks),
            *outside,
            *compare_parents(realisations, by_name, leaving),
            *self._tunnels.compare(realisations, by_name),
            *self._compare_insides(plugged, {d.act.interface.host_name for d in outside if isinstance(d.act, Join)}),
            *self._compare_rules(realisations, plugged),
            *compare_pins((sandbox for sandbox, _ in plugged), self._kernel.sandboxes.pinned(self._namespaces)),
            *compare_hold((bridge for _, bridge in _bridges(realisations)), links, held=self._kernel.links.held()),
        ]

    def _compare_insides(self, plugged: Sequence[Plugged], found: Collection[str]) -> Iterator[Difference]:
        """found: host ends that are not as they should be."""
        balance = Balance(self._view, self._drivers, self._down())
        for sandbox, will in plugged:
            if will.interfaces:
                try:
                    inside = self._kernel.sandboxes.look(will.netns)
                    rules = list(self._keeper.compare(sandbox, balance.inner(sandbox)))
                except (NamespaceGone, NotANamespace):
                    self._namespace_gone(sandbox.id)
                else:
                    yield from compare_inside(sandbox, will, inside, found)
                    yield from rules

    def compare_rules(self) -> list[Difference]:
        return self._compare_rules(self._realisations(), self._plugged())

    def compare_link(self, name: str) -> list[Difference]:
        """One link by name, after a notification about it."""
        if name in self._leaving():
            return []
        if (tunnel := self._tunnels.named(name)) is not None:
            return self._tunnels.compare_one(*tunnel)
        network = self._with_bridge(kernel_name(name))
        found = self._compare_bridge(network) if network else self._compare_interface(name)
        return [*([] if found is None else [found]), *self._compare_parent(name)]

    def _with_bridge(self, name: str) -> Network | None:
        """Whose bridge this is; one that is only a parent (macvlan) has the link too."""
        found = self._view.networks_with_link(name)
        return next((n for n in found if desired_now(n, self._view, self._drivers).bridge is not None), None)

    def concerns(self, name: str) -> bool:
        """Whether a link of this name belongs to the store's objects; from memory alone."""
        bare, view = kernel_name(name), self._view
        return bool(view.network_with_link(bare) or view.endpoint_with_link(bare) or self._tunnels.named(name))

    def compare_rows_of(self, name: str) -> list[Difference]:
        """The rows of one tunnel, after a notification about them."""
        tunnel = self._tunnels.named(name)
        return [] if tunnel is None or name in self._leaving() else self._tunnels.compare_rows(*tunnel)

    def agrees(self, name: str, link: Link | None) -> bool:
        """Whether a link as a notification shows it, without addresses, is the bridge that the store wants. From memory
        alone, so that the event loop may ask."""
        found = self._view.networks_with_link(kernel_name(name))
        network = found[0] if len(found) == 1 else None
        bridge = desired_now(network, self._view, self._drivers).bridge if network is not None else None
        if network is None or bridge is None or link is None:
            return False
        return compare_bridge(network, msgspec.structs.replace(bridge, addresses=()), link) is None

    def _compare_bridge(self, network: Network) -> Difference | None:
        bridge = desired_now(network, self._view, self._drivers).bridge
        if bridge is None:
            return None
        return compare_bridge(network, bridge, self._kernel.links.find(bridge.name) or self._marked(bridge))

    def _compare_parent(self, name: str) -> list[Difference]:
        """A link that interfaces are made on, and those: they go with it, and nobody tells."""
        view = self._view
        found = [Realisation(n, desired_now(n, view, self._drivers)) for n in view.networks_with_link(name)]
        hosted = [r for r in found if r.desired.parent is not None]
        if not hosted:
            return []
        ids = {endpoint.sandbox for r in hosted for endpoint in view.endpoints_of(r.network.id) if endpoint.ifname}
        sandboxes = [s for s in map(view.sandbox, sorted(ids)) if s is not None and s.state == "running"]
        plugged = [(sandbox, realise(sandbox, view, self._drivers)) for sandbox in sandboxes]
        differences = compare_parents(hosted, {name: self._kernel.links.find(name)})
        if any(isinstance(difference.act, Obstructed) for difference in differences):
            return differences
        return [*differences, *self._compare_insides(plugged, ())]

    def _marked(self, bridge: Bridge) -> Link | None:
        """A link whose name somebody changed. Rare, so it may take a dump."""
        links = (link for link in self._kernel.links.dump() if link.alias == bridge.alias)
        return next((link for link in links if is_apart(link.name) is is_apart(bridge.name)), None)

    def _compare_interface(self, name: str) -> Difference | None:
        endpoint = self._view.endpoint_with_link(kernel_name(name))
        sandbox = self._view.sandbox(endpoint.sandbox) if endpoint else None
        if sandbox is None:
            return None
        will = realise(sandbox, self._view, self._drivers)
        interface = next((i for i in will.interfaces if i.host_name == name), None)
        if interface is None:
            return None
        links = {end: self._kernel.links.find(end) for end in (name, interface.bridge)}
        return compare_interface(sandbox, will, interface, links)

    def repair(self, differences: Sequence[Difference], *, sweep: bool) -> list[TowlineError]:
        """Carry out the acts (those that remove unknown things only with `sweep`); goes on after an error.

        Rules that are missing come first and rules that are too many go last, so that no interface is ever plugged in
        without its guard.
        """
        acts = [d.act for d in differences if sweep or not d.sweep]
        guards = [a for a in acts if isinstance(a, ReplaceTable | AddMembers)]
        apart = ReplaceTable | AddMembers | DropMembers | SetInner | MakeParent | _TUNNEL_ACTS
        others = [a for a in acts if not isinstance(a, apart)]
        inner = [a for a in acts if isinstance(a, SetInner)] + self._inner_after(a for a in acts if isinstance(a, Join))
        reroutes = dict.fromkeys(Reroute(a.netns, a.defaults) for a in acts if isinstance(a, Join))
        errors = self._carry_out_each(guards)
        errors += self._make_bridges([a for a in acts if isinstance(a, MakeBridge)])
        errors += _refusals(self._kernel.links.repair_bridges([a.bridge for a in acts if isinstance(a, RepairBridge)]))
        errors += _refusals(self._kernel.links.remove([a.name for a in acts if isinstance(a, RemoveLink)]))
        errors += self._carry_out_each([a for a in acts if isinstance(a, MakeParent | _TUNNEL_ACTS)])
        errors += self._carry_out_each([*others, *reroutes, *inner])  # routes when all interfaces are there
        errors += self._carry_out_each([a for a in acts if isinstance(a, DropMembers)])
        for failed in errors:
            log.error("repair failed", extra={"fields": {"error": str(failed)}})
        return errors

    def _inner_after(self, joins: Iterable[Join]) -> list[SetInner]:
        """What rules at an interface's egress and detours by it were has gone with it."""
        again = {join.netns for join in joins}
        balance = Balance(self._view, self._drivers, self._down())
        wanted = [(s, balance.inner(s)) for s, _ in self._plugged() if s.netns in again] if again else []
        return [SetInner(sandbox.id, sandbox.netns, inner) for sandbox, inner in wanted if inner != NOTHING]

    def _carry_out_each(self, acts: Sequence[object]) -> list[TowlineError]:
        errors: list[TowlineError] = []
        for act in acts:
            try:
                self._carry_out(act)
            except (KernelError, NamespaceGone, NotANamespace) as error:
                errors.append(error)
        return errors

    def _make_bridges(self, acts: Sequence[MakeBridge]) -> list[TowlineError]:
        errors: list[TowlineError] = []
        for start in range(0, len(acts), CHUNK):
            errors += _refusals(self._kernel.links.create_bridges([a.bridge for a in acts[start : start + CHUNK]]))
        return errors

    def _carry_out(self, act: object) -> None:
        match act:
            case MakeTunnel() | RepairTunnel() | SetRows():
                self._tunnels.carry_out(act)
            case MakeParent(parent):
                if (refused := self._kernel.links.ensure_parent(parent)) is not None:
                    raise refused
            case DropNamespace(path):
                self._kernel.sandboxes.drop(path)
            case Hold():
                self._kernel.links.hold()
            case LetGo():
                self._kernel.links.let_go()
            case WriteSysctl(path, value):
                self._kernel.sysctl.write(path, value)
            case Join(netns=netns, interface=interface, clear=clear):
                self._rejoin(netns, interface, clear=clear)
            case Resize(netns, interface):
                with suppress(NamespaceGone):
                    self._kernel.sandboxes.resize(netns, interface)
            case Reroute(netns, defaults):
                with suppress(NamespaceGone):
                    self._kernel.sandboxes.set_defaults(netns, defaults)
            case SetInner(sandbox=sandbox_id, netns=netns, inner=inner):
                with suppress(NamespaceGone):
                    self._keeper.ensure(netns, inner)
                    self._inner_set(sandbox_id, inner)
            case ReplaceTable(table, elements):
                self._commit(AddTable(table), *([AddElements(elements)] if elements else []))
            case AddMembers(elements, stale):
                self._commit(*([DeleteElements(stale)] if stale else []), AddElements(elements))
            case ChangeForeign(changes):
                self._commit(*changes)
            case DropMembers(elements):
                self._commit(DeleteElements(elements))
            case Obstructed(network):
                fields = {"network": network.name, "link": network.link}
                log.error("network cannot be realised: a foreign link has its name", extra={"fields": fields})
            case _:
                pass

    def _rejoin(self, netns: str, interface: Interface, *, clear: bool) -> None:
        """A namespace that is gone needs nothing any more."""
        sandboxes = self._kernel.sandboxes
        try:
            if clear:
                unplug(sandboxes, netns, [interface])
            sandboxes.join(netns, interface)
            sandboxes.announce(netns, interface)
        except NamespaceGone:
            log.info("namespace is gone", extra={"fields": {"netns": netns}})
            for sandbox, _ in self._plugged():
                if sandbox.netns == netns:
                    self._namespace_gone(sandbox.id)

    def _commit(self, *changes: NftChange) -> None:
        self._kernel.nft.commit(changes)

    def _compare_rules(self, realisations: Sequence[Realisation], plugged: Sequence[Plugged]) -> list[Difference]:
        elements = elements_of(realisations) + tuple(e for _, will in plugged for e in will.elements)
        elements += self._node_elements()
        found: list[Difference] = []
        for table in base():
            members = [e for e in elements if e.table == table.id]
            found += compare_table(table, members, self._kernel.nft.read(table.id))
        return found + compare_foreign(self._kernel.nft.foreign_forward_chains())

    def _realisations(self) -> list[Realisation]:
        view = self._view
        return [Realisation(n, desired_now(n, view, self._drivers)) for n in list(view.networks())]

    def _plugged(self) -> list[Plugged]:
        running = [s for s in list(self._view.sandboxes()) if s.state == "running"]
        return [(sandbox, realise(sandbox, self._view, self._drivers)) for sandbox in running]


def _bridges(realisations: Iterable[Realisation]) -> Iterable[tuple[Network, Bridge]]:
    return ((r.network, r.desired.bridge) for r in realisations if r.desired.bridge is not None)


def _refusals(results: Iterable[TowlineError | None]) -> list[TowlineError]:
    return [error for error in results if error is not None]
