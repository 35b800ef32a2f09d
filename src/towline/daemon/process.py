"""The daemon's life: locks, sockets, engine, readiness, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import towline
from towline.daemon.contract import Build, MakeRunner, Service
from towline.daemon.front import answering
from towline.daemon.listeners import Listener, open_listeners
from towline.daemon.load import Loaded, reload
from towline.daemon.locks import lock_data_root, lock_netns, lock_pidfile, make_directories
from towline.daemon.logs import set_level
from towline.daemon.notify import Notifier
from towline.daemon.tls import server_context
from towline.model.config import Config
from towline.model.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

SETTLE_SECONDS = 1.0
log = logging.getLogger(__name__)


async def serve(loaded: Loaded, build: Build, make_runner: MakeRunner) -> None:
    """Run until SIGTERM or SIGINT. Raises TowlineError if it cannot start; whatever was taken is given back."""
    began = time.monotonic()
    config = loaded.config
    notifier = Notifier()
    stopping = _stop_signals()
    with _ownership(config), _listening(config) as listeners:
        tls = server_context(config)
        service = build(config)
        async with _running(service, make_runner) as runner, answering(runner, listeners, tls):
            _on_reload(loaded, service, notifier)
            for listener in listeners:
                log.info("API listen on %s", listener.host)
            seconds = f"{time.monotonic() - began:.3f}"
            log.info("ready", extra={"fields": {"version": towline.__version__, "seconds": seconds}})
            notifier.ready("serving on " + ", ".join(config.hosts))
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, _settle_memory)
            watchdog = asyncio.create_task(_watchdog(notifier))
            await stopping.wait()
            watchdog.cancel()
            notifier.stopping()
    log.info("stopped; networks and their traffic stay as they are")


@contextlib.contextmanager
def _ownership(config: Config) -> Iterator[None]:
    """Nobody else works on this data root, this network namespace, this process id file."""
    make_directories(config.data_root, config.exec_root)
    with contextlib.ExitStack() as held:
        held.callback(lock_data_root(config.data_root).release)
        held.callback(lock_netns().release)
        held.callback(lock_pidfile(config.pidfile).release)
        yield


@contextlib.contextmanager
def _listening(config: Config) -> Iterator[list[Listener]]:
    listeners = open_listeners(config)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@contextlib.asynccontextmanager
async def _running(service: Service, make_runner: MakeRunner) -> AsyncIterator[web.BaseRunner]:
    """Start the engine; while it waits for disk and kernel, load the HTTP server, which takes about as long."""
    starting = asyncio.create_task(service.start())
    try:
        await asyncio.sleep(0)
        runner = make_runner(service.engine)
        await starting
        yield runner
    finally:
        await asyncio.wait([starting])
        await service.stop()


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT. A second one ends the process at once, which is safe at any moment: what
    was committed is carried on by the next start."""
    stopping = asyncio.Event()

    def stop(name: str) -> None:
        if stopping.is_set():
            log.warning("second signal: ending at once", extra={"fields": {"signal": name}})
            os._exit(1)
        log.info("stopping", extra={"fields": {"signal": name}})
        stopping.set()

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    return stopping


def _on_reload(loaded: Loaded, service: Service, notifier: Notifier) -> None:
    current = loaded.config

    def handle() -> None:
        nonlocal current
        notifier.reloading()
        try:
            outcome = reload(loaded, current)
        except ConfigError as error:
            log.error("configuration not reloaded", extra={"fields": {"error": error}})
        else:
            current = outcome.config
            set_level(current.log_level, debug=current.debug)
            service.reconfigure(current)
            log.info("configuration reloaded", extra={"fields": {"changed": ",".join(outcome.changed) or "nothing"}})
            if outcome.waiting:
                log.warning("these need a restart", extra={"fields": {"options": ",".join(outcome.waiting)}})
        notifier.ready("serving on " + ", ".join(current.hosts))

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, handle)


async def _watchdog(notifier: Notifier) -> None:
    """From the event loop, so that a loop that hangs is noticed."""
    while notifier.watchdog_seconds:
        notifier.alive()
        await asyncio.sleep(notifier.watchdog_seconds)


def _settle_memory() -> None:
    """What start-up made lives as long as the process: keep the collector from walking it again and again. It was off
    until now (see main), and its 20 ms come after the first clients, not before."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
