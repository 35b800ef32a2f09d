"""Hosts with a WireGuard interface each, driven by our own code, on one cable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.support.netns import Namespace, namespace, veth
from towline.kernel.wireguard import RealWireGuard
from towline.kernel.wireguard_contract import ALIAS, WgDevice, WgPeer, WgState
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.secure import device_name, key_address, node_address, secure_prefix

T = TypeVar("T")
PREFIX = secure_prefix("c" * 25)
MARK = f"{ALIAS}test"


class End:
    """One host: `eth0` with 192.0.2.<number>, an event loop inside, and a key. died: interfaces whose process ended."""

    def __init__(self, number: int, ns: Namespace, *, userspace: bool = True) -> None:
        self.ns = ns
        self.number = number
        self.died: list[str] = []
        self.loop = asyncio.new_event_loop()
        self._thread: threading.Thread = ns.call(self._begin)
        self.wg = self.run(self._open(userspace=userspace))
        self.port = 51820 + 10 * number
        self.address = node_address(PREFIX, str(number))
        self.take(new_private_key())

    def take(self, private: str) -> None:
        """Be the one with this key, at the next port."""
        self.private = private
        self.public = public_key(private)
        self.name = device_name(self.public)
        self.source = key_address(PREFIX, self.public)
        self.port += 1

    def _begin(self) -> threading.Thread:
        """A thread is born in the namespace of the one that makes it."""
        thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        thread.start()
        return thread

    def reopen(self) -> None:
        """As a daemon that was restarted; the one before was closed."""
        self.wg = self.run(self._open(userspace=self.wg.kind != "kernel"))

    async def _open(self, *, userspace: bool) -> RealWireGuard:
        return RealWireGuard(self.died.append, userspace=userspace)

    def run(self, work: Coroutine[Any, Any, T], patience: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(patience)

    @property
    def device(self) -> WgDevice:
        addresses = (f"{self.source}/128", f"{self.address}/128")
        return WgDevice(self.name, MARK, self.private, self.port, 1440, addresses)

    @property
    def as_peer(self) -> WgPeer:
        allowed = (f"{self.source}/128", f"{self.address}/128")
        return WgPeer(self.public, (f"192.0.2.{self.number}", self.port), allowed)

    def make(self) -> None:
        self.run(self.wg.ensure(self.device))

    def meet(self, other: End) -> None:
        self.run(self.wg.set_peers(self.name, [other.as_peer], []))
        self.run(self.wg.set_routes(self.name, self.source, [other.address, other.source], []))

    def state(self) -> WgState | None:
        return self.run(self.wg.read(self.name))

    def pings(self, address: str, patience: float = 3.0) -> bool:
        out = self.ns.run(["ping", "-n", "-c1", f"-W{patience}", address], check=False)
        return " 0% packet loss" in out

    def close(self) -> None:
        self.run(self.wg.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def two_ends(*, userspace: bool = True) -> Iterator[tuple[End, End]]:
    with namespace() as one, namespace() as two:
        veth(one, "eth0", two, "eth0", a_address="192.0.2.1/24", b_address="192.0.2.2/24")
        pair = End(1, one, userspace=userspace), End(2, two, userspace=userspace)
        try:
            yield pair
        finally:
            for end in pair:
                end.close()
