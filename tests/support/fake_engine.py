"""An `Engine` without kernel and disk: the real rules of names, admission, planning and addresses over a memory store.

Its named faults make a write fail or hang, for tests of what the API then answers.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import replace

from tests.support.fake_sandboxes import FakeEntry, FakeSandboxes
from towline.control.cluster_contract import ClusterEngine, NoCluster
from towline.control.events import EventBus
from towline.control.predefined import default_bridge, single
from towline.drivers.parent import why_absent
from towline.drivers.registry import builtin_drivers
from towline.ipam import networks as ipam_networks
from towline.ipam.prefixes import PrefixSet
from towline.ipam.registry import builtin_drivers as builtin_ipams
from towline.model.cluster import HostInterface, Peer
from towline.model.config import GLOBAL_POOLS, Config
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.errors import Conflict, NotFound
from towline.model.events import Event
from towline.model.info import Counters, EndpointPath, Finding, PathStep
from towline.model.network import Lease, Network, SubnetStatus
from towline.model.requests import Created, CreateNetwork, CreateSandbox, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.model.service import Service
from towline.plan.network import plan_network
from towline.policy.endpoint import live_endpoints
from towline.policy.network import Admission, check_removal
from towline.policy.resolve import for_delete
from towline.policy.sandbox import find_sandbox
from towline.store.contract import Delete, Put
from towline.store.memory import MemoryStore

TEST_CONFIG = Config(default_address_pools=GLOBAL_POOLS)


async def _no_interfaces() -> Sequence[HostInterface]:
    return ()


class FakeEngine:
    """boxes: its sandboxes. fault: raised by the next write. gate: writes wait until it is set. waited: the `wait` of
    every write to networks."""

    def __init__(self, config: Config = TEST_CONFIG) -> None:
        self.config = config
        self.daemon_id = "f" * 32
        self.events = EventBus()
        self.counters = Counters()
        self.cluster: ClusterEngine = NoCluster(_no_interfaces)
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.waited: list[bool] = []
        self.findings: list[Finding] = []
        self._store = MemoryStore()
        self._view = self._store.view()
        self._drivers = builtin_drivers()
        self._ipams = builtin_ipams(config.default_address_pools, self.daemon_id)
        self._admission = Admission(self._drivers, config.default_network_opts)
        self.boxes = FakeSandboxes(self._store, self._drivers, self._ipams, self._announce_endpoint)
        for request in (default_bridge(config, "docker0"), single("host", "host"), single("none", "null")):
            self._make(request, self._drivers.get(request.driver).name)

    @property
    def revision(self) -> int:
        return self._view.revision

    def networks(self) -> list[Network]:
        return list(self._view.networks())

    def network(self, network_id: str) -> Network | None:
        return self._view.network(network_id)

    def network_named(self, name: str) -> Network | None:
        return self._view.network_named(name)

    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        return self._view.peers_of(network_id)

    def services_on(self, network_id: str) -> tuple[Service, ...]:
        return self._view.services_on(network_id)

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return self._view.endpoints_of(network_id)

    def subnet_status(self, network_id: str) -> dict[str, SubnetStatus]:
        network = self._view.network(network_id)
        assert network is not None
        return ipam_networks.subnet_status(self._ipams.get(network.ipam_driver), network) if network.pools else {}

    def leases(self, network_id: str) -> list[Lease]:
        network = self._view.network(network_id)
        assert network is not None
        return ipam_networks.leases(self._ipams.get(network.ipam_driver), network_id) if network.pools else []

    async def create_network(self, request: CreateNetwork, *, wait: bool = False) -> Created:
        await self._write(wait)
        admitted, driver = self._admission.admit(request, self._view)
        network = self._make(admitted, driver.name if driver else None)
        self._announce("create", network)
        return Created(network.id)

    async def remove_network(self, term: str, *, wait: bool = False) -> None:
        await self._write(wait)
        network = for_delete(self._view, term)
        check_removal(network, self._view)
        self._remove(network)

    async def prune_networks(self, keep: Callable[[Network], bool], *, wait: bool = False) -> list[str]:
        await self._write(wait)
        gone = [n for n in self.networks() if not (n.predefined or n.config_only or self._used(n) or keep(n))]
        for network in gone:
            self._remove(network)
        self.events.publish(Event("network", "prune", "", {"reclaimed": "0"}, "local", time.time_ns()))
        return [network.name for network in gone]

    async def connect(self, network_term: str, container: str, config: EndpointConfig = ANYTHING) -> None:
        await self._write()
        self.boxes.connect(network_term, container, config)

    async def disconnect(self, network_term: str, container: str, *, force: bool) -> None:
        await self._write()
        try:
            self.boxes.disconnect(network_term, container)
        except NotFound as error:
            if force and str(error) == f"No such container: {container}":
                raise NotFound(f"endpoint {container} not found") from None
            raise

    def sandboxes(self) -> list[Sandbox]:
        return self.boxes.all()

    def sandbox(self, term: str) -> Sandbox | None:
        try:
            return find_sandbox(self._view, term)
        except NotFound:
            return None

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        return self._view.endpoints_in(sandbox_id)

    async def create_sandbox(self, request: CreateSandbox) -> Created:
        await self._write()
        return self.boxes.create(request)

    async def start_sandbox(self, term: str, *, process: Process | None = None) -> StartedSandbox:
        await self._write()
        return self.boxes.start(term, process)

    async def stop_sandbox(self, term: str, *, grace: float = 10.0) -> bool:
        await self._write()
        return self.boxes.stop(term)

    async def remove_sandbox(self, term: str, *, force: bool = False) -> None:
        await self._write()
        self.boxes.remove(term, force=force)

    def logs(
        self, sandbox_id: str, *, tail: int | None = None, since: str = "", follow: bool = False
    ) -> AsyncIterator[FakeEntry]:
        return self.boxes.logs(sandbox_id, tail, since)

    def name_counts(self) -> dict[str, int]:
        return {"queries": 7}

    async def explain(self, term: str) -> Sequence[EndpointPath]:
        box = find_sandbox(self._view, term)
        step = PathStep("interface", "eth0", "is down")
        return [EndpointPath(endpoint.id, endpoint.network, (step,)) for endpoint in self.endpoints_in(box.id)]

    async def diagnose(self) -> Sequence[Finding]:
        return list(self.findings)

    async def repair(self) -> Sequence[Finding]:
        found, self.findings = self.findings, []
        return found

    def attach(self, endpoint: Endpoint) -> None:
        """Put an endpoint into the store that no sandbox of ours has."""
        self._store.update([Put(endpoint)])

    async def _write(self, wait: bool | None = None) -> None:
        if wait is not None:
            self.waited.append(wait)
        await self.gate.wait()
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault

    def _used(self, network: Network) -> bool:
        return bool(live_endpoints(self._view, network.id))

    def _make(self, request: CreateNetwork, driver: str | None) -> Network:
        if self._view.network_named(request.name) is not None:
            raise Conflict(f"network with name {request.name} already exists")
        network = plan_network(
            request,
            None if driver is None else self._drivers.get(driver),
            self._view,
            network_id=secrets.token_hex(32),
            now=time.time_ns(),
            ipam=self._ipams.get(request.ipam_driver),
            in_use=PrefixSet(),
        )
        parent = self._drivers.desired(network).parent
        if parent is not None and parent.kind != "dummy":
            raise why_absent(parent, lower_there=False)
        network = replace(network, phase="ready")
        self._store.update([Put(network)])
        self.counters.created += 1
        return network

    def _remove(self, network: Network) -> None:
        idle = self._view.endpoints_of(network.id)
        self._store.update([Delete(Network, network.id), *(Delete(Endpoint, endpoint.id) for endpoint in idle)])
        if network.pools:
            ipam_networks.release_network(self._ipams.get(network.ipam_driver), network, idle)
        self.counters.removed += 1
        if not network.config_only:
            self._announce("destroy", network)

    def _announce_endpoint(self, action: str, sandbox: Sandbox, network: Network) -> None:
        attributes = {"container": sandbox.id, "name": network.name, "type": network.driver}
        self.events.publish(Event("network", action, network.id, attributes, network.scope, time.time_ns()))

    def _announce(self, action: str, network: Network) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self.events.publish(Event("network", action, network.id, attributes, network.scope, time.time_ns()))
