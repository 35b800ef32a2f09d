"""An `Engine` whose swarm networks are a real manager's, on an etcd in memory. No kernel, no disk, one node."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.support.fake_engine import FakeEngine
from tests.support.fake_swarm import FakeSwarm
from tests.support.managers import cluster, managers
from towline.cluster.etcd_fake import FakeCluster
from towline.cluster.manager import Manager
from towline.model.network import Network, SubnetStatus
from towline.model.requests import Created, CreateNetwork, CreateService, InitSwarm, UpdateService
from towline.model.service import Service, ServiceStatus
from towline.policy.resolve import for_delete
from towline.policy.swarm_events import network_event
from towline.store.contract import Delete, Put


class SwarmEngine(FakeEngine):
    """Its networks of scope swarm are there from `POST /swarm/init` until `POST /swarm/leave`."""

    def __init__(self, manager: Manager) -> None:
        super().__init__()
        self.manager = manager
        self.cluster = _Swarm(self)

    async def create_network(self, request: CreateNetwork, *, wait: bool = False) -> Created:
        if not self.cluster.state.manager or (request.driver != "overlay" and request.scope != "swarm"):
            return await super().create_network(request, wait=wait)
        network = await self.manager.networks.create(request)
        self.learn(network)
        self.events.publish(network_event("create", network.id, network.name, time.time_ns()))
        return Created(network.id)

    async def remove_network(self, term: str, *, wait: bool = False) -> None:
        network = for_delete(self._view, term)
        if network.scope != "swarm":
            await super().remove_network(term, wait=wait)
            return
        await self.manager.networks.remove(network.id)
        self._store.update([Delete(Network, network.id)])
        self.events.publish(network_event("remove", network.id, network.name, time.time_ns()))

    def subnet_status(self, network_id: str) -> dict[str, SubnetStatus]:
        return dict(self.manager.networks.statuses(network_id)) or super().subnet_status(network_id)

    def learn(self, network: Network) -> None:
        self._store.update([Put(network)])

    def forget(self) -> None:
        self._store.update([Delete(Network, n.id) for n in self.networks() if n.scope == "swarm"])


class _Swarm(FakeSwarm):
    def __init__(self, engine: SwarmEngine) -> None:
        super().__init__()
        self._engine = engine

    async def services(self) -> Sequence[ServiceStatus]:
        self._cluster()
        return self._engine.manager.services.statuses()

    async def create_service(self, request: CreateService) -> Service:
        self._cluster()
        return await self._engine.manager.services.create(request)

    async def update_service(self, service_id: str, request: UpdateService) -> Service:
        self._cluster()
        return await self._engine.manager.services.update(service_id, request)

    async def remove_service(self, service_id: str, *, force: bool) -> None:
        self._cluster()
        await self._engine.manager.services.remove(service_id, force=force)

    async def init_swarm(self, request: InitSwarm) -> str:
        node_id = await super().init_swarm(request)
        for network in self._engine.manager.state.networks.all():
            self._engine.learn(network)
        return node_id

    async def leave_swarm(self, *, force: bool) -> None:
        await super().leave_swarm(force=force)
        self._engine.forget()


@asynccontextmanager
async def swarm_engine(*pools: str) -> AsyncIterator[SwarmEngine]:
    """pools: CIDR, of the cluster that `POST /swarm/init` makes."""
    async with managers([FakeCluster().client()], of=cluster(pools=pools)) as (manager,):
        yield SwarmEngine(manager)
