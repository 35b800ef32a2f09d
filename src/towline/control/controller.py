"""The engine: composes writer, reaper, drift watch and reconcile, and answers its clients (`contract.Engine`)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import asdict

from towline.control.cluster_contract import ClusterEngine
from towline.control.collaborators import NameServers
from towline.control.compare import Difference
from towline.control.contract import LogEntry
from towline.control.docker import DockerWatch
from towline.control.drift import DriftWatch, Outcome, Touched
from towline.control.events import EventBus
from towline.control.explain import Explainer
from towline.control.membership import Membership
from towline.control.mesh import Mesh
from towline.control.names_check import NamesCheck
from towline.control.networks import Networks
from towline.control.reaper import Reaper
from towline.control.reconcile import Reconciler
from towline.control.sandbox_recovery import Recovery
from towline.control.sandboxes import Sandboxes
from towline.control.startup import bring_up, ensure_predefined, restore_addresses
from towline.control.whole import Whole
from towline.control.writer import Writer
from towline.ipam import networks as ipam_networks
from towline.ipam.registry import IpamDrivers
from towline.kernel.contract import Kernel
from towline.model.cluster import Peer
from towline.model.config import Config
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.errors import KernelError, NotFound, TowlineError
from towline.model.info import Counters, EndpointPath, Finding
from towline.model.network import Lease, Network, SubnetStatus
from towline.model.requests import Created, CreateNetwork, CreateSandbox, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.model.service import Service
from towline.policy.sandbox import find_sandbox
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
        kernel: Kernel,
        ipams: IpamDrivers,
        writer: Writer,
        reaper: Reaper,
        reconciler: Reconciler,
        networks: Networks,
        sandboxes: Sandboxes,
        membership: Membership,
        recovery: Recovery,
        explainer: Explainer,
        names_check: NamesCheck,
        mesh: Mesh,
        dns: NameServers,
        events: EventBus,
        counters: Counters,
        cluster: ClusterEngine,
    ) -> None:
        self.config = config
        self.daemon_id = daemon_id
        self.events = events
        self.counters = counters
        self.cluster = cluster
        self._store = store
        self._view = store.view()
        self._kernel = kernel
        self._docker = DockerWatch(self._view, kernel.nft)
        self._ipams = ipams
        self._writer = writer
        self._reaper = reaper
        self._reconciler = reconciler
        self._networks = networks
        self._sandboxes = sandboxes
        self._membership = membership
        self._recovery = recovery
        self._explainer = explainer
        self._names_check = names_check
        self._mesh = mesh
        self._dns = dns
        self._whole = Whole()
        self._watch: DriftWatch | None = None

    # life

    async def start(self, watch: DriftWatch) -> None:
        """Bring store and kernel together. The watch's sockets are open already, so that no change is missed."""
        restore_addresses(self._store, self._ipams)
        self._writer.start()
        self._reaper.start()
        await self._recovery.end_dead()
        equal = await self._writer.exclusive(
            lambda: bring_up(self._store, self._reconciler, self._ipams, sweep=self._may_sweep())
        )
        await ensure_predefined(self._store, self._networks, self._writer, self._kernel, self.config)
        await self._writer.exclusive(self._docker.tell)
        await self._recovery.resume(sweep=self._may_sweep())
        self._watch = watch
        watch.start()
        if not equal:
            watch.request()

    async def stop(self) -> None:
        """Finish what was accepted. Networks and their traffic stay as they are."""
        if self._watch is not None:
            await self._watch.close()
        await self._sandboxes.close()
        await self._whole.finish()
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

    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        return self._view.peers_of(network_id)

    def services_on(self, network_id: str) -> tuple[Service, ...]:
        return self._view.services_on(network_id)

    def subnet_status(self, network_id: str) -> dict[str, SubnetStatus]:
        network = self._known(network_id)
        if not network.pools:
            return {}
        if network.spans:
            return dict(self.cluster.subnet_status(network_id))
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
        return await self._whole.run(self._networks.prune(keep, wait=wait))

    async def connect(self, network_term: str, container: str, config: EndpointConfig = ANYTHING) -> None:
        await self._whole.run(self._membership.connect(network_term, container, config))

    async def disconnect(self, network_term: str, container: str, *, force: bool) -> None:
        await self._whole.run(self._membership.disconnect(network_term, container, force=force))

    # sandboxes

    def sandboxes(self) -> list[Sandbox]:
        return [sandbox for sandbox in list(self._view.sandboxes()) if sandbox.origin != "mesh"]

    def sandbox(self, term: str) -> Sandbox | None:
        try:
            return find_sandbox(self._view, term)
        except NotFound:
            return None

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        return self._view.endpoints_in(sandbox_id)

    async def create_sandbox(self, request: CreateSandbox) -> Created:
        return await self._whole.run(self._sandboxes.create(request))

    async def start_sandbox(self, term: str, *, process: Process | None = None) -> StartedSandbox:
        return await self._whole.run(self._sandboxes.start(term, process=process))

    async def stop_sandbox(self, term: str, *, grace: float = 10.0) -> bool:
        return await self._whole.run(self._sandboxes.stop(term, grace=grace))

    async def remove_sandbox(self, term: str, *, force: bool = False) -> None:
        await self._whole.run(self._sandboxes.remove(term, force=force))

    def name_counts(self) -> dict[str, int]:
        return asdict(self._dns.counters)

    async def explain(self, term: str) -> Sequence[EndpointPath]:
        sandbox = find_sandbox(self._view, term)
        unserved = await self._names_check.problem(sandbox)
        return await self._writer.exclusive(lambda: self._explainer.explain(sandbox, unserved))

    def logs(
        self, sandbox_id: str, *, tail: int | None = None, since: str = "", follow: bool = False
    ) -> AsyncIterator[LogEntry]:
        return self._sandboxes.logs(sandbox_id, tail=tail, since=since, follow=follow)

    # store against kernel

    async def diagnose(self) -> Sequence[Finding]:
        differences = await self._writer.exclusive(self._reconciler.compare)
        docker = await self._writer.exclusive(self._docker.findings)
        names = await self._names_check.findings()
        return [*(d.finding for d in differences), *names, *self._mesh.findings(), *docker]

    async def repair(self) -> Sequence[Finding]:
        differences, errors = await self._writer.exclusive(lambda: self._repair(self._reconciler.compare, sweep=True))
        if not errors and not self._may_sweep():
            await self._writer.exclusive(lambda: self._store.update([SetMeta(META_SWEEP, None)]))
        return [*(d.finding for d in differences), *await self._names_check.repair()]

    async def on_drift(self, touched: Touched) -> Outcome:
        """The drift watch's repair. What a notification shows to be right, or is gone since, needs no writer."""
        links = [n for n, link in touched.links.items() if self.concerns(n) and not self._reconciler.agrees(n, link)]
        if not (links or touched.rows or touched.rules or touched.everything):
            return Outcome.EQUAL

        def compare() -> list[Difference]:
            if touched.everything:
                return self._reconciler.compare()
            found = self._reconciler.compare_rules() if touched.rules else []
            rows = [d for name in sorted(touched.rows) for d in self._reconciler.compare_rows_of(name)]
            return [*(d for name in sorted(links) for d in self._reconciler.compare_link(name)), *rows, *found]

        started = time.monotonic()
        try:
            found, errors = await self._writer.exclusive(lambda: self._repair(compare, sweep=self._may_sweep()))
        except KernelError as error:
            log.error("comparison failed", extra={"fields": {"error": str(error)}})
            return Outcome.FAILED
        self.counters.reconciles += 1
        if touched.rules:
            await self._writer.exclusive(self._docker.tell)
        self.counters.drift_repairs += len(found)
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        for difference in found:
            what = {"object": difference.finding.object, "problem": difference.finding.problem}
            log.warning(
                "drift repaired" if not errors else "drift found",
                extra={"fields": {**what, "milliseconds": milliseconds}},
            )
        if errors:
            return Outcome.FAILED
        return Outcome.REPAIRED if found else Outcome.EQUAL

    def _repair(
        self, compare: Callable[[], list[Difference]], *, sweep: bool
    ) -> tuple[list[Difference], list[TowlineError]]:
        differences = [d for d in compare() if sweep or not d.sweep]
        return differences, self._reconciler.repair(differences, sweep=sweep) if differences else []

    def _may_sweep(self) -> bool:
        return self._store.meta(META_SWEEP) != SWEEP_SUSPENDED

    def concerns(self, link: str) -> bool:
        return self._reconciler.concerns(link)
