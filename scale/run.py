"""One run: a cluster of that many nodes is filled, changed, restarted, divided, healed, and compared."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bench.stats import percentile

from scale.cluster import ScaledCluster
from scale.equality import difference
from scale.node import SimulatedNode
from scale.recorder import Recorder
from scale.shape import Plan, plan, spread
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest

_PATIENCE = 60.0
_JOINING = 16
"""Nodes that fill at once."""


class Settings(NamedTuple):
    """remote: nodes that use the node API over TLS. changes: endpoints that are added one by one, `rate` a second.
    idle: seconds for which nothing happens. apart: seconds for which half of the nodes are cut off."""

    nodes: int
    endpoints: int
    remote: int = 5
    changes: int = 300
    rate: float = 20.0
    idle: float = 10.0
    apart: float = 5.0
    seed: int = 1


class NotEqual(Exception):
    """The nodes did not come to be equal."""


class Run:
    def __init__(self, settings: Settings, folder: Path, say: Callable[[str], None]) -> None:
        self.result: dict[str, Any] = {"settings": settings._asdict()}
        self._settings = settings
        self._random = Random(settings.seed)
        self._recorder = Recorder()
        self._cluster = ScaledCluster(folder)
        self._say = say
        self._nodes: list[SimulatedNode] = []
        self._networks: list[tuple[Plan, Network]] = []

    async def go(self) -> dict[str, Any]:
        """The figures. NotEqual."""
        logging.getLogger("towline").setLevel(logging.ERROR)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            await self._cluster.start()
            for step in (self._join, self._fill, self._idle, self._change, self._restart, self._divide):
                self._say(step.__name__.strip("_"))
                before, began = await self._cluster.etcd(), time.monotonic()
                self.result[step.__name__.strip("_")] = figures = await step()
                figures["etcd"] = _load(before, await self._cluster.etcd(), time.monotonic() - began)
            self.result["equal"] = difference(self._cluster.manager.state, self._nodes) == ""
        return self.result

    async def _close(self) -> None:
        await asyncio.gather(*(node.close() for node in self._nodes))
        await self._cluster.close()

    # steps

    async def _join(self) -> dict[str, Any]:
        """Networks are created, nodes admitted, agents started at once."""
        settings, began = self._settings, time.monotonic()
        for one in plan(settings.nodes, settings.endpoints, self._random):
            pools = (PoolRequest(subnet=one.subnet),) if one.subnet else ()
            request = CreateNetwork(one.name, driver="overlay", attachable=True, pools=pools)
            self._networks.append((one, await self._cluster.manager.networks.create(request)))
        created = time.monotonic()
        gc.collect()
        resident = _resident()
        for at in range(settings.nodes):
            self._nodes.append(await self._cluster.admit(at, self._recorder, remote=at < settings.remote))
        started = time.monotonic()
        await asyncio.gather(*(node.start() for node in self._nodes))
        known = await asyncio.gather(*(node.agent.known(_PATIENCE) for node in self._nodes))
        if not all(known):
            raise NotEqual("not every node has heard of the cluster")
        await self._equal()
        gc.collect()
        return {
            "networks": len(self._networks),
            "create_network_ms": (created - began) / len(self._networks) * 1e3,
            "all_known_s": time.monotonic() - started,
            "memory_per_node_kb": (_resident() - resident) / settings.nodes / 1024,
            **self._streams(),
        }

    async def _fill(self) -> dict[str, Any]:
        began, resident, gate = time.monotonic(), _resident(), asyncio.Semaphore(_JOINING)
        work: dict[int, list[tuple[Network, int]]] = {}
        for one, network in self._networks:
            for at, count in spread(max(one.endpoints, len(one.members)), one.members).items():
                work.setdefault(at, []).append((network, count))
        total = sum(count for parts in work.values() for _, count in parts)

        async def fill(node: SimulatedNode) -> None:
            async with gate:
                for network, count in work[node.at]:
                    await node.join(network, count)

        self._forget_streams()
        await asyncio.gather(*(fill(self._nodes[at]) for at in work))
        await self._equal()
        seconds = time.monotonic() - began
        gc.collect()
        gc.freeze()  # a daemon has the heap of one node, not of all
        peers = sum(len(node.replica.peers(key)) for node in self._nodes for key in node.replica.present())
        return {
            "endpoints": total,
            "seconds": seconds,
            "endpoints_per_s": total / seconds,
            "records_per_node": peers / len(self._nodes),
            "memory_per_node_kb": (_resident() - resident) / len(self._nodes) / 1024,
            "resident_mb": _resident() / 2**20,
            **self._streams(),
        }

    async def _idle(self) -> dict[str, Any]:
        """Reports of the nodes, and nothing else."""
        self._forget_streams()
        used, began = time.process_time(), time.monotonic()
        await asyncio.sleep(self._settings.idle)
        return {"cpu": (time.process_time() - used) / (time.monotonic() - began), **self._streams()}

    async def _change(self) -> dict[str, Any]:
        """Endpoints come one by one, at a fixed rate, whether the last one has been taken in or not."""
        self._forget_streams()
        used, began = time.process_time(), time.monotonic()
        joins = []
        for number in range(self._settings.changes):
            await asyncio.sleep(max(0.0, began + number / self._settings.rate - time.monotonic()))
            one, network = self._random.choice(self._networks[number % 3 :: 3])
            if number % 4 == 0:  # networks that all nodes are on are few: each fourth endpoint is there
                one, network = self._networks[number // 4 % 2]
            node = self._nodes[self._random.choice(one.members)]
            joins.append(asyncio.ensure_future(self._add(node, one, network)))
        await asyncio.gather(*joins)
        if not await self._recorder.all_complete(_PATIENCE):
            raise NotEqual("rows are missing")
        seconds = time.monotonic() - began
        result: dict[str, Any] = {"cpu": (time.process_time() - used) / seconds, "seconds": seconds, **self._streams()}
        tracks = list(self._recorder.tracks.values())
        result["publish"] = _times([track.answered - track.asked for track in tracks])
        result["rows"] = _times([max(track.rows) - track.answered for track in tracks if track.rows])
        result["rows_from_request"] = _times([max(track.rows) - track.asked for track in tracks if track.rows])
        for kind in ("wide", "medium", "small"):
            some = [max(t.rows) - t.answered for t in tracks if t.kind == kind and t.rows]
            if some:
                result[f"rows_{kind}"] = _times(some)
        self._recorder.tracks.clear()
        await self._equal()
        return result

    async def _add(self, node: SimulatedNode, one: Plan, network: Network) -> None:
        await node.join(network, 1, lambda mac: self._recorder.expect(mac, one.kind, len(one.members) - 1))

    async def _restart(self) -> dict[str, Any]:
        """The daemon of one node, with what it kept; of a node with TLS, if there is one."""
        node = self._nodes[0]
        before, began = node.link.bytes, time.monotonic()
        if not await node.restart(_PATIENCE):
            raise NotEqual("a restarted node does not catch up")
        seconds = time.monotonic() - began
        await self._equal()
        networks = len(node.replica.present())
        return {"seconds": seconds, "bytes": node.link.bytes - before, "networks": networks}

    async def _divide(self) -> dict[str, Any]:
        """Half of the nodes are cut off; on both sides endpoints come and go."""
        half = self._nodes[: len(self._nodes) // 2]
        for node in half:
            node.link.cut()
        began = time.monotonic()
        changes = max(4, self._settings.changes // 3)
        for number in range(changes):
            one, network = self._random.choice(self._networks)
            node = self._nodes[self._random.choice(one.members)]
            if number % 2 and network.id in node.replica.present():
                await node.leave_one(network.id)
            elif len(node.view.endpoints_of(network.id)):
                await node.rejoin(network)
        await asyncio.sleep(max(0.0, self._settings.apart - (time.monotonic() - began)))
        self._forget_streams()
        for node in half:
            node.link.mend()
        mended = time.monotonic()
        await self._equal()
        return {"changes": changes, "apart_s": mended - began, "healed_s": time.monotonic() - mended, **self._streams()}

    # measures

    async def _equal(self) -> None:
        end = time.monotonic() + _PATIENCE
        while wrong := difference(self._cluster.manager.state, self._nodes):
            if time.monotonic() > end:
                raise NotEqual(wrong)
            await asyncio.sleep(0.1)

    def _forget_streams(self) -> None:
        for node in self._nodes:
            node.link.bytes = node.link.updates = 0

    def _streams(self) -> dict[str, float]:
        count = max(len(self._nodes), 1)
        return {
            "watched_bytes_per_node": sum(node.link.bytes for node in self._nodes) / count,
            "updates_per_node": sum(node.link.updates for node in self._nodes) / count,
        }


def _times(samples: list[float]) -> dict[str, float]:
    """Milliseconds."""
    found = {f"p{round(share * 100)}_ms": percentile(samples, share) * 1e3 for share in (0.5, 0.99)}
    return {"count": len(samples), **found, "most_ms": max(samples) * 1e3}


def _load(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """A second, but for sizes."""
    sizes = ("resident", "database")
    rates = {name: (value - before.get(name, 0.0)) / seconds for name, value in after.items() if name not in sizes}
    return {**rates, **{name: after[name] for name in sizes}}


def _resident() -> int:
    """Bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
