"""This node's part of the routing mesh: a sandbox without a process on the network `ingress`, which takes in what comes
for ports that services publish on every node. It is there while there are such ports, and clients do not see it.

What it is follows from the store (`plan.mesh`); this brings it about, again after a while where that failed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from towline.control.announcer import Announcer
from towline.control.endpoints import EndpointPlanner
from towline.control.global_joins import GlobalJoins
from towline.control.ports import Families, Ports
from towline.control.sandbox_access import SandboxAccess
from towline.control.work import Work
from towline.control.writer import Writer
from towline.drivers.overlay import GATEWAY_NETWORK
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, TowlineError, Unavailable
from towline.model.info import Finding
from towline.model.network import Network
from towline.model.sandbox import MESH, PortBinding, Sandbox
from towline.model.view import View
from towline.plan.mesh import INSIDE, OUTSIDE, ingress_network, mesh_config, published_ports
from towline.store.contract import Change, Delete, Put

log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds until what failed is tried again; each pause is doubled."""


class Mesh:
    """Calls on the event loop. namespaces: the directory in which ours are pinned."""

    def __init__(
        self,
        *,
        access: SandboxAccess,
        writer: Writer,
        planner: EndpointPlanner,
        joins: GlobalJoins,
        ports: Ports,
        announcer: Announcer,
        namespaces: str,
    ) -> None:
        self._access = access
        self._view = access.view
        self._writer = writer
        self._planner = planner
        self._joins = joins
        self._ports = ports
        self._announcer = announcer
        self._netns = f"{namespaces}/{MESH}"
        self._refused: dict[PortBinding, str] = {}
        self._broken = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="mesh")
        self._wake.set()

    async def close(self) -> None:
        """Published ports go on."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def changed(self) -> None:
        """Services, or the network `ingress`, came, changed or went; or its namespace is gone."""
        self._wake.set()

    def lost(self) -> None:
        """Its namespace is gone, as the kernel tells."""
        self._broken = True
        self._wake.set()

    def port_released(self) -> None:
        """One that it could not have may be free now."""
        if self._refused:
            self._wake.set()

    def findings(self) -> list[Finding]:
        """Ports that are not published on this node, and why."""
        repair = "free that port on this node; it is published as soon as it can be"
        return [
            Finding("routing mesh", f"port {binding.host_port}/{binding.protocol} is not published here: {why}", repair)
            for binding, why in self._refused.items()
        ]

    async def remove(self) -> None:
        """At once: the network `ingress` is gone."""
        async with self._access.lock(MESH):
            await self._remove()

    async def _follow(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                async with self._access.lock(MESH):
                    await self._converge()
                pause = FIRST_PAUSE
            except Exception as error:  # whatever it was, it is tried again
                trace = None if isinstance(error, TowlineError) else error
                fields = {"error": str(error)}
                log.error("the routing mesh is not as it should be", extra={"fields": fields}, exc_info=trace)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                pause = min(2 * pause, LAST_PAUSE)
                self._wake.set()

    async def _converge(self) -> None:
        wanted, network, sandbox = published_ports(self._view), ingress_network(self._view), self._view.sandbox(MESH)
        if not wanted or network is None:
            self._refused.clear()
            await self._remove()
            return
        broken, self._broken = self._broken, False
        if sandbox is not None and (broken or not self._is_whole(sandbox, network)):
            await self._remove()
            sandbox = None
        if sandbox is None:
            await self._joins.prepare(network)
        gateway = self._view.network_named(GATEWAY_NETWORK)
        if gateway is None:
            raise Unavailable(f"no ports can be published on this node: network {GATEWAY_NETWORK} cannot be made")
        held = self._hold(wanted, Families(ipv4=gateway.enable_ipv4, ipv6=gateway.enable_ipv6))
        if sandbox is None:
            await self._make(network, gateway, held)
        elif sandbox.ports != held:
            await self._publish(sandbox, held)
        self._ports.keep(MESH, held)

    def _is_whole(self, sandbox: Sandbox, network: Network) -> bool:
        on = {endpoint.network for endpoint in self._view.endpoints_in(MESH) if endpoint.ifname}
        return sandbox.state == "running" and network.id in on and len(on) == 2

    def _hold(self, wanted: Sequence[PortBinding], families: Families) -> tuple[PortBinding, ...]:
        """Those that this node has free: one that somebody else has keeps no other from being published."""
        refused, held = {}, []
        for binding in wanted:
            try:
                self._ports.extend(MESH, [binding], families)
                held.append(binding)
            except Failure as error:
                refused[binding] = str(error)
                if binding not in self._refused:
                    fields = {"port": f"{binding.host_port}/{binding.protocol}", "error": str(error)}
                    log.error("a port of a service is not published on this node", extra={"fields": fields})
        self._refused = refused
        return tuple(held)

    async def _make(self, network: Network, gateway: Network, held: tuple[PortBinding, ...]) -> None:
        now = time.time_ns()
        sandbox = Sandbox(
            id=MESH,
            name=MESH,
            created=now,
            origin="mesh",
            state="running",
            netns=self._netns,
            started=now,
            ports=held,
        )

        def plan(view: View) -> Work:
            made = self._endpoints(sandbox, network, gateway)
            try:
                work = self._planner.change(view, None, sandbox, [Put(endpoint) for endpoint, _ in made])
            except BaseException:
                self._give_back(made)
                raise
            work.pins = (self._netns,)
            work.when_abandoned(lambda: self._give_back(made))
            work.settle = lambda: self._announcer.repeat(work.transitions)
            return work

        await self._joins.attempt(lambda: self._writer.submit(plan))
        self._access.names_changed(MESH)

    def _endpoints(self, sandbox: Sandbox, network: Network, gateway: Network) -> list[tuple[Endpoint, Network]]:
        made: list[tuple[Endpoint, Network]] = []
        try:
            for each, name in ((network, INSIDE), (gateway, OUTSIDE)):
                endpoint = self._planner.make(sandbox, each, mesh_config(each))
                made.append((replace(endpoint, name=name, dns_names=()), each))
        except BaseException:
            self._give_back(made)
            raise
        return made

    def _give_back(self, made: Sequence[tuple[Endpoint, Network | None]]) -> None:
        for endpoint, network in made:
            self._planner.give_back(endpoint, network)

    async def _publish(self, sandbox: Sandbox, held: tuple[PortBinding, ...]) -> None:
        await self._writer.submit(lambda view: self._planner.change(view, sandbox, replace(sandbox, ports=held)))

    async def _remove(self) -> None:
        sandbox = self._view.sandbox(MESH)
        if sandbox is None:
            self._ports.release(MESH)  # held for one that could not be made
            return
        networks = [endpoint.network for endpoint in self._view.endpoints_in(MESH)]

        def plan(view: View) -> Work:
            gone = [(endpoint, view.network(endpoint.network)) for endpoint in view.endpoints_in(MESH)]
            changes: list[Change] = [*(Delete(Endpoint, endpoint.id) for endpoint, _ in gone), Delete(Sandbox, MESH)]
            work = self._planner.change(view, sandbox, None, changes)
            work.unpins = (self._netns,)
            work.settle = lambda: self._give_back(gone)
            return work

        await self._writer.submit(plan)
        self._ports.release(MESH)
        for network_id in networks:
            self._access.network_changed(network_id)
