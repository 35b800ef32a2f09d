"""Changes of what a sandbox is joined to, as works: the state before, the state after, and their difference."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence

from msgspec.structs import replace

from towline.control.draft import Draft
from towline.control.global_joins import GlobalJoins
from towline.control.ports import NO_PORTS, Families, Granted, Ports
from towline.control.work import Realisation, Work
from towline.drivers.overlay import GATEWAY_NETWORK
from towline.drivers.registry import Drivers
from towline.ipam.errors import AddressTaken, PartNeeded
from towline.ipam.registry import IpamDrivers
from towline.model.desired import NOTHING
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.network import SWARM, Network
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.endpoint import name_interfaces, plan_endpoint, release_endpoint
from towline.plan.gateways import Member, choose
from towline.plan.membership import ingress_of, ports_of
from towline.plan.presence import desired_now, needs_part
from towline.plan.published import place
from towline.plan.sandbox import Known, members_of, realise, transition
from towline.store.contract import Change, Delete, Put


class EndpointPlanner:
    """Used while planning, on the event loop: addresses and ports are taken at once and given back by `abandon`."""

    def __init__(self, drivers: Drivers, ipams: IpamDrivers, ports: Ports, joins: GlobalJoins) -> None:
        self._drivers = drivers
        self._ipams = ipams
        self._ports = ports
        self._joins = joins

    # single endpoints

    def make(self, sandbox: Sandbox, network: Network, config: EndpointConfig) -> Endpoint:
        """On a global network it may need a block, or a part of this host: see `GlobalJoins.attempt`."""
        if needs_part(network, self._drivers):
            raise PartNeeded(network)
        ipam, blocks = self._ipams.get(network.ipam_driver), self._joins.blocks(network)
        try:
            return plan_endpoint(sandbox, network, config, endpoint_id=secrets.token_hex(32), ipam=ipam, blocks=blocks)
        except AddressTaken as error:
            if blocks is None or error.held.reason != "endpoint":
                raise
            raise self._joins.taken(network, error.held) from error

    def give_back(self, endpoint: Endpoint, network: Network | None) -> None:
        """Its addresses; nothing where the network is gone already."""
        if network is not None and network.pools:
            release_endpoint(endpoint, network, self._ipams.get(network.ipam_driver))
            self._joins.released(endpoint, network)

    # whole sandboxes

    def change(
        self,
        view: View,
        before: Sandbox | None,
        after: Sandbox | None,
        changes: Sequence[Change] = (),
        *,
        taken: Collection[str] = (),
    ) -> Work:
        """The work that leads from one state of a sandbox to another, `changes` of its endpoints included.

        taken: interface names in its namespace that are not ours. Ports are taken for a sandbox that runs after the
        change; the work's abandon gives back those that are new.
        """
        made, gone = self._own(view, after, changes)
        changes = [*changes, *map(Put, made), *(Delete(Endpoint, endpoint.id) for endpoint in gone)]
        try:
            work = self._changed(view, before, after, changes, taken)
        except BaseException:
            self._give_all_back(view, made)
            raise
        if made:
            work.when_abandoned(lambda: self._give_all_back(view, made))
        if gone:
            work.release = lambda: self._give_all_back(view, gone)
        return work

    def _own(
        self, view: View, after: Sandbox | None, changes: Sequence[Change]
    ) -> tuple[list[Endpoint], list[Endpoint]]:
        """Endpoints to make and to give up that are there by our choice, while the sandbox runs."""
        joined, left = self._ingress(view, after, changes)
        staged = [*changes, *map(Put, joined), *(Delete(Endpoint, endpoint.id) for endpoint in left)]
        try:
            made, gone = self._way_out(view, after, staged)
        except BaseException:
            self._give_all_back(view, joined)
            raise
        return joined + made, left + gone

    def _ingress(
        self, view: View, after: Sandbox | None, changes: Sequence[Change]
    ) -> tuple[list[Endpoint], list[Endpoint]]:
        """A member of a service with ports that every node publishes is reached by the ingress network."""
        if after is None:
            return [], []
        draft = Draft(view)
        draft.stage([*changes, Put(after)])
        wanted = ingress_of(draft, after)
        held = [(e, view.network(e.network)) for e in draft.endpoints_in(after.id)]
        have = [endpoint for endpoint, network in held if network is not None and network.ingress and endpoint.service]
        gone = [endpoint for endpoint in have if wanted is None or endpoint.network != wanted.id]
        if wanted is None or len(have) > len(gone):
            return [], gone
        return [replace(self.make(after, wanted, ANYTHING), dns_names=())], gone

    def _way_out(
        self, view: View, after: Sandbox | None, changes: Sequence[Change]
    ) -> tuple[list[Endpoint], list[Endpoint]]:
        """Endpoints to make and to give up, so that a sandbox that runs on a global network, and has no gateway of its
        own choice, gets out of it by this host's network for that."""
        if after is None:
            return [], []
        draft = Draft(view)
        draft.stage([*changes, Put(after)])
        have = [endpoint for endpoint in draft.endpoints_in(after.id) if endpoint.way_out]
        wanted = after.state == "running" and self._needs_way_out(draft, after)
        network = view.network_named(GATEWAY_NETWORK) if wanted and not have else None
        if network is None:
            return [], [] if wanted else have
        made = self.make(after, network, ANYTHING)
        return [replace(made, name=f"gateway_{after.id[:12]}", dns_names=(), way_out=True)], []

    def _needs_way_out(self, draft: Draft, sandbox: Sandbox) -> bool:
        joined = (e for e in draft.endpoints_in(sandbox.id) if not e.way_out)
        pairs = [(endpoint, draft.network(endpoint.network)) for endpoint in joined]
        if not any(n is not None and n.spans and not n.internal for _, n in pairs):
            return False
        attached = (self._drivers.get(n.driver).attach(n, e) for e, n in pairs if n is not None)
        return all(a is None or (a.gateway4 is None and a.gateway6 is None) for a in attached)

    def _give_all_back(self, view: View, endpoints: Sequence[Endpoint]) -> None:
        for endpoint in endpoints:
            self.give_back(endpoint, view.network(endpoint.network))

    def _changed(
        self,
        view: View,
        before: Sandbox | None,
        after: Sandbox | None,
        changes: Sequence[Change],
        taken: Collection[str],
    ) -> Work:
        asked, draft = Draft(view), Draft(view)
        asked.stage(changes)
        draft.stage(changes)
        known: Known = {}
        granted = self._ports_for(draft, after, taken, known)
        try:
            settled = [e for e in self._settled(draft, after, granted, known) if e != asked.endpoint(e.id)]
            own = [Put(after)] if after and after != view.sandbox(after.id) else []
            work = self._difference(view, before, after, [*changes, *own, *(Put(e) for e in settled)], known)
        except BaseException:
            self._give_ports_back(after, granted)
            raise
        work.abandon = lambda: self._give_ports_back(after, granted)
        return work

    def _difference(
        self, view: View, before: Sandbox | None, after: Sandbox | None, staged: Sequence[Change], known: Known
    ) -> Work:
        was = realise(before or _absent(after), view, self._drivers, known)
        final = Draft(view)
        final.stage(staged)
        will = realise(after or _absent(before), final, self._drivers, known)
        creates, removes = self._come_and_gone(view, final, staged)
        return Work(
            changes=list(staged),
            revert=_inverse(staged, view),
            creates=creates,
            removes=removes,
            transitions=(transition(was, will),),
            final=after is None or after.state != "running",
        )

    def _come_and_gone(
        self, before: View, after: View, staged: Sequence[Change]
    ) -> tuple[tuple[Realisation, ...], tuple[Realisation, ...]]:
        """Global networks of which this host gets its first running endpoint, and loses its last."""
        touched = dict.fromkeys(_networks_of(staged, before))
        networks = [n for n in map(before.network, touched) if n is not None and n.scope == SWARM]
        was = {network.id: desired_now(network, before, self._drivers) for network in networks}
        will = {network.id: desired_now(network, after, self._drivers) for network in networks}
        moved = [network for network in networks if (was[network.id] == NOTHING) != (will[network.id] == NOTHING)]
        return (
            tuple(Realisation(network, will[network.id]) for network in moved if was[network.id] == NOTHING),
            tuple(Realisation(network, was[network.id]) for network in moved if was[network.id] != NOTHING),
        )

    def _ports_for(self, draft: Draft, after: Sandbox | None, taken: Collection[str], known: Known) -> Granted:
        """Name the interfaces of a sandbox that will run, and take the ports that its gateways publish."""
        if after is None or after.state != "running":
            return NO_PORTS
        draft.stage([Put(after)])
        named = name_interfaces(draft.endpoints_in(after.id), self._prefixes(draft, after), taken)
        draft.stage([Put(endpoint) for endpoint in named])
        gateways = choose(members_of(after, draft, self._drivers, known))
        families = Families(ipv4=_publishes(gateways.ipv4), ipv6=_publishes(gateways.ipv6))
        return self._ports.extend(after.id, ports_of(draft, after), families)

    def _give_ports_back(self, after: Sandbox | None, granted: Granted) -> None:
        if after is not None:
            self._ports.give_back(after.id, granted.added)

    def _settled(self, draft: Draft, after: Sandbox | None, granted: Granted, known: Known) -> list[Endpoint]:
        """The sandbox's endpoints with their interface names and published ports in the new state."""
        if after is None:
            return []
        if after.state != "running":
            draft.stage([Put(after)])
            return [replace(e, ifname="", published=()) for e in draft.endpoints_in(after.id)]
        return place(members_of(after, draft, self._drivers, known), granted.published)

    def _prefixes(self, view: View, sandbox: Sandbox) -> dict[str, str]:
        found = (view.network(endpoint.network) for endpoint in view.endpoints_in(sandbox.id))
        return {n.id: self._drivers.get(n.driver).interface_prefix(n) for n in found if n is not None}


def _publishes(gateway: Member | None) -> bool:
    return gateway is not None and gateway.attachment.rules is not None


def _absent(sandbox: Sandbox | None) -> Sandbox:
    return Sandbox(id=sandbox.id if sandbox else "", name="", created=0)


def _networks_of(changes: Sequence[Change], view: View) -> Iterator[str]:
    """Of the endpoints that are changed."""
    for change in changes:
        match change:
            case Put(record=Endpoint() as endpoint):
                yield endpoint.network
            case Delete(kind=kind, id=endpoint_id) if kind is Endpoint:
                if (gone := view.endpoint(endpoint_id)) is not None:
                    yield gone.network
            case _:
                pass


def _inverse(changes: Sequence[Change], view: View) -> list[Change]:
    """What puts the records back as they were."""
    inverse: list[Change] = []
    lookups: dict[type, Callable[[str], Sandbox | Endpoint | Network | None]] = {
        Sandbox: view.sandbox,
        Endpoint: view.endpoint,
        Network: view.network,
    }
    for change in changes:
        match change:
            case Put(record=record):
                old = lookups[type(record)](record.id)
                inverse.append(Delete(type(record), record.id) if old is None else Put(old))
            case Delete(kind=kind, id=record_id):
                old = lookups[kind](record_id)
                if old is not None:
                    inverse.append(Put(old))
            case _:
                pass
    return inverse[::-1]
