"""Prometheus metrics on a listener of their own (`--metrics-addr`). Imported only when that is configured."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from towline import __version__
from towline.api.own import resident_memory
from towline.control.contract import WholeEngine
from towline.model.errors import Failure

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_HELP = {
    "created": "Networks created since start.",
    "removed": "Networks removed since start.",
    "failed": "Changes that the kernel or the store refused since start.",
    "batches": "Groups of changes committed together since start.",
    "joins": "Endpoints plugged into sandboxes since start.",
    "leaves": "Endpoints taken out of sandboxes since start.",
    "drift_repairs": "Differences between store and kernel repaired since start.",
    "reconciles": "Comparisons of store and kernel since start.",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT"})
_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")
_PLACES = frozenset({"_ping", "version", "info", "events", "containers", "networks", "towline", *_SWARM})
_OWN = frozenset({"cluster", "networks", "sandboxes", "diagnose", "repair", "state", "openapi.json"})
_ACTIONS = frozenset({"create", "prune", "connect", "disconnect"})

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Metrics:
    """Counts requests (`watching`) and answers scrapes of GET /metrics."""

    def __init__(self, engine: WholeEngine) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_EngineCollector(engine))
        self._requests = Counter(
            "towline_http_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._durations = Histogram(
            "towline_http_request_seconds",
            "Time from the request's headers to the end of its handler.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._runner: web.ServerRunner | None = None

    def watching(self, handle: Handle) -> Handle:
        """The same handler, with every answer counted."""

        async def watched(request: web.BaseRequest) -> web.StreamResponse:
            began = time.perf_counter()
            response = await handle(request)
            self._observe(request.method, route_label(request.raw_path), response.status, time.perf_counter() - began)
            return response

        return watched

    def _observe(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    async def start(self, address: str) -> None:
        """address: HOST:PORT. Failure if it cannot be listened on."""
        host, _, port = address.rpartition(":")
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host.strip("[]") or None, int(port)).start()
        except OSError as error:
            await self.stop()
            reason = f"{error.strerror}; choose another --metrics-addr"
            raise Failure(f"cannot serve metrics on {address}: {reason}") from None

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, as socket addresses."""
        return [] if self._runner is None else self._runner.addresses

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="see /metrics\n")
        return web.Response(body=self.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def route_label(target: str) -> str:
    """A label of few values: the path without version, query and names."""
    parts = [part for part in target.partition("?")[0].split("/") if part]
    if parts and parts[0].startswith("v") and parts[0][1:2].isdigit():
        parts.pop(0)
    place = parts[0] if parts and parts[0] in _PLACES else "other"
    if place == "networks" and len(parts) > 1:
        return "networks/" + (parts[-1] if parts[-1] in _ACTIONS else "{id}")
    if place == "towline":
        return "towline/" + (parts[2] if len(parts) > 2 and parts[2] in _OWN else "other")
    return place


class _EngineCollector(Collector):
    def __init__(self, engine: WholeEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine = self._engine
        for name, value in msgspec.structs.asdict(engine.counters).items():
            yield CounterMetricFamily(f"towline_{name}", _HELP.get(name, name), value)
        for name, value in engine.name_counts().items():
            yield CounterMetricFamily(f"towline_dns_{name}", f"DNS queries of sandboxes: {name}.", value)
        yield from _sandboxes(engine)
        networks = GaugeMetricFamily("towline_networks", "Networks that exist, by driver.", labels=["driver"])
        for driver, count in _by_driver(engine).items():
            networks.add_metric([driver], count)
        yield networks
        yield GaugeMetricFamily("towline_store_revision", "The store's revision.", engine.revision)
        yield GaugeMetricFamily("towline_resident_bytes", "Memory of the daemon.", resident_memory())
        info = GaugeMetricFamily("towline_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def _by_driver(engine: WholeEngine) -> dict[str, int]:
    counts: dict[str, int] = {}
    for network in engine.networks():
        counts[network.driver] = counts.get(network.driver, 0) + 1
    return counts


def _sandboxes(engine: WholeEngine) -> Iterator[Metric]:
    counts: dict[str, int] = {}
    leases = 0
    for sandbox in engine.sandboxes():
        counts[sandbox.state] = counts.get(sandbox.state, 0) + 1
        leases += sum(bool(e.ipv4) + bool(e.ipv6) for e in engine.endpoints_in(sandbox.id))
    family = GaugeMetricFamily("towline_sandboxes", "Sandboxes that exist, by state.", labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    yield family
    yield GaugeMetricFamily("towline_leases", "Addresses that endpoints hold.", leases)
