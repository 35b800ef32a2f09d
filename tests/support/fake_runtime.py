"""Processes and name servers without either."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection

from towline.dns.config import ServerConfig
from towline.dns.server_forward import DnsCounters
from towline.model.errors import TowlineError
from towline.model.sandbox import Process
from towline.runtime.launch import Launch
from towline.runtime.lookup import UNKNOWN, Exit


class FakeWatch:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def ended(self) -> Exit:
        return await asyncio.shield(self.exit)

    async def stop(self, patience: float | None = 10.0) -> Exit:
        self.end(143)
        return await self.ended()

    def end(self, code: int) -> None:
        if not self.exit.done():
            self.exit.set_result(Exit(code=code, finished=2))

    def close(self) -> None:
        if not self.exit.done():
            self.exit.cancel()


class FakePrepared:
    def __init__(self, runtime: FakeRuntime, process: Process) -> None:
        self.process = process
        self._runtime = runtime

    async def go(self) -> FakeWatch:
        if self._runtime.refuse_go is not None:
            refusal, self._runtime.refuse_go = self._runtime.refuse_go, None
            raise refusal
        return self._runtime.live(self.process)

    async def abandon(self) -> None:
        self._runtime.abandoned.append(self.process)


class FakeRuntime:
    """alive: the processes that live, over restarts of the engine. refuse_prepare, refuse_go: errors to raise once."""

    def __init__(self) -> None:
        self.alive: dict[Process, FakeWatch | None] = {}
        self.launches: list[Launch] = []
        self.abandoned: list[Process] = []
        self.forgotten: list[str] = []
        self.refuse_prepare: TowlineError | None = None
        self.refuse_go: TowlineError | None = None
        self._pids = itertools.count(1000)

    def state(self, sandbox: str) -> str:
        return f"/state/{sandbox}"

    def log(self, sandbox: str) -> str:
        return f"/log/{sandbox}"

    async def prepare(self, launch: Launch) -> FakePrepared:
        if self.refuse_prepare is not None:
            refusal, self.refuse_prepare = self.refuse_prepare, None
            raise refusal
        self.launches.append(launch)
        return FakePrepared(self, Process(next(self._pids), 1))

    def live(self, process: Process) -> FakeWatch:
        watch = self.alive[process] = FakeWatch(process)
        return watch

    def attach(self, sandbox: str, process: Process, *, foreign: bool = False) -> FakeWatch | Exit:
        return self.live(process) if process in self.alive else Exit(code=UNKNOWN, finished=3, recorded=False)

    def end(self, process: Process, code: int) -> None:
        watch = self.alive.pop(process)
        if watch is not None:
            watch.end(code)

    def remembered(self) -> list[str]:
        return []

    def forget(self, sandbox: str) -> None:
        self.forgotten.append(sandbox)


class FakeNameServers:
    """broken: sandboxes whose table is lost."""

    def __init__(self) -> None:
        self.counters = DnsCounters()
        self.open_in: dict[str, str] = {}
        self.configs: dict[str, ServerConfig] = {}
        self.changes: list[str] = []
        self.peers: list[tuple[str, set[str]]] = []
        self.down: frozenset[str] = frozenset()
        self.refuse: OSError | None = None
        self.broken: set[str] = set()

    async def open(self, sandbox_id: str, netns: str, config: ServerConfig) -> None:
        if self.refuse is not None:
            refusal, self.refuse = self.refuse, None
            raise refusal
        self.open_in[sandbox_id] = netns
        self.configs[sandbox_id] = config
        self.broken.discard(sandbox_id)

    def opened(self) -> Collection[str]:
        return self.open_in

    async def intact(self, sandbox_id: str) -> bool:
        return sandbox_id in self.open_in and sandbox_id not in self.broken

    async def close(self, sandbox_id: str, *, gone: bool = False) -> None:
        self.open_in.pop(sandbox_id, None)

    def set_down(self, nodes: Collection[str]) -> None:
        self.down = frozenset(nodes)

    def names_changed(self, network_id: str, peers: Collection[str] = ()) -> None:
        self.changes.append(network_id)
        if peers:
            self.peers.append((network_id, set(peers)))

    async def stop(self) -> None:
        self.open_in.clear()
