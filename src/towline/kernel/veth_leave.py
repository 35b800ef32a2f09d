"""Unplugging: veth pairs are gone for everybody in half a millisecond, and for the kernel after an RCU grace period.

RTM_DELLINK unlists both ends first (their names are free, no packet passes), then the call waits 14-17 ms more. So a
thread of this module makes it, with nothing to do before it, and the caller goes on when the names are free. Several
pairs of one call go in groups (`rtnl_unlink`), a thread each; so do several calls one after the other, up to a few.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from towline.kernel.netlink import NetlinkSocket
from towline.kernel.probe import LinkProbe
from towline.kernel.rtnl_codec import NETLINK_ROUTE
from towline.kernel.rtnl_read import LinkReader, as_kernel_error
from towline.kernel.rtnl_unlink import GROUP_SIZE, Unlinker
from towline.model.errors import KernelError

_THREADS = 8
_AT_LEAST_SECONDS = 0.0002
_LOOK_AGAIN_SECONDS = 0.00005


class Unplugger:
    """Works in the network namespace of the thread that makes it, and that the probe asks about."""

    def __init__(self, probe: LinkProbe) -> None:
        self._probe = probe
        self._index = probe.index
        self._sockets = [NetlinkSocket(NETLINK_ROUTE) for _ in range(_THREADS)]
        self._idle: SimpleQueue[Unlinker] = SimpleQueue()
        for sock in self._sockets:
            self._idle.put(Unlinker(sock, LinkReader(sock, ())))
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="unplug")

    def close(self) -> None:
        """Waits for what is under way."""
        self._pool.shutdown()
        for sock in self._sockets:
            sock.close()

    def remove(self, names: Sequence[str]) -> list[KernelError | None]:
        """Per name None once it is free, or the kernel's refusal. Absent is no error."""
        present = {name: index for name in names if (index := self._index(name)) and self._probe.name(index) == name}
        # not those of which it is one of the alternative names, by which the kernel finds a link too
        if not present:
            return [None] * len(names)
        there = list(present.items())
        groups = [dict(there[start : start + GROUP_SIZE]) for start in range(0, len(there), GROUP_SIZE)]
        futures = [self._pool.submit(self._reap, group) for group in groups]
        refusals: dict[str, KernelError | None] = {}
        time.sleep(_AT_LEAST_SECONDS)
        for group, future in zip(groups, futures, strict=True):
            while not future.done() and any(map(self._index, group)):
                time.sleep(_LOOK_AGAIN_SECONDS)  # waiting for the future takes the interpreter lock from its thread
            if future.done():
                refusals.update(zip(group, future.result(), strict=True))
        return [refusals.get(name) for name in names]

    def _reap(self, indexes: Mapping[str, int]) -> list[KernelError | None]:
        reaper = self._idle.get()
        try:
            with as_kernel_error("remove links"):
                return reaper.delete(list(indexes), indexes)
        finally:
            self._idle.put(reaper)
