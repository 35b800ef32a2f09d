"""Creating, removing and pruning networks: plans handed to the writer, and what follows when they are done."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from msgspec.structs import replace

from towline.control.collaborators import Seat
from towline.control.host import HostPrefixes
from towline.control.reaper import Reaper
from towline.control.work import Realisation, Work
from towline.control.writer import Writer
from towline.drivers.contract import Driver
from towline.drivers.overlay import GATEWAY_NETWORK, gateway_network_request
from towline.drivers.registry import Drivers
from towline.ipam.networks import release_network
from towline.ipam.registry import IpamDrivers
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, InvalidParameter, NotFound, TowlineError
from towline.model.events import Event
from towline.model.info import Counters
from towline.model.network import SWARM, Network
from towline.model.requests import Created, CreateNetwork
from towline.model.view import View
from towline.plan.network import may_need_automatic_pool, plan_network
from towline.policy.endpoint import live_endpoints
from towline.policy.network import Admission, check_removal
from towline.policy.resolve import for_delete
from towline.store.contract import Delete, Put, Store

log = logging.getLogger(__name__)


def new_network_id() -> str:
    """64 lower-hex digits whose short form is not a number (moby pkg/stringid)."""
    while (network_id := secrets.token_hex(32))[:12].isdecimal():
        pass
    return network_id


class Networks:
    def __init__(
        self,
        *,
        store: Store,
        writer: Writer,
        reaper: Reaper,
        admission: Admission,
        drivers: Drivers,
        ipams: IpamDrivers,
        host: HostPrefixes,
        publish: Callable[[Event], None],
        counters: Counters,
        seat: Seat,
    ) -> None:
        self._store = store
        self._view = store.view()
        self._writer = writer
        self._reaper = reaper
        self._admission = admission
        self._drivers = drivers
        self._ipams = ipams
        self._host = host
        self._publish = publish
        self._counters = counters
        self._seat = seat
        self._pruning = False

    async def create(self, request: CreateNetwork) -> Created:
        """What a client asks for: every check of admission applies. The managers make those of the cluster."""
        if self._admission.is_global(request):
            self._admission.admit(request, self._view)
            return await self._seat.cluster.create(request)
        return await self._create(request, self._admission.admit)

    async def create_predefined(self, request: CreateNetwork) -> Created:
        """bridge, host and none, whose names clients may not use."""
        return await self._create(request, lambda r, _: (r, self._drivers.get(r.driver)), quietly=True)

    async def ensure_gateway(self) -> None:
        """The network of this host by which sandboxes on global networks get out. Without it they do not get out."""
        if self._view.network_named(GATEWAY_NETWORK) is not None:
            return
        try:
            await self._create(gateway_network_request(), self._admission.admit)
        except Conflict:
            log.debug("another join makes the gateway network")
        except TowlineError as error:
            log.error("no way out of global networks", extra={"fields": {"error": str(error)}})

    async def _create(
        self,
        request: CreateNetwork,
        admit: Callable[[CreateNetwork, View], tuple[CreateNetwork, Driver | None]],
        *,
        quietly: bool = False,
    ) -> Created:
        if self._host.stale and may_need_automatic_pool(request):
            await self._writer.exclusive(self._host.refresh)
        network_id = new_network_id()

        def plan(view: View) -> Work:
            admitted, driver = admit(request, view)
            network = plan_network(
                admitted,
                driver,
                view,
                network_id=network_id,
                now=time.time_ns(),
                ipam=self._ipams.get(admitted.ipam_driver),
                in_use=self._host.current,
            )
            return self._creation(network, quietly)

        await self._writer.submit(plan)
        return Created(network_id)

    def _creation(self, network: Network, quietly: bool) -> Work:
        def settle() -> None:
            if self._view.network(network.id) is not None:  # else the same batch has removed it again
                self._store.note([Put(replace(network, phase="ready"))])
            self._counters.created += 1
            if not quietly:
                self._announce("create", network)

        return Work(
            changes=[Put(network)],
            creates=(Realisation(network, self._drivers.desired(network)),),
            revert=[Delete(Network, network.id)],
            settle=settle,
            abandon=lambda: self._release(network),
        )

    async def remove(self, term: str, *, wait: bool) -> None:
        if (found := self._global(term)) is not None:
            await self._seat.cluster.remove(found)
            return
        network = await self._remove(lambda view: for_delete(view, term))
        if wait and network.link:
            await self._reaper.gone([network.link])

    def _global(self, term: str) -> Network | None:
        """The network of the cluster that it means, if it does."""
        with suppress(NotFound, InvalidParameter):
            found = for_delete(self._view, term)
            return found if found.scope == SWARM else None
        return None

    async def drop(self, network: Network) -> None:
        """Remove without asking whether it may go: a default bridge whose configuration changed."""
        await self._remove(lambda _: network, check=lambda _, __: None, quietly=True)

    async def hand_over(self, network: Network) -> None:
        """Forget a network without endpoints, whose link is not ours any more and stays as it is."""
        desired = replace(self._drivers.desired(network), bridge=None)
        await self._writer.submit(lambda _: self._removal(Realisation(network, desired), (), quietly=True))

    async def _remove(
        self,
        find: Callable[[View], Network],
        *,
        check: Callable[[Network, View], None] = check_removal,
        quietly: bool = False,
    ) -> Network:
        found: list[Network] = []

        def plan(view: View) -> Work:
            network = find(view)
            check(network, view)
            found.append(network)
            realisation = Realisation(network, self._drivers.desired(network))
            return self._removal(realisation, view.endpoints_of(network.id), quietly=quietly)

        await self._writer.submit(plan)
        return found[0]

    def _removal(self, removed: Realisation, idle: tuple[Endpoint, ...], *, quietly: bool) -> Work:
        """idle: endpoints of sandboxes that do not run; they go with the network."""
        network = removed.network

        def settle() -> None:
            self._release(network, idle)
            self._counters.removed += 1
            if not (quietly or network.config_only):
                self._announce("destroy", network)

        return Work(
            changes=[Delete(Network, network.id), *(Delete(Endpoint, e.id) for e in idle)],
            removes=(removed,),
            final=True,
            settle=settle,
        )

    async def prune(self, keep: Callable[[Network], bool], *, wait: bool) -> list[str]:
        if self._pruning:
            raise Conflict("a prune operation is already running")
        self._pruning = True
        try:
            prunable = list(self._prunable(keep))
            removed = await self._remove_global([n for n in prunable if n.scope == SWARM])
            removed += await self._remove_each([n for n in prunable if n.scope != SWARM])
        finally:
            self._pruning = False
        if wait:
            await self._reaper.gone([network.link for network in removed if network.link and network.scope != SWARM])
        self._publish(Event("network", "prune", "", {"reclaimed": "0"}, "local", time.time_ns()))
        return [network.name for network in removed]

    def _prunable(self, keep: Callable[[Network], bool]) -> Iterator[Network]:
        for network in self._view.networks():
            idle = not (network.predefined or network.config_only or live_endpoints(self._view, network.id))
            if idle and network.phase == "ready" and not keep(network):
                yield network

    async def _remove_global(self, networks: list[Network]) -> list[Network]:
        """Those that went, if this is a manager. One that is in use somewhere is passed over, as in Docker; so is
        ingress."""
        removed: list[Network] = []
        for network in networks if self._seat.cluster.manager else ():
            if not network.ingress:
                with suppress(TowlineError):
                    await self._seat.cluster.remove(network)
                    removed.append(network)
        return removed

    async def _remove_each(self, networks: list[Network]) -> list[Network]:
        """Those that went. One that was removed or joined meanwhile is passed over, as in Docker."""

        def still_there(network: Network) -> Callable[[View], Network]:
            def find(view: View) -> Network:
                if (found := view.network(network.id)) is None:
                    raise NotFound(f"network {network.name} not found")
                return found

            return find

        outcomes = await asyncio.gather(
            *(self._remove(still_there(network)) for network in networks), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, TowlineError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Network)]

    def _release(self, network: Network, endpoints: tuple[Endpoint, ...] = ()) -> None:
        if network.pools:
            release_network(self._ipams.get(network.ipam_driver), network, endpoints)

    def _announce(self, action: str, network: Network) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self._publish(Event("network", action, network.id, attributes, network.scope, time.time_ns()))
