"""Connections to addresses that nobody has any more are forgotten in the background: walking the kernel's table takes
tens of milliseconds, which no answer should wait for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from towline.kernel.contract import Flows
from towline.model.errors import KernelError

log = logging.getLogger(__name__)


class FlowSweeper:
    """Any thread. Addresses that come in while the table is walked are gathered for the next walk."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._thread = ThreadPoolExecutor(1, "flows")

    def forget(self, addresses: Iterable[str]) -> None:
        """addresses: bare, of both families."""
        with self._lock:
            idle = not self._waiting
            self._waiting.update(addresses)
            if idle and self._waiting:
                self._thread.submit(self._walk)

    def _walk(self) -> None:
        with self._lock:
            addresses, self._waiting = sorted(self._waiting), set()
        try:
            self._flows.forget(addresses)
        except KernelError as error:
            log.warning("connections not forgotten", extra={"fields": {"error": str(error)}})

    def close(self) -> None:
        """Finish what waits."""
        self._thread.shutdown(wait=True)
