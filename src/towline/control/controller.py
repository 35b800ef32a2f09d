"""The engine: composes writer, reaper, drift watch and reconcile, and answers its clients (`contract.Engine`)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence

from towline.control.compare import Difference
from towline.control.drift import DriftWatch, Touched
from towline.control.events import EventBus
from towline.control.networks import Networks
from towline.control.reaper import Reaper
from towline.control.reconcile import Reconciler
from towline.control.startup import bring_up, ensure_predefined, restore_addresses
from towline.control.writer import Writer
from towline.ipam import networks as ipam_networks
from towline.ipam.registry import IpamDrivers
from towline.kernel.contract import Links
from towline.model.config import Config
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.errors import InvalidParameter, KernelError, NotFound, TowlineError
from towline.model.info import Counters, Finding
from towline.model.network import Lease, Network, SubnetStatus
from towline.model.requests import Created, CreateNetwork
from towline.store.contract import META_SWEEP, SWEEP_SUSPENDED, SetMeta, Store

log = logging.getLogger(__name__)

DAEMON_ID = "daemon-id"
REAP_BUDGET = 5.0  # seconds a clean stop waits for links to be unlinked


def ensure_daemon_id(store: Store) -> str:
    """The id by which this installation is known; made once. Automatic IPv6 pools derive from it."""
    if (known := store.meta(DAEMON_ID)) is not None:
        return known
    made = secrets.token_hex(16)
    store.update([SetMeta(DAEMON_ID, made)])
    return made


class Controller:
    def __init__(
        self,
        config: Config,
        *,
        daemon_id: str,
        store: Store,
        links: Links,
        ipams: IpamDrivers,
        writer: Writer,
        reaper: Reaper,
        reconciler: Reconciler,
        networks: Networks,
        events: EventBus,
        counters: Counters,
    ) -> None:
        self.config = config
        self.daemon_id = daemon_id
        self.events = events
        self.counters = counters
        self._store = store
        self._view = store.view()
        self._links = links
        self._ipams = ipams
        self._writer = writer
        self._reaper = reaper
        self._reconciler = reconciler
        self._networks = networks
        self._watch: DriftWatch | None = None

    # life

    async def start(self, watch: DriftWatch) -> None:
        """Bring store and kernel together. The watch's sockets are open already, so that no change is missed."""
        restore_addresses(self._store, self._ipams)
        self._writer.start()
        self._reaper.start()
        equal = await self._writer.exclusive(
            lambda: bring_up(self._store, self._reconciler, self._ipams, sweep=self._may_sweep())
        )
        await ensure_predefined(self._store, self._networks, self._writer, self._links, self.config)
        self._watch = watch
        watch.start()
        if not equal:
            watch.request()

    async def stop(self) -> None:
        """Finish what was accepted. Networks and their traffic stay as they are."""
        if self._watch is not None:
            await self._watch.close()
        await self._writer.close()
        await self._reaper.close(budget=REAP_BUDGET)
        self.events.close()
        self._store.close()

    # reads

    def networks(self) -> list[Network]:
        return [network for network in list(self._view.networks()) if network.phase == "ready"]

    def network(self, network_id: str) -> Network | None:
        network = self._view.network(network_id)
        return network if network is not None and network.phase == "ready" else None

    def network_named(self, name: str) -> Network | None:
        network = self._view.network_named(name)
        return network if network is not None and network.phase == "ready" else None

    @property
    def revision(self) -> int:
        return self._view.revision

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return self._view.endpoints_of(network_id)

    def subnet_status(self, network_id: str) -> dict[str, SubnetStatus]:
        network = self._known(network_id)
        if not network.pools:
            return {}
        return ipam_networks.subnet_status(self._ipams.get(network.ipam_driver), network)

    def leases(self, network_id: str) -> list[Lease]:
        network = self._known(network_id)
        if not network.pools:
            return []
        return ipam_networks.leases(self._ipams.get(network.ipam_driver), network.id)

    def _known(self, network_id: str) -> Network:
        network = self._view.network(network_id)
        if network is None:
            raise NotFound(f"network {network_id} not found")
        return network

    # writes

    async def create_network(self, request: CreateNetwork, *, wait: bool = False) -> Created:
        return await self._networks.create(request)

    async def remove_network(self, term: str, *, wait: bool = False) -> None:
        await self._networks.remove(term, wait=wait)

    async def prune_networks(self, keep: Callable[[Network], bool], *, wait: bool = False) -> list[str]:
        return await self._networks.prune(keep, wait=wait)

    async def connect(self, network_term: str, container: str, config: EndpointConfig = ANYTHING) -> None:
        raise _no_such_container(container)

    async def disconnect(self, network_term: str, container: str, *, force: bool) -> None:
        if force and container:
            raise NotFound(f"endpoint {container} not found")
        raise _no_such_container(container)

    # store against kernel

    async def diagnose(self) -> Sequence[Finding]:
        return [d.finding for d in await self._writer.exclusive(self._reconciler.compare)]

    async def repair(self) -> Sequence[Finding]:
        differences, _ = await self._writer.exclusive(lambda: self._repair(self._reconciler.compare, sweep=True))
        if not self._may_sweep():
            await self._writer.exclusive(lambda: self._store.update([SetMeta(META_SWEEP, None)]))
        return [d.finding for d in differences]

    async def on_drift(self, touched: Touched) -> bool:
        """The drift watch's repair; False if something is left to be repaired."""

        def compare() -> list[Difference]:
            if touched.everything:
                return self._reconciler.compare()
            found = self._reconciler.compare_rules() if touched.rules else []
            return [*(d for name in sorted(touched.links) for d in self._reconciler.compare_link(name)), *found]

        started = time.monotonic()
        try:
            found, errors = await self._writer.exclusive(lambda: self._repair(compare, sweep=self._may_sweep()))
        except KernelError as error:
            log.error("comparison failed", extra={"fields": {"error": str(error)}})
            return False
        self.counters.reconciles += 1
        self.counters.drift_repairs += len(found)
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        for difference in found:
            what = {"object": difference.finding.object, "problem": difference.finding.problem}
            log.warning(
                "drift repaired" if not errors else "drift found",
                extra={"fields": {**what, "milliseconds": milliseconds}},
            )
        return not errors

    def _repair(
        self, compare: Callable[[], list[Difference]], *, sweep: bool
    ) -> tuple[list[Difference], list[TowlineError]]:
        differences = [d for d in compare() if sweep or not d.sweep]
        return differences, self._reconciler.repair(differences, sweep=sweep) if differences else []

    def _may_sweep(self) -> bool:
        return self._store.meta(META_SWEEP) != SWEEP_SUSPENDED

    def concerns(self, link: str) -> bool:
        return self._view.network_with_link(link) is not None


def _no_such_container(container: str) -> InvalidParameter | NotFound:
    if not container:
        return InvalidParameter('invalid name or ID supplied: ""')
    return NotFound(f"No such container: {container}")
