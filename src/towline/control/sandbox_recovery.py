"""Sandboxes after a start of the daemon: what lives is followed, what does not has ended, policies start again."""

from __future__ import annotations

import logging

from towline.control.collaborators import Runtime, Watched
from towline.control.ports import Ports
from towline.control.sandbox_records import unseen_end
from towline.control.sandboxes import Sandboxes
from towline.control.writer import Writer
from towline.kernel.contract import Kernel
from towline.model.endpoint import Published
from towline.model.errors import TowlineError
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.membership import ports_of
from towline.runtime.lookup import Exit

log = logging.getLogger(__name__)


class Recovery:
    """`end_dead` comes before the first comparison with the kernel: nothing is plugged into the namespace of a process
    that only has the number of one of ours. `resume` comes after it."""

    def __init__(
        self, sandboxes: Sandboxes, view: View, *, writer: Writer, kernel: Kernel, ports: Ports, runtime: Runtime
    ) -> None:
        self._sandboxes = sandboxes
        self._view = view
        self._writer = writer
        self._kernel = kernel
        self._ports = ports
        self._runtime = runtime
        self._alive: dict[str, Watched | None] = {}

    async def end_dead(self) -> None:
        for sandbox in list(self._view.sandboxes()):
            if sandbox.state == "running":
                found = await self._find(sandbox)
                if isinstance(found, Exit):
                    await self._sandboxes.ended(sandbox.id, found, sandbox.process, restart=False)
                else:
                    self._alive[sandbox.id] = found

    async def resume(self, *, sweep: bool) -> None:
        """One that cannot be resumed does not keep the others, or the daemon, from it. sweep: remove files of sandboxes
        that the store does not know."""
        for sandbox in list(self._view.sandboxes()):
            if sandbox.state == "running":
                await self._resume(sandbox)
            elif sandbox.state == "exited" and sandbox.auto_remove:
                await self._sandboxes.forget(sandbox)
            else:
                self._sandboxes.restart_by_policy(sandbox)
        for sandbox_id in self._runtime.remembered() if sweep else ():
            if self._view.sandbox(sandbox_id) is None:
                self._runtime.forget(sandbox_id)

    async def _find(self, sandbox: Sandbox) -> Watched | Exit | None:
        """Its living process; None for one without a process whose namespace is there; else how it ended."""
        if sandbox.process is not None:
            return self._sandboxes.attach(sandbox, sandbox.process)
        if sandbox.origin == "run":
            return unseen_end()
        try:
            await self._writer.exclusive(lambda: self._kernel.sandboxes.identity(sandbox.netns))
        except TowlineError:
            return unseen_end()
        return None

    async def _resume(self, sandbox: Sandbox) -> None:
        for error in self._ports.restore(sandbox.id, ports_of(self._view, sandbox), self._published(sandbox)):
            log.error("a published port is taken", extra={"fields": {"sandbox": sandbox.name, "error": str(error)}})
        if sandbox.origin == "mesh":
            return
        try:
            await self._sandboxes.begin(sandbox)
        except TowlineError as error:
            fields = {"sandbox": sandbox.name, "error": str(error)}
            log.error("names are not served in a sandbox", extra={"fields": fields})
        watched = self._alive.pop(sandbox.id, None)
        if watched is not None:
            self._sandboxes.watch(sandbox.id, watched)

    def _published(self, sandbox: Sandbox) -> list[Published]:
        return [p for endpoint in self._view.endpoints_in(sandbox.id) for p in endpoint.published if p.host_port]
