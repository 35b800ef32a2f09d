"""A process of simulated nodes: `python -m scale.worker`, asked and answering on its standard streams."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from scale.digests import Digests
from scale.interner import Interner
from scale.link import MeteredLink
from scale.node import SimulatedNode
from scale.recorder import Recorder
from scale.wire import Answer, Ask, Change, Figures, Fill, Holding, Restarted, Share, Some, Start, Tracks
from towline.cluster.client import RemoteLink
from towline.cluster.identity import IdentityFiles
from towline.model.network import Network

_LONGEST = 1 << 30
"""Bytes of a line."""


class Worker:
    """Its verbs are methods of one argument."""

    def __init__(self) -> None:
        self._nodes: dict[int, SimulatedNode] = {}
        self._recorder = Recorder()
        self._interner = Interner()
        self._digests = Digests()
        self._before = (0.0, 0, 0)

    async def start(self, said: Start) -> bool:
        """Whether all of them know the cluster in time."""
        for seed in said.seeds:
            link = RemoteLink(IdentityFiles(Path(seed.folder)), [said.manager])
            metered = MeteredLink(link, self._recorder, self._interner)
            self._nodes[seed.at] = SimulatedNode(seed.at, seed.record, metered, self._recorder)
        gate = asyncio.Semaphore(said.at_once)

        async def one(node: SimulatedNode) -> bool:
            async with gate:
                await node.start()
                return await node.agent.known(said.seconds)

        return all(await asyncio.gather(*map(one, self._nodes.values())))

    async def fill(self, said: Fill) -> None:
        gate = asyncio.Semaphore(said.at_once)
        work: dict[int, list[Share]] = {}
        for share in said.shares:
            work.setdefault(share.at, []).append(share)

        async def one(at: int) -> None:
            async with gate:
                for share in work[at]:
                    await self._nodes[at].join(self._network(at, share.network), share.count)

        await asyncio.gather(*map(one, work))

    async def settle(self, _: Some) -> None:
        """A daemon has the heap of one node, not of hundreds: what is there now is not collected again and again."""
        gc.collect()
        gc.freeze()

    async def change(self, said: Change) -> None:
        node = self._nodes[said.at]
        if not said.leave:
            await node.join(self._network(said.at, said.network), tracked=said.tracked)
        elif len(node.view.endpoints_of(said.network)) > 1:
            await node.leave_one(said.network)

    async def churn(self, said: Change) -> None:
        """As it can be done without a manager."""
        node = self._nodes[said.at]
        if said.leave and node.replica.is_present(said.network):
            await node.leave_one(said.network)
        elif node.replica.is_present(said.network):
            await node.rejoin(self._network(said.at, said.network))

    async def restart(self, said: Some) -> Restarted:
        """The daemon of one node, with what it kept."""
        node = self._nodes[said.at[0]]
        before, began = node.link.streamed, time.monotonic()
        if not await node.restart(said.seconds):
            raise TimeoutError("a restarted node does not catch up")
        seconds = time.monotonic() - began
        return Restarted(seconds, node.link.streamed - before, len(node.replica.present()))

    async def cut(self, said: Some) -> None:
        for at in said.at:
            self._nodes[at].link.cut()

    async def mend(self, said: Some) -> None:
        for at in said.at:
            self._nodes[at].link.mend()

    async def holding(self, _: Some) -> list[Holding]:
        return [node.holding() for node in self._nodes.values()]

    async def whole(self, _: Some) -> list[Holding]:
        return [node.whole(self._digests.of) for node in self._nodes.values()]

    async def track(self, _: Some) -> None:
        self._recorder.begin()

    async def tracks(self, _: Some) -> Tracks:
        return self._recorder.tracks()

    async def forget(self, _: Some) -> None:
        self._recorder.end()

    async def figures(self, _: Some) -> Figures:
        links = [node.link for node in self._nodes.values()]
        cpu, told = time.process_time(), sum(link.updates for link in links)
        streamed = sum(link.streamed for link in links)
        before, self._before = self._before, (cpu, streamed, told)
        rows, self._recorder.rows = self._recorder.rows, 0
        return Figures(cpu - before[0], streamed - before[1], told - before[2], rows, resident())

    async def close(self, _: Some) -> None:
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    def _network(self, at: int, network_id: str) -> Network:
        network = self._nodes[at].view.network(network_id)
        if network is None:
            raise LookupError(f"node {at} does not know network {network_id}")
        return network

    @property
    def verbs(self) -> dict[str, tuple[type[Any], Callable[[Any], Awaitable[object]]]]:
        some = (self.settle, self.restart, self.cut, self.mend, self.holding, self.whole, self.track, self.tracks)
        more = (self.forget, self.figures, self.close)
        return {
            "start": (Start, self.start),
            "fill": (Fill, self.fill),
            "change": (Change, self.change),
            "churn": (Change, self.churn),
            **{verb.__name__: (Some, verb) for verb in (*some, *more)},
        }


def resident() -> int:
    """Bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    out = sys.stdout.buffer
    verbs = Worker().verbs
    running: set[asyncio.Task[None]] = set()

    async def answer(ask: Ask) -> None:
        kind, verb = verbs[ask.verb]
        try:
            body = await verb(msgspec.json.decode(ask.body, type=kind))
            told = Answer(ask.id, msgspec.Raw(msgspec.json.encode(body)))
        except Exception as error:
            logging.getLogger("scale").exception("verb %s failed", ask.verb)
            told = Answer(ask.id, error=repr(error))
        out.write(msgspec.json.encode(told) + b"\n")
        out.flush()

    while line := await reader.readline():
        task = asyncio.create_task(answer(msgspec.json.decode(line, type=Ask)))
        running.add(task)
        task.add_done_callback(running.discard)


def main() -> None:
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve())


if __name__ == "__main__":
    main()
