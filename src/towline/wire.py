"""Builds every concrete object of the daemon; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from towline.control.apply import Applier
from towline.control.controller import Controller, ensure_daemon_id
from towline.control.drift import DriftWatch
from towline.control.events import EventBus
from towline.control.forwarding import Forwarding
from towline.control.host import HostPrefixes
from towline.control.networks import Networks
from towline.control.reaper import Reaper
from towline.control.reconcile import Reconciler
from towline.control.writer import Writer
from towline.drivers.registry import builtin_drivers
from towline.ipam.registry import builtin_drivers as builtin_ipams
from towline.kernel.contract import Kernel, Links, Monitor
from towline.model.config import Config
from towline.model.info import Counters
from towline.policy.network import Admission
from towline.store.contract import Store


@dataclass(frozen=True)
class Parts:
    """What touches the world. Tests put fakes, or real ones wrapped with faults, in their place.

    reaper_links: a second rtnetlink client, because unlinking goes on beside the writer.
    """

    store: Store
    kernel: Kernel
    reaper_links: Links
    monitor: Monitor
    close: Callable[[], None]


def real_parts(config: Config) -> Parts:
    """The store under the data root, and the kernel of the network namespace that the process runs in."""
    import logging

    from towline.kernel.real import open_kernel
    from towline.store.open import open_store

    opened = open_store(Path(config.data_root))
    if opened.set_aside is not None:
        logging.getLogger(__name__).error(opened.set_aside)
    real = open_kernel()
    return Parts(opened.store, real.kernel, real.reaper_links, real.monitor, real.close)


class Service:
    """The engine with everything it owns."""

    def __init__(self, engine: Controller, watch: DriftWatch, parts: Parts) -> None:
        self.engine = engine
        self._watch = watch
        self._parts = parts

    async def start(self) -> None:
        await self.engine.start(self._watch)

    async def stop(self) -> None:
        await self.engine.stop()
        self._parts.close()

    def reconfigure(self, config: Config) -> None:
        self.engine.config = config


def build(config: Config, parts: Parts | None = None) -> Service:
    """Needs a running event loop. Raises StoreError or KernelError if store or kernel cannot be opened."""
    parts = parts or real_parts(config)
    store, kernel = parts.store, parts.kernel
    view = store.view()
    daemon_id = ensure_daemon_id(store)
    counters, events = Counters(), EventBus()
    drivers = builtin_drivers()
    ipams = builtin_ipams(config.default_address_pools, daemon_id)
    forwarding = Forwarding(kernel.sysctl, enabled=config.ip_forward)
    host = HostPrefixes(kernel.links, view)
    loop = asyncio.get_running_loop()
    reaper = Reaper(parts.reaper_links, quiet=lambda: writer.quiet_for())
    applier = Applier(
        store,
        kernel,
        forwarding=forwarding,
        retire=reaper.retire,
        reclaim=reaper.reclaim,
        need_repair=lambda: _call_soon(loop, watch.request),
    )
    writer = Writer(view, applier, counters)
    reconciler = Reconciler(view, kernel, drivers, forwarding, leaving=reaper.waiting)
    networks = Networks(
        store=store,
        writer=writer,
        reaper=reaper,
        admission=Admission(drivers, config.default_network_opts),
        drivers=drivers,
        ipams=ipams,
        host=host,
        publish=events.publish,
        counters=counters,
    )
    controller = Controller(
        config,
        daemon_id=daemon_id,
        store=store,
        links=kernel.links,
        ipams=ipams,
        writer=writer,
        reaper=reaper,
        reconciler=reconciler,
        networks=networks,
        events=events,
        counters=counters,
    )
    watch = DriftWatch(
        parts.monitor, concerns=controller.concerns, on_route=host.mark_stale, repair=controller.on_drift
    )
    return Service(controller, watch, parts)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)
