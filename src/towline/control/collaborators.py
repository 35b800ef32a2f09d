"""What control needs of the rooms that give sandboxes their process, their names and their files, as Protocols."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from towline.dns.config import ServerConfig
from towline.model.requests import StartedSandbox
from towline.model.sandbox import Process, Sandbox
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
    async def close(self, sandbox_id: str, *, gone: bool = False) -> None: ...
    def names_changed(self, network_id: str) -> None: ...
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
