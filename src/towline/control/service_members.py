"""Sandboxes of this host that belong to services, when a service changes: its ports of mode host,
and the ingress network for those that all nodes publish, come and go. What failed is tried again after a while."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from towline.control.announcer import Announcer
from towline.control.balancer import Balancer
from towline.control.collaborators import NameService
from towline.control.endpoints import EndpointPlanner
from towline.control.global_joins import GlobalJoins
from towline.control.ports import Ports
from towline.control.sandbox_access import SandboxAccess
from towline.control.work import Work
from towline.control.writer import Writer
from towline.model.errors import TowlineError
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.membership import are_published, ingress_of, ports_of

log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds until a sandbox that could not follow is tried again; each pause is doubled."""


class ServiceMembers:
    """Event loop only."""

    def __init__(
        self,
        *,
        access: SandboxAccess,
        writer: Writer,
        planner: EndpointPlanner,
        joins: GlobalJoins,
        names: NameService,
        ports: Ports,
        announcer: Announcer,
        balancer: Balancer,
    ) -> None:
        self._access = access
        self._writer = writer
        self._planner = planner
        self._joins = joins
        self._names = names
        self._announcer = announcer
        self._ports = ports
        self._balancer = balancer
        self._following: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, service_id: str) -> None:
        """The service is another one now, or gone: its members here follow, in the background."""
        for sandbox in list(self._access.view.sandboxes()):
            if sandbox.service == service_id and sandbox.state == "running" and self._differs(sandbox):
                if (again := self._following.get(sandbox.id)) is not None:
                    again.set()
                    continue
                self._following[sandbox.id] = asyncio.Event()
                task = asyncio.get_running_loop().create_task(self._follow(sandbox.id))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _differs(self, sandbox: Sandbox) -> bool:
        view = self._access.view
        wanted = ingress_of(view, sandbox)
        if self._ingress_now(sandbox) != (wanted.id if wanted is not None else ""):
            return True
        published = [port for endpoint in view.endpoints_in(sandbox.id) for port in endpoint.published]
        return not are_published(ports_of(view, sandbox), published)

    def _ingress_now(self, sandbox: Sandbox) -> str:
        return next((network.id for network in self._access.networks_of(sandbox.id) if network.ingress), "")

    async def _follow(self, sandbox_id: str) -> None:
        again, pause, told = self._following[sandbox_id], FIRST_PAUSE, ""
        try:
            while True:
                again.clear()
                why = await self._try(sandbox_id)
                if not why and not again.is_set():
                    return
                if why and why != told:
                    fields = {"sandbox": sandbox_id, "error": why}
                    log.error("a sandbox does not follow a change of its service yet", extra={"fields": fields})
                told = why
                if why:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await again.wait()
                    pause = min(2 * pause, LAST_PAUSE)
        finally:
            del self._following[sandbox_id]

    async def _try(self, sandbox_id: str) -> str:
        """Why it does not follow, or ""."""
        if self._access.view.sandbox(sandbox_id) is None:
            return ""
        async with self._access.lock(sandbox_id):
            sandbox = self._access.view.sandbox(sandbox_id)
            if sandbox is None or sandbox.state != "running" or not self._differs(sandbox):
                return ""
            try:
                await self._change(sandbox)
            except TowlineError as error:
                return str(error) or type(error).__name__
            return ""

    async def _change(self, sandbox: Sandbox) -> None:
        wanted, before = ingress_of(self._access.view, sandbox), self._ingress_now(sandbox)
        if wanted is not None:
            await self._joins.prepare(wanted)

        def plan(view: View) -> Work:
            work = self._planner.change(view, sandbox, sandbox)

            def settle() -> None:
                self._ports.keep(sandbox.id, ports_of(self._access.view, sandbox))
                self._access.count(work.transitions)
                self._announcer.repeat(work.transitions)
                for network_id in {before, wanted.id if wanted is not None else ""} - {""}:
                    self._access.network_changed(network_id)

            work.settle = settle
            return work

        await self._joins.attempt(lambda: self._writer.submit(plan))
        await self._names.open(sandbox)
        await self._balancer.settle(sandbox.id)
