"""What a step of a run needs of processors, memory, etcd and streams."""

from __future__ import annotations

import time
from typing import Any

from bench.stats import percentile

from scale.cluster import ScaledCluster
from scale.crowd import Crowd
from scale.worker import resident

_SIZES = ("resident", "database")


class Measures:
    """Of the manager, which is in this process, of the nodes' processes, and of etcd."""

    def __init__(self, cluster: ScaledCluster, crowd: Crowd, nodes: int) -> None:
        self.cluster = cluster
        self.crowd = crowd
        self.nodes = nodes

    async def begin(self) -> Load:
        await self.crowd.figures()
        return Load(self, await self.cluster.etcd())


class Load:
    """From here to `end`."""

    def __init__(self, measures: Measures, etcd: dict[str, float]) -> None:
        self._measures = measures
        self._etcd = etcd
        self._began = time.monotonic()
        self._cpu = time.process_time()

    async def end(self) -> dict[str, Any]:
        """Processor: seconds a second. etcd: a second, but for sizes. *_us: microseconds of a processor for each row of
        a node, and of the manager for each update that it told."""
        seconds, cpu = time.monotonic() - self._began, time.process_time() - self._cpu
        parts = await self._measures.crowd.figures()
        etcd = await self._measures.cluster.etcd()
        nodes = self._measures.nodes
        used, rows, told = (sum(getattr(part, name) for part in parts) for name in ("cpu", "rows", "updates"))
        return {
            "wall_s": seconds,
            "cpu_manager": cpu / seconds,
            "cpu_nodes": used / seconds,
            "node_us_per_row": used / rows * 1e6 if rows else 0.0,
            "manager_us_per_update": cpu / told * 1e6 if told else 0.0,
            "watched_kb_per_node": sum(part.bytes for part in parts) / nodes / 1024,
            "updates_per_node": told / nodes,
            "nodes_resident_kb": sum(part.resident for part in parts) / nodes / 1024,
            "manager_resident_mb": resident() / 2**20,
            "etcd": {
                **{name: (value - self._etcd.get(name, 0.0)) / seconds for name, value in etcd.items()},
                **{f"{name}_mb": etcd.get(name, 0.0) / 2**20 for name in _SIZES},
            },
        }


def times(samples: list[float]) -> dict[str, float]:
    """Milliseconds."""
    found = {f"p{round(share * 100)}_ms": percentile(samples, share) * 1e3 for share in (0.5, 0.99)}
    return {"count": len(samples), **found, "most_ms": max(samples) * 1e3}
