"""Sandboxes of the fake engine: records, addresses and ports by the real rules; no namespace, no process, no socket."""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from msgspec.structs import replace

from towline.control.collaborators import Seat
from towline.control.endpoints import EndpointPlanner
from towline.control.global_joins import GlobalJoins
from towline.control.parts import Parts
from towline.control.ports import Ports
from towline.control.sandbox_records import attached_path, new_record
from towline.drivers.endpoint import interface_sysctls
from towline.drivers.registry import Drivers
from towline.ipam.registry import IpamDrivers
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.errors import Conflict, Failure, KernelError
from towline.model.network import Network
from towline.model.requests import Created, CreateSandbox, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.policy.endpoint import check_connect, check_disconnect
from towline.policy.resolve import for_connect
from towline.policy.sandbox import admit_sandbox, find_sandbox
from towline.store.contract import Change, Delete, Put
from towline.store.memory import MemoryStore

HOST_ADDRESSES = frozenset({"0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.1"})
SYSCTLS = frozenset({"forwarding", "log_martians", "mtu"})
NETNS = "/run/towline/netns"

Announce = Callable[[str, Sandbox, Network], None]


class FakeEntry(NamedTuple):
    time: str
    stream: str
    text: bytes


class FakePortSockets:
    """A host with `HOST_ADDRESSES` and four free ephemeral ports at the lower end of Linux' range."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str, int]] = set()

    def hold(self, protocol: str, host_ip: str, port: int) -> None:
        if host_ip not in HOST_ADDRESSES:
            raise KernelError(errno.EADDRNOTAVAIL, "bind")
        if self.holds(protocol, host_ip, port):
            raise KernelError(errno.EADDRINUSE, "bind")
        self._held.add((protocol, host_ip, port))

    def release(self, protocol: str, host_ip: str, port: int) -> None:
        self._held.discard((protocol, host_ip, port))

    def holds(self, protocol: str, host_ip: str, port: int) -> bool:
        return (protocol, host_ip, port) in self._held

    def ephemeral_range(self) -> tuple[int, int]:
        return 32768, 32771

    def reserved(self) -> frozenset[int]:
        return frozenset()


async def _no_gateway() -> None:
    return


class NoParts(Parts):
    """This host makes no parts of networks of the cluster."""

    def __init__(self) -> None: ...
    def needed(self, network: Network) -> bool:
        return False


class FakeSandboxes:
    """written: what the commands of sandboxes wrote, by id."""

    def __init__(self, store: MemoryStore, drivers: Drivers, ipams: IpamDrivers, announce: Announce) -> None:
        self.written: dict[str, list[FakeEntry]] = {}
        self._store = store
        self._view = store.view()
        self._ports = Ports(FakePortSockets())
        self._planner = EndpointPlanner(
            drivers, ipams, self._ports, GlobalJoins(self._view, ipams, Seat(), _no_gateway, NoParts())
        )
        self._announce = announce

    def all(self) -> list[Sandbox]:
        return list(self._view.sandboxes())

    def create(self, request: CreateSandbox) -> Created:
        admitted = admit_sandbox(request, self._view)
        sandbox = new_record(admitted.request, secrets.token_hex(32), attached_path(admitted.request))
        made: list[tuple[Endpoint, Network]] = []
        try:
            for network, config in admitted.networks:
                made.append((self._planner.make(sandbox, network, config), network))
            self._change(None, sandbox, [Put(endpoint) for endpoint, _ in made])
        except Exception:
            for endpoint, network in made:
                self._planner.give_back(endpoint, network)
            raise
        if sandbox.state == "running":
            self._announce_all("connect", sandbox)
        return Created(sandbox.id)

    def start(self, term: str, process: Process | None) -> StartedSandbox:
        sandbox = find_sandbox(self._view, term)
        if sandbox.state == "running":
            raise Conflict(f"container {sandbox.name} is already running")
        netns = f"{NETNS}/{sandbox.id[:12]}"
        started = replace(sandbox, state="running", netns=netns, process=process, started=time.time_ns())
        try:
            self._change(sandbox, started)
        except Failure as error:
            endpoint = self._view.endpoints_in(sandbox.id)[0]
            what = "failed to set up container networking: driver failed programming external connectivity on endpoint"
            raise Failure(f"{what} {sandbox.name} ({endpoint.id}): {error}") from None
        self._announce_all("connect", started)
        files = f"/run/towline/sandboxes/{sandbox.id}"
        return StartedSandbox(sandbox.id, netns, f"{files}/hosts", f"{files}/resolv.conf", f"{files}/hostname")

    def stop(self, term: str) -> bool:
        sandbox = find_sandbox(self._view, term)
        if sandbox.state != "running":
            return False
        ended = replace(sandbox, state="exited", netns="", process=None, finished=time.time_ns(), stopped=True)
        self._change(sandbox, ended)
        self._ports.release(sandbox.id)
        self._announce_all("disconnect", ended)
        return True

    def remove(self, term: str, *, force: bool) -> None:
        sandbox = find_sandbox(self._view, term)
        if sandbox.state == "running" and not force:
            raise Conflict(f'cannot remove container "{sandbox.name}": container is running')
        self.stop(sandbox.id)
        endpoints = self._view.endpoints_in(sandbox.id)
        self._store.update([*(Delete(Endpoint, e.id) for e in endpoints), Delete(Sandbox, sandbox.id)])
        for endpoint in endpoints:
            self._planner.give_back(endpoint, self._view.network(endpoint.network))

    def connect(self, network_term: str, term: str, config: EndpointConfig) -> None:
        sandbox = find_sandbox(self._view, term)
        network = for_connect(self._view, network_term)
        check_connect(self._view, sandbox, network, config)
        endpoint = self._planner.make(sandbox, network, config)
        try:
            self._change(sandbox, sandbox, [Put(endpoint)])
        except Exception:
            self._planner.give_back(endpoint, network)
            raise
        if sandbox.state == "running":
            self._announce("connect", sandbox, network)

    def disconnect(self, network_term: str, term: str) -> None:
        sandbox = find_sandbox(self._view, term)
        network = for_connect(self._view, network_term)
        endpoint = check_disconnect(self._view, sandbox, network)
        self._change(sandbox, sandbox, [Delete(Endpoint, endpoint.id)])
        self._planner.give_back(endpoint, network)
        if sandbox.state == "running":
            self._announce("disconnect", sandbox, network)

    async def logs(self, sandbox_id: str, tail: int | None, since: str) -> AsyncIterator[FakeEntry]:
        entries = [entry for entry in self.written.get(sandbox_id, []) if entry.time >= since]
        for entry in entries if tail is None else entries[len(entries) - min(tail, len(entries)) :]:
            yield entry

    def _change(self, before: Sandbox | None, after: Sandbox, changes: list[Change] | None = None) -> None:
        planned = self._planner.change(self._view, before, after, changes or []).changes
        puts = (change.record for change in planned if isinstance(change, Put))
        joined = {record.id: record for record in puts if isinstance(record, Endpoint)}
        for endpoint in joined.values():
            for path, _ in interface_sysctls(endpoint.config.driver_opts, endpoint.ifname):
                if path.rpartition("/")[2] not in SYSCTLS:
                    raise KernelError(errno.ENOENT, f"write sysctl {path}")
        self._store.update(planned)

    def _announce_all(self, action: str, sandbox: Sandbox) -> None:
        for endpoint in self._view.endpoints_in(sandbox.id):
            network = self._view.network(endpoint.network)
            assert network is not None
            self._announce(action, sandbox, network)
