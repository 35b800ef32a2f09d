"""Host ports without a host."""

from __future__ import annotations

import errno
from collections.abc import Collection

from towline.model.errors import KernelError


class FakeSockets:
    """foreign: ports that other processes have, (protocol, port)."""

    def __init__(self, foreign: Collection[tuple[str, int]] = (), reserved: frozenset[int] = frozenset()) -> None:
        self.held: set[tuple[str, str, int]] = set()
        self.foreign = set(foreign)
        self._reserved = reserved

    def hold(self, protocol: str, host_ip: str, port: int) -> None:
        if (protocol, port) in self.foreign:
            raise KernelError(errno.EADDRINUSE, "bind", "held by process 7 (httpd)")
        if (protocol, host_ip, port) in self.held:
            raise KernelError(errno.EADDRINUSE, "bind")
        self.held.add((protocol, host_ip, port))

    def release(self, protocol: str, host_ip: str, port: int) -> None:
        self.held.discard((protocol, host_ip, port))

    def holds(self, protocol: str, host_ip: str, port: int) -> bool:
        return (protocol, host_ip, port) in self.held

    def ephemeral_range(self) -> tuple[int, int]:
        return 32768, 32775

    def reserved(self) -> frozenset[int]:
        return self._reserved
