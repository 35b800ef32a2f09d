"""The `Sandboxes` contract on the real kernel.

Call it from a dedicated worker thread that is at home in the daemon's own network namespace: it enters others for the
length of a call (`netns`). The daemon's own namespace is refused as a sandbox, so that nothing meant for a sandbox can
ever land on the host.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec

from towline.kernel import announce, sandboxes_pin, sandboxes_routes, slaves
from towline.kernel.apart import Apart
from towline.kernel.contract import Inside, Sysctl
from towline.kernel.netns import HERE, entered, identity, opened
from towline.kernel.slaves import Slaves
from towline.kernel.veth import Veths
from towline.kernel.veth_leave import Unplugger
from towline.model.desired import Defaults, Interface, is_apart, kernel_name
from towline.model.errors import KernelError, NotANamespace

# Closing a packet socket waits for a grace period; so many of them share one.
_CLOSERS = 8


class _Side:
    """Where host ends are. Works in the network namespace of the thread that makes it."""

    def __init__(self, sysctl: Sysctl, *, ipv6: bool) -> None:
        self.veths = Veths(sysctl, ipv6=ipv6)
        self.unplugger = Unplugger(self.veths.probe)

    def close(self) -> None:
        self.unplugger.close()
        self.veths.close()


class RealSandboxes:
    """Its host side is the network namespace of the thread that makes it, and that for overlay networks, if there is
    one."""

    def __init__(self, sysctl: Sysctl, place: Apart | None = None) -> None:
        with opened(HERE) as fd:
            self._not_ours = {identity(fd): "the host's own network namespace"}
        ipv6 = sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None
        self._families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        self._slaves = Slaves(sysctl, ipv6=ipv6)
        self._here = self._there = _Side(sysctl, ipv6=ipv6)
        self._place = place
        if place is not None:
            self._not_ours[place.identity] = "the network namespace for overlay networks"
            self._there = place.make(_Side, sysctl, ipv6=ipv6)
        self._closer = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="close")

    def close(self) -> None:
        self._closer.shutdown()
        self._slaves.close()
        for side in {self._here, self._there}:
            side.close()

    def make(self, path: str) -> None:
        sandboxes_pin.make(path)

    def adopt(self, path: str, source: str) -> None:
        with self._opened(source):
            sandboxes_pin.adopt(path, source)

    def identity(self, path: str) -> tuple[int, int]:
        with opened(path) as fd:
            return identity(fd)

    def drop(self, path: str) -> None:
        sandboxes_pin.drop(path)

    def pinned(self, directory: str) -> list[str]:
        return [path for path in sandboxes_pin.pinned(directory) if self._place is None or path != self._place.path]

    def join(self, path: str, interface: Interface) -> None:
        side, named = self._where(interface)
        with self._opened(path) as fd:
            if interface.slave is None:
                side.veths.plug(fd, path, named)
            else:
                self._slaves.plug(fd, path, interface, interface.slave)

    def resize(self, path: str, interface: Interface) -> None:
        side, named = self._where(interface)
        with self._opened(path) as fd:
            side.veths.resize(fd, path, named)

    def _where(self, interface: Interface) -> tuple[_Side, Interface]:
        """Where its host end is, and the names that links have there."""
        host, bridge = kernel_name(interface.host_name), kernel_name(interface.bridge)
        side = self._there if is_apart(interface.bridge) else self._here
        return side, msgspec.structs.replace(interface, host_name=host, bridge=bridge)

    def leave(self, path: str, host_names: Sequence[str]) -> list[KernelError | None]:
        found: dict[str, KernelError | None] = {}
        for side, apart in ((self._here, False), (self._there, True)):
            names = [name for name in host_names if is_apart(name) is apart]
            found.update(zip(names, side.unplugger.remove([kernel_name(n) for n in names]), strict=True))
        return [found[name] for name in host_names]

    def remove(self, path: str, interfaces: Sequence[Interface]) -> list[KernelError | None]:
        with self._inside(path):
            return slaves.remove(interfaces)

    def set_defaults(self, path: str, defaults: Defaults) -> None:
        with self._inside(path):
            sandboxes_routes.set_defaults(defaults, self._families)

    def look(self, path: str) -> Inside:
        with self._inside(path):
            return sandboxes_routes.look(self._families)

    def announce(self, path: str, interface: Interface) -> None:
        used: list[socket.socket] = []
        try:
            with self._inside(path):
                announce.send(interface, used.append)
        finally:
            for sock in used:  # out here: a thread that starts inside would stay there and hold the namespace
                self._closer.submit(sock.close)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        with opened(path) as fd:
            if (whose := self._not_ours.get(identity(fd))) is not None:
                raise NotANamespace(f"{path} is {whose}: a sandbox needs one of its own")
            yield fd

    @contextmanager
    def _inside(self, path: str) -> Iterator[None]:
        with self._opened(path) as fd, entered(fd, path):
            yield
