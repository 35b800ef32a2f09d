"""What control needs of the rooms that give sandboxes their process, their names and their files, and of the cluster,
as Protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

import msgspec

from towline.dns.config import ServerConfig
from towline.model.cluster import Block
from towline.model.errors import Forbidden, Unavailable
from towline.model.network import Network
from towline.model.requests import Created, CreateNetwork, StartedSandbox
from towline.model.sandbox import Process, Sandbox
from towline.policy.network import ThisNode
from towline.runtime.launch import Launch
from towline.runtime.lookup import Exit


class Watched(Protocol):
    """A running process (`runtime.watch.Watch`)."""

    @property
    def process(self) -> Process: ...
    @property
    def exit(self) -> asyncio.Future[Exit]: ...
    async def ended(self) -> Exit: ...
    async def stop(self, patience: float | None = 10.0) -> Exit: ...
    def close(self) -> None: ...


class Prepared(Protocol):
    """A process in its sandbox whose command has not begun (`runtime.supervise.Pending`)."""

    @property
    def process(self) -> Process: ...
    async def go(self) -> Watched: ...
    async def abandon(self) -> None: ...


class Runtime(Protocol):
    """`runtime.supervise.Supervisor`."""

    def state(self, sandbox: str) -> str: ...
    def log(self, sandbox: str) -> str: ...
    async def prepare(self, launch: Launch) -> Prepared: ...
    def attach(self, sandbox: str, process: Process, *, foreign: bool = False) -> Watched | Exit: ...
    def remembered(self) -> list[str]: ...
    def forget(self, sandbox: str) -> None: ...


class NameServers(Protocol):
    """`dns.server.DnsServers`."""

    @property
    def counters(self) -> msgspec.Struct: ...

    async def open(self, sandbox_id: str, netns: str, config: ServerConfig) -> None: ...
    def opened(self) -> Collection[str]: ...
    async def intact(self, sandbox_id: str) -> bool: ...
    async def close(self, sandbox_id: str, *, gone: bool = False) -> None: ...
    def names_changed(self, network_id: str, peers: Collection[str] = ()) -> None:
        """The network, or one of its endpoints here; with `peers` only these endpoints elsewhere, by their ids."""
        ...

    def set_down(self, nodes: Collection[str]) -> None:
        """Ids of nodes that are down: members of services there are not named. Then `names_changed` of these."""
        ...

    async def stop(self) -> None: ...


class NameService(Protocol):
    """`control.names.Names`: the files of a sandbox, and its name server."""

    async def open(self, sandbox: Sandbox) -> StartedSandbox:
        """Write its files; serve names if it is on a network that has them. Also after its networks changed."""
        ...

    async def close(self, sandbox_id: str, *, gone: bool = False) -> None:
        """Serve no more. gone: its namespace ends with it, so nothing has to be tidied there."""
        ...

    def forget(self, sandbox_id: str) -> None:
        """Remove its files."""
        ...

    def changed(self, network_id: str) -> None:
        """After the commit of a change to one of the network's endpoints."""
        ...


class GlobalNetworks(Protocol):
    """The cluster, as this node's networks need it (`cluster.swarm`); `NoGlobalNetworks` where there is none.

    Calls raise Unavailable when the cluster cannot be asked.
    """

    @property
    def active(self) -> bool:
        """This node is part of a cluster."""
        ...

    @property
    def manager(self) -> bool:
        """It is a manager. While it does not work, what needs one raises Unavailable."""
        ...

    @property
    def fenced(self) -> bool:
        """The managers have not heard of this node for so long that they may give its blocks to others."""
        ...

    async def create(self, request: CreateNetwork) -> Created:
        """As the client sent it. The checks of docker-api facts 7.1; known here when it returns."""
        ...

    async def remove(self, network: Network) -> None:
        """The checks and texts of docker-api facts 7.2; gone here too when it returns."""
        ...

    async def prepare(self, network_id: str) -> None:
        """Before the first endpoint of this node joins: know the others on the network. Goes on without them after a
        while; raises nothing."""
        ...

    async def need_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block of the subnet for this node, known here (`Replica.set_blocks`) when it returns; with `address`, the
        one that holds it. Unavailable if none is left, Conflict if another node has it: the text says who."""
        ...

    async def unused(self, block: Block) -> None:
        """None of its addresses is in use here: give it back. Raises nothing."""
        ...


class Seat:
    """Where the cluster is found: whoever builds it puts it here, because each of the two sides needs the other."""

    def __init__(self) -> None:
        self.cluster: GlobalNetworks = NoGlobalNetworks()

    def this_node(self) -> ThisNode:
        return ThisNode(active=self.cluster.active, manager=self.cluster.manager)


class NoGlobalNetworks:
    """A `GlobalNetworks` of a node that is on its own."""

    active = manager = fenced = False

    async def create(self, request: CreateNetwork) -> Created:
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")

    async def remove(self, network: Network) -> None:
        raise Unavailable(f"network {network.name} belongs to a cluster that this node is not part of")

    async def prepare(self, network_id: str) -> None:
        return

    async def need_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        raise Unavailable(f"no addresses of {subnet} on this node: it is not part of the cluster any more")

    async def unused(self, block: Block) -> None:
        return
