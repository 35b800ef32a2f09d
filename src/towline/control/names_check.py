"""Whether every running sandbox is served its names: what `doctor` reports and mends, and an endpoint's path tells.

The table that leads port 53 to the name server lies in the sandbox's namespace, where the sandbox's root may flush it.
"""

from __future__ import annotations

import logging

from towline.control.collaborators import NameServers, NameService
from towline.control.sandbox_access import SandboxAccess
from towline.dns.config import RESOLVER
from towline.model.errors import TowlineError
from towline.model.info import Finding
from towline.model.sandbox import Sandbox

log = logging.getLogger(__name__)


class NamesCheck:
    def __init__(self, access: SandboxAccess, servers: NameServers, names: NameService) -> None:
        self._access = access
        self._servers = servers
        self._names = names

    async def problem(self, sandbox: Sandbox) -> str:
        """ "" if it is served, or is not to be: it does not run, or is on no network with names. KernelError."""
        if sandbox.state != "running" or not sandbox.netns or not self._has_names(sandbox):
            return ""
        if sandbox.id not in self._servers.opened():
            return "nobody serves its names"
        if not await self._servers.intact(sandbox.id):
            return f"port 53 of {RESOLVER} does not lead to its name server any more"
        return ""

    async def findings(self) -> list[Finding]:
        found = [(sandbox, await self.problem(sandbox)) for sandbox in list(self._access.view.sandboxes())]
        return [_finding(sandbox, problem) for sandbox, problem in found if problem]

    async def repair(self) -> list[Finding]:
        """Serve again; what that cannot mend is logged. Answers what was found."""
        found = [await self._mend(sandbox.id) for sandbox in list(self._access.view.sandboxes())]
        return [finding for finding in found if finding is not None]

    async def _mend(self, sandbox_id: str) -> Finding | None:
        async with self._access.lock(sandbox_id):
            sandbox = self._access.view.sandbox(sandbox_id)
            problem = await self.problem(sandbox) if sandbox else ""
            if sandbox is None or not problem:
                return None
            try:
                await self._servers.close(sandbox_id, gone=True)
                await self._names.open(sandbox)
            except TowlineError as error:
                log.error("repair failed", extra={"fields": {"sandbox": sandbox.name, "error": str(error)}})
        return _finding(sandbox, problem)

    def _has_names(self, sandbox: Sandbox) -> bool:
        return any(endpoint.dns_names for endpoint in self._access.view.endpoints_in(sandbox.id))


def _finding(sandbox: Sandbox, problem: str) -> Finding:
    return Finding(f"sandbox {sandbox.name}", problem, "serve them again")
