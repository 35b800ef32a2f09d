"""The engine as its clients see it (api, cli, later cluster and migrate).

`control.controller.Controller` is the one implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from towline.control.cluster_contract import ClusterEngine
from towline.model.cluster import Peer
from towline.model.config import Config
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.events import Event
from towline.model.info import Counters, EndpointPath, Finding
from towline.model.network import Lease, Network, SubnetStatus
from towline.model.requests import Created, CreateNetwork, CreateSandbox, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.model.service import Service


class Events(Protocol):
    """The bus behind /events. Keeps the last 256 events, as Docker does (`since`)."""

    def publish(self, event: Event) -> None: ...
    def past(self, since: int, until: int | None) -> list[Event]:
        """Kept events with since <= time (and <= until), oldest first; nanoseconds."""
        ...

    def subscribe(self) -> AsyncIterator[Event]:
        """Every event from this call on (not only from the first `anext`). A subscriber that falls more than 1,024
        events behind is ended."""
        ...

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        ...


class Engine(Protocol):
    """Reads are plain functions: they answer from memory and never wait. Writes are coroutines; once accepted they run
    to their end even if the caller goes away."""

    @property
    def config(self) -> Config: ...
    @property
    def daemon_id(self) -> str: ...
    @property
    def events(self) -> Events: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def revision(self) -> int:
        """The store's revision."""
        ...

    def networks(self) -> list[Network]:
        """All that are ready, in order of creation."""
        ...

    def network(self, network_id: str) -> Network | None:
        """By full id; None if unknown or not ready."""
        ...

    def network_named(self, name: str) -> Network | None:
        """By exact name, O(1); None if unknown or not ready."""
        ...

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]: ...
    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        """Endpoints of a global network on other nodes, while it has some here."""
        ...

    def services_on(self, network_id: str) -> tuple[Service, ...]: ...

    def subnet_status(self, network_id: str) -> dict[str, SubnetStatus]:
        """Per subnet (CIDR) of the network, in the order of its pools."""
        ...

    def leases(self, network_id: str) -> list[Lease]:
        """Every address that is taken in the network, by whom and why, in address order."""
        ...

    async def create_network(self, request: CreateNetwork, *, wait: bool = False) -> Created: ...

    async def remove_network(self, term: str, *, wait: bool = False) -> None:
        """`term`: full id, name, or unique id prefix, resolved with DELETE's texts. wait: until the kernel has unlinked
        it; otherwise the link is down, without rules and routes, and goes a little later."""
        ...

    async def prune_networks(self, keep: Callable[[Network], bool], *, wait: bool = False) -> list[str]:
        """Remove every custom network without endpoints for which `keep` is false; answers their names. Conflict while
        another prune runs. Publishes the `prune` event, also when nothing was removed."""
        ...

    async def connect(self, network_term: str, container: str, config: EndpointConfig = ANYTHING) -> None:
        """Checks, order and texts of docker-api facts 1.5 and 3.1. On a sandbox that does not run the endpoint is
        reserved and joined when it starts."""
        ...

    async def disconnect(self, network_term: str, container: str, *, force: bool) -> None: ...

    async def diagnose(self) -> Sequence[Finding]:
        """Compare store and kernel now; changes nothing."""
        ...

    async def repair(self) -> Sequence[Finding]:
        """Diagnose, then repair; answers what was found. Also sweeps what carries our mark and the store does not know,
        even when sweeping was suspended after a corrupt store was set aside."""
        ...


class LogEntry(Protocol):
    """A line of output with its newline, or a part of a long one. time: RFC 3339 in UTC with nine digits. stream:
    "stdout" or "stderr". `runtime.logread.Entry` is one."""

    @property
    def time(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def text(self) -> bytes: ...


class SandboxEngine(Protocol):
    """Sandboxes and what they are joined to."""

    def sandboxes(self) -> list[Sandbox]:
        """In order of creation."""
        ...

    def sandbox(self, term: str) -> Sandbox | None:
        """By full id, name, or unique id prefix; InvalidParameter if several ids begin with it."""
        ...

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        """In order of connection. Addresses are reserved from the first connection on, whether it runs or not."""
        ...

    async def create_sandbox(self, request: CreateSandbox) -> Created:
        """Record it and reserve its endpoints' addresses; nothing runs yet. One that is attached is running at once."""
        ...

    async def start_sandbox(self, term: str, *, process: Process | None = None) -> StartedSandbox:
        """Make its namespace, join its endpoints, write its files. process: the client will live in it (foreground) and
        is watched; None: its command is started detached. Running already: Conflict."""
        ...

    async def stop_sandbox(self, term: str, *, grace: float = 10.0) -> bool:
        """SIGTERM, then SIGKILL after `grace` seconds; endpoints leave, their identity stays reserved. False if it was
        not running. An attached one only loses its endpoints."""
        ...

    async def remove_sandbox(self, term: str, *, force: bool = False) -> None:
        """Give back everything. Conflict if it is running and not `force`."""
        ...

    def name_counts(self) -> dict[str, int]:
        """What the name servers did since start: queries, forwarded, cached, joined, failed, refused."""
        ...

    async def explain(self, term: str) -> Sequence[EndpointPath]:
        """The whole path of each endpoint, checked with the kernel now. NotFound."""
        ...

    def logs(
        self, sandbox_id: str, *, tail: int | None = None, since: str = "", follow: bool = False
    ) -> AsyncIterator[LogEntry]:
        """What the command of a detached sandbox has written, oldest first; nothing of others. tail: only so many of
        the last entries. since: a time as in LogEntry. follow: go on until the command ends."""
        ...


class WholeEngine(Engine, SandboxEngine, Protocol):
    """What the HTTP API serves."""

    @property
    def cluster(self) -> ClusterEngine:
        """This engine as a part of a cluster, or of none."""
        ...
