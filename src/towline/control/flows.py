"""Connections that the rules have left behind are forgotten in the background: walking the kernel's table takes tens of
milliseconds, which no answer should wait for.

Two kinds: those to addresses that nobody has any more; and UDP flows that began while their port was not published,
whose packets the kernel would leave untranslated for as long as they come."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from towline.kernel.contract import Flows
from towline.model.errors import KernelError

log = logging.getLogger(__name__)

T = TypeVar("T")
Place = tuple[str, int]
"""Host address ("0.0.0.0" and "::": any) and port."""


GATHER = 0.02  # seconds from the first address to the walk
_NICENESS = 10  # a walk is 10 ms of pure computing in the kernel: not while somebody waits for an answer


class FlowSweeper:
    """Any thread. Addresses that come in before the table is walked, or meanwhile, are gathered for one walk. gather:
    seconds."""

    def __init__(self, flows: Flows, *, gather: float = GATHER) -> None:
        self._flows = flows
        self._gathering = gather
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._gone: set[str] = set()
        self._opened: set[Place] = set()
        self._thread = ThreadPoolExecutor(1, "flows", initializer=_stand_back)

    def forget(self, addresses: Iterable[str]) -> None:
        """addresses: bare, of both families."""
        self._gather(self._gone, addresses)

    def opened(self, places: Iterable[Place]) -> None:
        """UDP ports that are published from now on."""
        self._gather(self._opened, places)

    def _gather(self, waiting: set[T], more: Iterable[T]) -> None:
        with self._lock:
            idle = not self._gone and not self._opened
            waiting.update(more)
            if idle and waiting:
                self._thread.submit(self._walk)

    def _walk(self) -> None:
        self._closing.wait(self._gathering)
        with self._lock:
            gone, opened = sorted(self._gone), sorted(self._opened)
            self._gone.clear()
            self._opened.clear()
        try:
            self._flows.forget(gone)
            self._flows.forget_untranslated("udp", opened)
        except KernelError as error:
            log.warning("connections not forgotten", extra={"fields": {"error": str(error)}})

    def close(self) -> None:
        """Finish what waits."""
        self._closing.set()
        self._thread.shutdown(wait=True)


def _stand_back() -> None:
    """Of the calling thread alone: a thread's niceness is its own (nice(2), C library/kernel differences)."""
    os.nice(_NICENESS)
