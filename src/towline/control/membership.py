"""Connecting sandboxes to networks and disconnecting them (docker-api facts 1.5 and 1.6)."""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection

from towline.control.announcer import Announcer
from towline.control.collaborators import NameService
from towline.control.endpoints import EndpointPlanner
from towline.control.global_joins import GlobalJoins
from towline.control.sandbox_access import SandboxAccess
from towline.control.work import Work
from towline.control.writer import Writer
from towline.kernel.contract import Kernel
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.errors import KernelError, NotFound, TowlineError
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.policy.endpoint import check_connect, check_disconnect
from towline.policy.resolve import for_connect
from towline.policy.sandbox import find_sandbox
from towline.store.contract import Delete, Put

log = logging.getLogger(__name__)


class Membership:
    def __init__(
        self,
        *,
        access: SandboxAccess,
        writer: Writer,
        kernel: Kernel,
        planner: EndpointPlanner,
        joins: GlobalJoins,
        names: NameService,
        announcer: Announcer,
    ) -> None:
        self._access = access
        self._writer = writer
        self._kernel = kernel
        self._planner = planner
        self._joins = joins
        self._names = names
        self._announcer = announcer

    async def connect(self, network_term: str, term: str, config: EndpointConfig) -> None:
        async with self._access.locked(term) as sandbox:
            foreign = sandbox.origin == "attach" and sandbox.netns
            taken = await self.interfaces_in(sandbox.netns) if foreign else ()
            if sandbox.state == "running":
                await self._joins.prepare(for_connect(self._access.view, network_term))
            try:
                await self._connect(network_term, sandbox, config, taken)
            except KernelError as error:
                if error.errno != errno.EEXIST or foreign or not sandbox.netns:
                    raise
                # A namespace of ours holds what we put there, unless its command made interfaces too.
                await self._connect(network_term, sandbox, config, await self.interfaces_in(sandbox.netns))
            await self._refresh(sandbox)

    async def _connect(
        self, network_term: str, sandbox: Sandbox, config: EndpointConfig, taken: Collection[str]
    ) -> None:
        def plan(view: View) -> Work:
            network = for_connect(view, network_term)
            self._joins.require_part(network)
            check_connect(view, sandbox, network, config)
            endpoint = self._planner.make(sandbox, network, config)
            try:
                work = self._planner.change(view, sandbox, sandbox, [Put(endpoint)], taken=taken)
            except BaseException:
                self._planner.give_back(endpoint, network)
                raise
            work.when_abandoned(lambda: self._planner.give_back(endpoint, network))

            def settle() -> None:
                self._access.count(work.transitions)
                self._after_change("connect", sandbox, network)
                self._announcer.repeat(work.transitions)

            work.settle = settle
            return work

        await self._joins.attempt(lambda: self._writer.submit(plan))

    async def disconnect(self, network_term: str, term: str, *, force: bool) -> None:
        """force: Docker then looks for an endpoint of that name; ours all belong to a sandbox, so there is none."""
        if force and term and self._absent(term):
            raise NotFound(f"endpoint {term} not found")
        async with self._access.locked(term) as sandbox:

            def plan(view: View) -> Work:
                network = for_connect(view, network_term)
                endpoint = check_disconnect(view, sandbox, network)
                work = self._planner.change(view, sandbox, sandbox, [Delete(Endpoint, endpoint.id)])
                work.final = True

                def settle() -> None:
                    self._planner.give_back(endpoint, network)
                    self._access.count(work.transitions)
                    self._after_change("disconnect", sandbox, network)

                work.settle = settle
                return work

            await self._writer.submit(plan)
            await self._refresh(sandbox)

    async def _refresh(self, sandbox: Sandbox) -> None:
        """Its files and its resolver after a change of its networks, which has happened whatever goes wrong here."""
        if sandbox.state != "running":
            return
        try:
            await self._names.open(sandbox)
        except (TowlineError, OSError) as error:
            fields = {"sandbox": sandbox.name, "error": str(error)}
            log.error(
                "names in a sandbox are not up to date; `towline doctor --fix` tries again", extra={"fields": fields}
            )

    def _after_change(self, action: str, sandbox: Sandbox, network: Network) -> None:
        if sandbox.state == "running":
            self._access.announce(action, sandbox, network)
        self._access.network_changed(network.id)

    async def interfaces_in(self, path: str) -> tuple[str, ...]:
        """Names of the interfaces in a namespace, ours included; NamespaceGone, NotANamespace."""
        inside = await self._writer.exclusive(lambda: self._kernel.sandboxes.look(path))
        return tuple(link.name for link in inside.links)

    def _absent(self, term: str) -> bool:
        try:
            find_sandbox(self._access.view, term)
        except NotFound:
            return True
        return False
