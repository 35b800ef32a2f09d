"""Sandboxes: their records, their life, and what they are joined to.

Every change is a work for the writer; what surrounds it (the process, the resolver, the files for /etc) is done here on
the event loop, under one lock per sandbox, and taken back if a later step fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from towline.control.announcer import Announcer
from towline.control.balancer import Balancer
from towline.control.collaborators import NameService, Runtime, Watched
from towline.control.endpoints import EndpointPlanner
from towline.control.global_joins import GlobalJoins
from towline.control.membership import Membership
from towline.control.ports import Ports
from towline.control.restarts import Restarts
from towline.control.sandbox_access import SandboxAccess
from towline.control.sandbox_records import attached_path, launch_of, networking_failed, new_record, unseen_end
from towline.control.work import Work
from towline.control.writer import Writer
from towline.ipam.errors import BlockNeeded
from towline.kernel.contract import Kernel
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, Failure, InvalidParameter, NotFound, TowlineError
from towline.model.network import Network
from towline.model.requests import Created, CreateSandbox, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.model.view import View
from towline.plan.membership import ingress_of
from towline.policy.endpoint import HOST
from towline.policy.resolve import for_connect
from towline.policy.sandbox import Admitted, admit_sandbox
from towline.runtime.logread import Entry, follow_log, read_log
from towline.runtime.lookup import Exit
from towline.runtime.supervise import CommandNotStarted
from towline.store.contract import Change, Delete, Put

log = logging.getLogger(__name__)


class Sandboxes:
    def __init__(
        self,
        *,
        access: SandboxAccess,
        membership: Membership,
        writer: Writer,
        kernel: Kernel,
        planner: EndpointPlanner,
        joins: GlobalJoins,
        ports: Ports,
        runtime: Runtime,
        names: NameService,
        announcer: Announcer,
        balancer: Balancer,
        namespaces: str,
    ) -> None:
        self._access = access
        self._membership = membership
        self._view = access.view
        self._writer = writer
        self._kernel = kernel
        self._planner = planner
        self._joins = joins
        self._ports = ports
        self._runtime = runtime
        self._names = names
        self._announcer = announcer
        self._balancer = balancer
        self._namespaces = namespaces
        self._restarts = Restarts(self._start_again)
        self._watched: dict[str, Watched] = {}
        self._ends: set[asyncio.Task[None]] = set()

    # records

    async def create(self, request: CreateSandbox) -> Created:
        source, sandbox_id = attached_path(request), secrets.token_hex(32)
        async with self._access.lock(sandbox_id):
            taken = await self._look_at(request, sandbox_id, source) if source else ()
            await self._create(request, sandbox_id, source, taken)
        return Created(sandbox_id)

    async def _create(self, request: CreateSandbox, sandbox_id: str, source: str, taken: Collection[str]) -> None:
        """source: the namespace to join, "" for one of our own, later. That of a process is pinned here: its path would
        be somebody else's once the number is given out again."""
        adopted = request.process is not None
        netns = self._pin(sandbox_id) if adopted else source

        def plan(view: View) -> Work:
            self._require_parts(request, view)
            admitted = admit_sandbox(request, view)
            sandbox = new_record(admitted.request, sandbox_id, netns, admitted.service.id if admitted.service else "")
            made = self._first_endpoints(sandbox, admitted)
            try:
                work = self._planner.change(view, None, sandbox, [Put(e) for e, _ in made], taken=taken)
            except BaseException:
                self._undo_create(sandbox, made)
                raise
            work.adopts = ((netns, source),) if adopted else ()
            work.when_abandoned(lambda: self._undo_create(sandbox, made))
            work.settle = lambda: self._joined(sandbox, work) if source else None
            return work

        await self._joins.attempt(lambda: self._writer.submit(plan))
        if source:
            await self._begin_attached(self._access.known(sandbox_id))

    def _require_parts(self, request: CreateSandbox, view: View) -> None:
        for term in request.networks:
            with suppress(NotFound, InvalidParameter):
                self._joins.require_part(for_connect(view, term))

    def _pin(self, sandbox_id: str) -> str:
        return f"{self._namespaces}/{sandbox_id[:12]}"

    async def _look_at(self, request: CreateSandbox, sandbox_id: str, attached: str) -> tuple[str, ...]:
        """Names of the interfaces in the namespace to be joined. What is wrong with the request is said first."""
        found: list[Admitted] = []

        async def admit() -> None:
            self._require_parts(request, self._view)
            found.append(admit_sandbox(request, self._view))

        await self._joins.attempt(admit)
        (admitted,) = found
        if request.process is not None:
            watched = self._runtime.attach(sandbox_id, request.process, foreign=True)
            if isinstance(watched, Exit):
                raise NotFound(f"process {request.process.pid} has ended, or another one has its number now")
            watched.close()
        await self._writer.exclusive(lambda: self._check_free(attached))
        for network, _ in admitted.networks:
            await self._joins.prepare(network)
        if admitted.service is not None and (ingress := self._view.network(admitted.service.ingress)) is not None:
            await self._joins.prepare(ingress)
        return await self._membership.interfaces_in(attached)

    def _check_free(self, path: str) -> None:
        """One namespace, one sandbox: two would fight over its default route and its names."""
        wanted = self._kernel.sandboxes.identity(path)
        for other in list(self._view.sandboxes()):
            if other.state == "running" and other.netns and self._identity_or_none(other.netns) == wanted:
                raise Conflict(
                    f"{path} is the namespace of sandbox {other.name} already:"
                    f" use `towline network connect NETWORK {other.name}` to join it to more networks"
                )

    def _identity_or_none(self, path: str) -> tuple[int, int] | None:
        try:
            return self._kernel.sandboxes.identity(path)
        except TowlineError:
            return None

    async def _begin_attached(self, sandbox: Sandbox) -> None:
        """Names cannot be served: then nothing is left of it."""
        try:
            await self.begin(sandbox)
        except BaseException:
            await self.forget(await self.leave(sandbox, code=0, finished=time.time_ns()))
            raise
        self.follow(sandbox)

    def _first_endpoints(self, sandbox: Sandbox, admitted: Admitted) -> list[tuple[Endpoint, Network]]:
        made: list[tuple[Endpoint, Network]] = []
        try:
            for network, config in admitted.networks:
                made.append((self._planner.make(sandbox, network, config), network))
        except BaseException:
            self._undo_create(sandbox, made)
            raise
        return made

    def _undo_create(self, sandbox: Sandbox, made: list[tuple[Endpoint, Network]]) -> None:
        for endpoint, network in made:
            self._planner.give_back(endpoint, network)

    async def remove(self, term: str, *, force: bool) -> None:
        async with self._access.locked(term) as sandbox:
            self._restarts.cancel(sandbox.id)
            if sandbox.state == "running":
                if not force:
                    raise Conflict(
                        f'cannot remove container "{sandbox.name}": container is running:'
                        " stop the container before removing or force remove"
                    )
                sandbox = await self._stop(sandbox, 0.0)
            await self.forget(sandbox)

    async def forget(self, sandbox: Sandbox) -> None:
        def plan(view: View) -> Work:
            endpoints = view.endpoints_in(sandbox.id)
            gone = [(e, view.network(e.network)) for e in endpoints]
            changes: list[Change] = [*(Delete(Endpoint, e.id) for e in endpoints), Delete(Sandbox, sandbox.id)]

            def settle() -> None:
                for endpoint, network in gone:
                    self._planner.give_back(endpoint, network)

            work = self._planner.change(view, sandbox, None, changes)
            work.settle = settle
            return work

        await self._writer.submit(plan)
        self._names.forget(sandbox.id)
        self._runtime.forget(sandbox.id)
        self._access.forget(sandbox.id)

    # life

    async def start(self, term: str, *, process: Process | None) -> StartedSandbox:
        """By the user: the restart policy begins anew."""
        async with self._access.locked(term) as sandbox:
            self._restarts.cancel(sandbox.id)
            return await self._start(replace(sandbox, restarts=0), process)

    async def _start(self, sandbox: Sandbox, process: Process | None) -> StartedSandbox:
        if sandbox.state == "running":
            raise Conflict(f"container {sandbox.name} is already running")
        if sandbox.origin == "attach":
            raise Conflict(f"sandbox {sandbox.name} was attached: attach it again to join it")
        started = await self._enter(sandbox, process)
        try:
            files = await self.begin(started)
            if process is None:
                await self._launch(started, files)
        except BaseException as error:
            code = error.exit_code if isinstance(error, CommandNotStarted) else 0
            await self.leave(started, code=code, finished=time.time_ns())
            raise
        if process is not None:
            self.follow(started)
        return files

    async def _enter(self, sandbox: Sandbox, process: Process | None) -> Sandbox:
        """Its namespace, its endpoints, its ports."""
        started = replace(
            sandbox,
            state="running",
            netns="" if self._on_host(sandbox) else self._pin(sandbox.id),
            process=process,
            started=time.time_ns(),
            finished=0,
            exit_code=0,
            stopped=False,
        )

        def plan(view: View) -> Work:
            try:
                work = self._planner.change(view, sandbox, started)
            except BlockNeeded:
                raise
            except Failure as error:
                raise networking_failed(sandbox, view, error) from error
            work.pins = (started.netns,) if started.netns else ()
            work.settle = lambda: self._joined(started, work)
            return work

        for network in self._access.networks_of(sandbox.id):
            await self._joins.prepare(network)
        if (ingress := ingress_of(self._view, started)) is not None:
            await self._joins.prepare(ingress)
        await self._joins.attempt(lambda: self._writer.submit(plan))
        return started

    def _on_host(self, sandbox: Sandbox) -> bool:
        """Then it has no namespace of its own: its process lives in the daemon's."""
        return any(network.driver == HOST for network in self._access.networks_of(sandbox.id))

    def _joined(self, sandbox: Sandbox, work: Work) -> None:
        self._access.count(work.transitions)
        self._access.announce_all("connect", sandbox)
        self._announcer.repeat(work.transitions)

    async def begin(self, sandbox: Sandbox) -> StartedSandbox:
        """Names, inside and for the others."""
        files = await self._names.open(sandbox)
        await self._balancer.settle(sandbox.id)
        self._access.names_changed(sandbox.id)
        return replace(files, netns=sandbox.netns or f"/proc/{os.getpid()}/ns/net")

    async def _launch(self, sandbox: Sandbox, files: StartedSandbox) -> None:
        prepared = await self._runtime.prepare(launch_of(sandbox, files, self._runtime))
        try:
            await self._put(replace(sandbox, process=prepared.process))
        except BaseException:
            await prepared.abandon()
            raise
        self.watch(sandbox.id, await prepared.go())

    async def _put(self, sandbox: Sandbox) -> None:
        await self._writer.submit(lambda view: Work(changes=[Put(sandbox)]))

    async def stop(self, term: str, *, grace: float) -> bool:
        async with self._access.locked(term) as sandbox:
            pending = self._restarts.cancel(sandbox.id)
            if sandbox.state == "running":
                await self._stop(sandbox, grace)
                return True
            if pending:
                await self._put(replace(sandbox, stopped=True))
            return pending

    async def _stop(self, sandbox: Sandbox, grace: float) -> Sandbox:
        """The lock is held, so whoever awaits the process's end finds nothing left to do."""
        ended = Exit(code=0, finished=time.time_ns())
        watched = self._watched.get(sandbox.id)
        if watched is not None and sandbox.origin == "run":
            ended = await watched.stop(grace)
        return await self.leave(replace(sandbox, stopped=True), code=ended.code, finished=ended.finished)

    async def leave(self, sandbox: Sandbox, *, code: int, finished: int) -> Sandbox:
        """Out of its networks; its endpoints' identity stays reserved."""
        await self._names.close(sandbox.id, gone=sandbox.origin == "run")
        await self._balancer.leave(sandbox)
        ended = replace(sandbox, state="exited", netns="", process=None, finished=finished, exit_code=code)

        held = self._access.networks_of(sandbox.id)

        def plan(view: View) -> Work:
            current = view.sandbox(sandbox.id) or sandbox
            work = self._planner.change(view, current, ended)
            work.unpins = (current.netns,) if current.netns == self._pin(sandbox.id) else ()
            work.settle = lambda: self._after_leave(ended, work, held)
            return work

        await self._writer.submit(plan)
        return ended

    def _after_leave(self, sandbox: Sandbox, work: Work, held: Collection[Network]) -> None:
        """held: networks that it was on; one of them may be gone with its endpoint."""
        self._access.count(work.transitions)
        self._ports.release(sandbox.id)
        for network in held:
            self._access.announce("disconnect", sandbox, network)
        self._access.names_changed(sandbox.id)
        for network in held:
            if network.ingress:
                self._access.network_changed(network.id)

    def follow(self, sandbox: Sandbox) -> None:
        """Watch the process that its record names; one that is gone already ends the sandbox at once."""
        if sandbox.process is None:
            return
        found = self.attach(sandbox, sandbox.process)
        if isinstance(found, Exit):
            self._later(self.ended(sandbox.id, found, sandbox.process))
        else:
            self.watch(sandbox.id, found)

    def attach(self, sandbox: Sandbox, process: Process) -> Watched | Exit:
        return self._runtime.attach(sandbox.id, process, foreign=sandbox.origin == "attach")

    def watch(self, sandbox_id: str, watched: Watched) -> None:
        self._watched[sandbox_id] = watched
        self._later(self._await_end(sandbox_id, watched))

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _await_end(self, sandbox_id: str, watched: Watched) -> None:
        ended = await watched.ended()
        if self._watched.get(sandbox_id) is watched:
            del self._watched[sandbox_id]
        await self.ended(sandbox_id, ended, watched.process)

    async def ended(self, sandbox_id: str, ended: Exit, process: Process | None, *, restart: bool = True) -> None:
        """The process is gone: leave the networks. Another one may live in the sandbox by the time the lock is had."""
        async with self._access.lock(sandbox_id):
            sandbox = self._view.sandbox(sandbox_id)
            if sandbox is None or sandbox.state != "running" or sandbox.process != process:
                return
            try:
                left = await self.leave(sandbox, code=ended.code, finished=ended.finished)
                if left.auto_remove:
                    await self.forget(left)
            except TowlineError as error:
                fields = {"sandbox": sandbox.name, "error": str(error)}
                log.error("the end of a sandbox could not be recorded", extra={"fields": fields})
                return
            if restart and not left.auto_remove:
                self._restarts.after_exit(left, ended)

    def namespace_lost(self, sandbox_id: str) -> None:
        """Its namespace is gone, as the kernel tells: end it. Any thread may find out, the loop's calls this."""
        sandbox = self._view.sandbox(sandbox_id)
        if sandbox is not None and sandbox.origin == "attach":
            self._later(self.ended(sandbox_id, unseen_end(), sandbox.process))

    def restart_by_policy(self, sandbox: Sandbox) -> None:
        """At the start of the daemon."""
        self._restarts.at_daemon_start(sandbox)

    async def _start_again(self, sandbox_id: str) -> None:
        """By its restart policy."""
        async with self._access.lock(sandbox_id):
            sandbox = self._view.sandbox(sandbox_id)
            if sandbox is None or sandbox.state == "running" or sandbox.stopped:
                return
            try:
                await self._start(replace(sandbox, restarts=sandbox.restarts + 1), None)
            except TowlineError as error:
                fields = {"sandbox": sandbox.name, "error": str(error)}
                log.error("a sandbox could not be started again", extra={"fields": fields})

    async def logs(self, sandbox_id: str, *, tail: int | None, since: str, follow: bool) -> AsyncIterator[Entry]:
        path = self._runtime.log(sandbox_id)
        watched = self._watched.get(sandbox_id)
        if follow and watched is not None:
            async for entry in follow_log(path, watched.exit, tail=tail, since=since):
                yield entry
        else:
            for entry in read_log(path, tail=tail, since=since):
                yield entry

    async def close(self) -> None:
        """Stop following; the processes live on."""
        self._restarts.close()
        self._announcer.close()
        for watched in list(self._watched.values()):
            watched.close()
        for task in list(self._ends):
            task.cancel()
