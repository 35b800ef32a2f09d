"""What a manager's own clients ask of services: known on this node, and told as an event, when it returns."""

from __future__ import annotations

from collections.abc import Callable

from towline.cluster.agent import Agent
from towline.cluster.copy import ClusterCopy
from towline.cluster.managership import Managership
from towline.cluster.managing_services import Services
from towline.model.requests import CreateService, UpdateService
from towline.model.service import Service, ServiceStatus

_SEEN = 5.0
"""Seconds that an answer waits at most until the node's own copy has the change."""


class ServiceVerbs:
    """Unavailable where this node is no manager that works."""

    def __init__(self, managing: Managership, agent: Agent) -> None:
        self._managing = managing
        self._agent = agent

    @property
    def _services(self) -> Services:
        return self._managing.stack.manager.services

    def statuses(self) -> list[ServiceStatus]:
        return self._services.statuses()

    async def create(self, request: CreateService) -> Service:
        service = await self._services.create(request)
        await self._seen(lambda copy: service.id in copy.services)
        return service

    async def update(self, service_id: str, request: UpdateService) -> Service:
        service = await self._services.update(service_id, request)

        def has_it(copy: ClusterCopy) -> bool:
            known = copy.services.get(service_id)
            return known is None or known.index >= service.index

        await self._seen(has_it)
        return service

    async def remove(self, service_id: str, *, force: bool) -> None:
        await self._services.remove(service_id, force=force)
        await self._seen(lambda copy: service_id not in copy.services)

    async def _seen(self, holds: Callable[[ClusterCopy], bool]) -> None:
        """It is done, whether this node hears of it in time or not."""
        await self._agent.seen(holds, _SEEN)
