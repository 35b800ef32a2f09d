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

from towline.kernel import announce, sandboxes_pin, sandboxes_routes, slaves
from towline.kernel.contract import Inside, Sysctl
from towline.kernel.netns import HERE, entered, identity, opened
from towline.kernel.slaves import Slaves
from towline.kernel.veth import Veths
from towline.kernel.veth_leave import Unplugger
from towline.model.desired import Defaults, Interface
from towline.model.errors import KernelError, NotANamespace

# Closing a packet socket waits for a grace period; so many of them share one.
_CLOSERS = 8


class RealSandboxes:
    """Its host side is the network namespace of the thread that makes it."""

    def __init__(self, sysctl: Sysctl) -> None:
        with opened(HERE) as fd:
            self._home = identity(fd)
        ipv6 = sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None
        self._families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        self._veths = Veths(sysctl, ipv6=ipv6)
        self._slaves = Slaves(sysctl, ipv6=ipv6)
        self._unplugger = Unplugger(self._veths.index)
        self._closer = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="close")

    def close(self) -> None:
        self._unplugger.close()
        self._closer.shutdown()
        self._veths.close()
        self._slaves.close()

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
        return sandboxes_pin.pinned(directory)

    def join(self, path: str, interface: Interface) -> None:
        with self._opened(path) as fd:
            if interface.slave is None:
                self._veths.plug(fd, path, interface)
            else:
                self._slaves.plug(fd, path, interface, interface.slave)

    def leave(self, path: str, host_names: Sequence[str]) -> list[KernelError | None]:
        return self._unplugger.remove(host_names)

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
            if identity(fd) == self._home:
                raise NotANamespace(f"{path} is the host's own network namespace: a sandbox needs one of its own")
            yield fd

    @contextmanager
    def _inside(self, path: str) -> Iterator[None]:
        with self._opened(path) as fd, entered(fd, path):
            yield
