"""One run: a cluster of that many nodes is filled, changed, restarted, divided, healed, and compared."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from scale.cluster import ScaledCluster
from scale.crowd import Crowd, Track
from scale.equality import difference, short_of_rows
from scale.measures import Load, Measures, times
from scale.shape import Plan, plan, spread
from scale.wire import Change, Share
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest


class Settings(NamedTuple):
    """processes: that the nodes live in. changes: endpoints that are added one by one, `rate` a second. idle: seconds
    for which nothing happens. apart: seconds for which half of the nodes are cut off. at_once: nodes that start, or
    fill, at the same time. patience: seconds for everything to be equal."""

    nodes: int
    endpoints: int
    processes: int = 2
    changes: int = 300
    rate: float = 20.0
    idle: float = 10.0
    apart: float = 5.0
    at_once: int = 32
    patience: float = 60.0
    seed: int = 1


class NotEqual(Exception):
    """The nodes did not come to be equal."""


class Run:
    def __init__(self, settings: Settings, folder: Path, say: Callable[[str], None]) -> None:
        self.result: dict[str, Any] = {"settings": settings._asdict()}
        self._settings = settings
        self._random = Random(settings.seed)
        self._cluster = ScaledCluster(folder)
        self._crowd = Crowd(settings.processes)
        self._measures = Measures(self._cluster, self._crowd, settings.nodes)
        self._say = say
        self._networks: list[tuple[Plan, Network]] = []

    async def go(self) -> dict[str, Any]:
        """The figures. NotEqual."""
        logging.getLogger("towline").setLevel(logging.ERROR)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._cluster.close)
            await self._cluster.start()
            stack.push_async_callback(self._crowd.close)
            await self._crowd.start()
            for step in (self._join, self._fill, self._idle, self._change, self._restart, self._divide):
                name = step.__name__.strip("_")
                self._say(name)
                load = await self._measures.begin()
                self.result[name] = await step(load)
            self.result["equal"] = True
        return self.result

    # steps

    async def _join(self, load: Load) -> dict[str, Any]:
        """Networks are created, nodes admitted, agents started."""
        settings, began = self._settings, time.monotonic()
        for one in plan(settings.nodes, settings.endpoints, self._random):
            pools = (PoolRequest(subnet=one.subnet),) if one.subnet else ()
            request = CreateNetwork(one.name, driver="overlay", attachable=True, pools=pools)
            self._networks.append((one, await self._cluster.manager.networks.create(request)))
        created = time.monotonic()
        seeds = [await self._cluster.admit(at) for at in range(settings.nodes)]
        started = time.monotonic()
        if not await self._crowd.join(self._cluster.address, seeds, settings.patience, settings.at_once):
            raise NotEqual("not every node has heard of the cluster")
        seconds = time.monotonic() - started
        await self._equal()
        return {
            "networks": len(self._networks),
            "create_network_ms": (created - began) / len(self._networks) * 1e3,
            "all_known_s": seconds,
            **await load.end(),
        }

    async def _fill(self, load: Load) -> dict[str, Any]:
        began, shares = time.monotonic(), []
        for one, network in self._networks:
            for at, count in spread(one.endpoints, one.members).items():
                shares.append(Share(at, network.id, count))
        total = sum(share.count for share in shares)
        await self._crowd.fill(shares, self._settings.at_once)
        await self._equal()
        seconds = time.monotonic() - began
        rows = sum(one.rows for one in await self._crowd.holding())
        figures = await load.end()
        await self._whole()
        await self._crowd.settle()
        gc.collect()
        gc.freeze()
        return {
            "endpoints": total,
            "seconds": seconds,
            "endpoints_per_s": total / seconds,
            "records_per_node": rows / self._settings.nodes,
            **figures,
        }

    async def _idle(self, load: Load) -> dict[str, Any]:
        """Reports of the nodes, and nothing else."""
        await asyncio.sleep(self._settings.idle)
        return await load.end()

    async def _change(self, load: Load) -> dict[str, Any]:
        """Endpoints come one by one, at a fixed rate, whether the last one has been taken in or not."""
        await self._crowd.track()
        began, joins = time.monotonic(), []
        for number in range(self._settings.changes):
            await asyncio.sleep(max(0.0, began + number / self._settings.rate - time.monotonic()))
            one, network = self._random.choice(self._networks[2:])
            if number % 4 == 0:  # networks that all nodes are on are few: each fourth endpoint is there
                one, network = self._networks[number // 4 % 2]
            change = Change(self._random.choice(one.members), network.id, tracked=True)
            joins.append(asyncio.ensure_future(self._crowd.change(change)))
        await asyncio.gather(*joins)
        await self._equal()
        figures = await load.end()
        tracks = await self._crowd.tracks()
        await self._crowd.forget()
        return {**figures, **self._ways(tracks)}

    def _ways(self, tracks: dict[str, Track]) -> dict[str, Any]:
        if len(tracks) != self._settings.changes:
            raise NotEqual(f"{len(tracks)} of {self._settings.changes} endpoints were published")
        state = self._cluster.manager.state
        kinds = {network.id: one.kind for one, network in self._networks}
        found: dict[str, list[float]] = {}
        for peer in (peer for network in state.networks.all() for peer in state.peers.of_network(network.id)):
            track = tracks.get(peer.mac)
            if track is not None and track.rows:
                found.setdefault(f"rows_{kinds[peer.network]}", []).append(track.last - track.answered)
        rows = [track.last - track.answered for track in tracks.values() if track.rows]
        whole = [track.last - track.asked for track in tracks.values() if track.rows]
        publish = [track.answered - track.asked for track in tracks.values()]
        parts = {"publish": publish, "rows": rows, "rows_from_request": whole, **found}
        return {name: times(samples) for name, samples in parts.items()}

    async def _restart(self, load: Load) -> dict[str, Any]:
        """The daemon of one node, with what it kept."""
        told = await self._crowd.restart(0, self._settings.patience)
        await self._equal()
        return {"restarted": {"seconds": told.seconds, "kb": told.bytes / 1024, "networks": told.networks}}

    async def _divide(self, load: Load) -> dict[str, Any]:
        """Half of the nodes are cut off; on both sides endpoints come and go."""
        half = range(0, self._settings.nodes, 2) if self._settings.processes == 1 else range(self._settings.nodes // 2)
        await self._crowd.cut(half)
        began = time.monotonic()
        changes = max(4, self._settings.changes // 3)
        for number in range(changes):
            one, network = self._random.choice(self._networks)
            await self._crowd.churn(Change(self._random.choice(one.members), network.id, leave=bool(number % 2)))
        await asyncio.sleep(max(0.0, self._settings.apart - (time.monotonic() - began)))
        divided = await load.end()
        load = await self._measures.begin()
        mended = time.monotonic()
        await self._crowd.mend(half)
        await self._equal()
        seconds = time.monotonic() - mended
        figures = await load.end()
        await self._whole()
        return {"changes": changes, "apart_s": mended - began, "healed_s": seconds, **figures, "divided": divided}

    # equality

    async def _equal(self) -> None:
        """All rows are there, by their number."""

        async def wrong() -> str:
            return short_of_rows(self._cluster.manager.state, self._crowd.ids, await self._crowd.holding())

        await self._until(wrong)

    async def _whole(self) -> None:
        """All records and rows are the same."""

        async def wrong() -> str:
            return difference(self._cluster.manager.state, self._crowd.ids, await self._crowd.holding(whole=True))

        await self._until(wrong)

    async def _until(self, wrong: Callable[[], Any]) -> None:
        if found := await self._crowd.until(wrong, self._settings.patience, 0.1):
            raise NotEqual(found)
