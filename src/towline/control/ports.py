"""Which host ports a sandbox's bindings get, and holding them (docker-api facts 5.2).

A binding without a host address takes the same port on all addresses of every family for which the sandbox has a
gateway. Ports are a sandbox's from start to stop, wherever its gateway moves.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from towline.model.endpoint import Published
from towline.model.errors import Failure, KernelError
from towline.model.sandbox import PortBinding

ATTEMPTS = 10  # moby drivers/bridge/port_mapping_linux.go maxAllocatePortAttempts


class PortSockets(Protocol):
    """`kernel.ports.HeldPorts`, or a fake."""

    def hold(self, protocol: str, host_ip: str, port: int) -> None: ...
    def release(self, protocol: str, host_ip: str, port: int) -> None: ...
    def holds(self, protocol: str, host_ip: str, port: int) -> bool: ...
    def ephemeral_range(self) -> tuple[int, int]: ...
    def reserved(self) -> frozenset[int]: ...


class Families(NamedTuple):
    ipv4: bool
    ipv6: bool


class Granted(NamedTuple):
    """published: all that was asked for. added: what of it is new, each with its binding, for `Ports.give_back`."""

    published: tuple[Published, ...]
    added: tuple[tuple[PortBinding, Published], ...]


NO_PORTS = Granted((), ())

Holdings = dict[PortBinding, dict[str, Published]]
"""What a sandbox holds: by binding, by host address."""


class Ports:
    """default_ip: the host address of IPv4 bindings without one (--ip)."""

    def __init__(self, sockets: PortSockets, *, default_ip: str = "0.0.0.0") -> None:
        self._sockets = sockets
        self._default_ip = default_ip
        self._held: dict[str, Holdings] = {}
        self._last = 0

    def extend(self, sandbox: str, bindings: Sequence[PortBinding], families: Families) -> Granted:
        """Hold what the bindings need for these families, beyond what the sandbox holds; all or nothing of the new.

        Answers the published ports of these families, in the order of the bindings. Failure with Docker's text.
        """
        held = self._held.setdefault(sandbox, {})
        added: list[tuple[PortBinding, Published]] = []
        answer: list[Published] = []
        try:
            for binding in bindings:
                addresses = list(self._addresses(binding, families))
                own = held.setdefault(binding, {})
                for published in self._take(binding, [a for a in addresses if a not in own], own):
                    own[published.host_ip] = published
                    added.append((binding, published))
                answer += [own[address] for address in addresses]
        except BaseException:
            self.give_back(sandbox, added)
            raise
        return Granted(tuple(answer), tuple(added))

    def give_back(self, sandbox: str, added: Iterable[tuple[PortBinding, Published]]) -> None:
        """What one `extend` added, and nothing else. What the sandbox does not hold any more is no error."""
        held = self._held.get(sandbox, {})
        for binding, published in added:
            if held.get(binding, {}).get(published.host_ip) == published:
                del held[binding][published.host_ip]
                self._let_go(published)

    def keep(self, sandbox: str, bindings: Iterable[PortBinding]) -> None:
        """And let go of what it holds by other bindings."""
        held, kept = self._held.get(sandbox, {}), set(bindings)
        for binding in [b for b in held if b not in kept]:
            for published in held.pop(binding).values():
                self._let_go(published)

    def restore(
        self, sandbox: str, bindings: Sequence[PortBinding], published: Iterable[Published]
    ) -> list[KernelError]:
        """Hold again after a restart what the records say; goes on where somebody took a port meanwhile."""
        held = self._held.setdefault(sandbox, {})
        unmatched = _Unmatched(bindings)
        errors: list[KernelError] = []
        for port in published:
            binding = next((b for b in unmatched.fitting(port) if port.host_ip not in held.get(b, {})), None)
            if binding is None:
                continue
            held.setdefault(binding, {})[port.host_ip] = port
            try:
                self._sockets.hold(port.protocol, port.host_ip, port.host_port)
            except KernelError as error:
                errors.append(error)
        return errors

    def release(self, sandbox: str) -> None:
        for of_binding in self._held.pop(sandbox, {}).values():
            for published in of_binding.values():
                self._let_go(published)

    def _let_go(self, published: Published) -> None:
        self._sockets.release(published.protocol, published.host_ip, published.host_port)

    def _addresses(self, binding: PortBinding, families: Families) -> Iterator[str]:
        if binding.host_ip:
            if families.ipv6 if ":" in binding.host_ip else families.ipv4:
                yield binding.host_ip
            return
        if families.ipv4:
            yield self._default_ip
        if families.ipv6 and self._default_ip == "0.0.0.0":
            yield "::"

    def _take(self, binding: PortBinding, addresses: Sequence[str], own: Mapping[str, Published]) -> list[Published]:
        """One port for all addresses: the one another family has already, else the first that is free everywhere."""
        if not addresses:
            return []
        sibling = next((published.host_port for published in own.values()), 0)
        refusal: KernelError | None = None
        for number in [sibling] if sibling else self._candidates(binding):
            refusal = self._hold_all(binding, addresses, number)
            if refusal is None:
                return [Published(binding.protocol, address, number, binding.port) for address in addresses]
        raise self._failure(binding, addresses[0], refusal)

    def _hold_all(self, binding: PortBinding, addresses: Sequence[str], number: int) -> KernelError | None:
        taken: list[str] = []
        try:
            for address in addresses:
                self._sockets.hold(binding.protocol, address, number)
                taken.append(address)
        except BaseException as error:
            for address in taken:
                self._sockets.release(binding.protocol, address, number)
            if isinstance(error, KernelError):
                return error
            raise
        return None

    def _candidates(self, binding: PortBinding) -> Iterator[int]:
        if binding.host_port:
            yield from range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1)
            return
        low, high = self._sockets.ephemeral_range()
        reserved = self._sockets.reserved()
        size = high - low + 1
        start = self._last + 1 - low if low <= self._last < high else 0
        free = (low + (start + i) % size for i in range(size))
        for _, self._last in zip(range(ATTEMPTS), (p for p in free if p not in reserved), strict=False):
            yield self._last

    def _failure(self, binding: PortBinding, address: str, refusal: KernelError | None) -> Failure:
        if refusal is None or not binding.host_port or binding.host_port_end > binding.host_port:
            return Failure("all ports are allocated" + (f": {refusal}" if refusal else ""))
        shown = f"[{address}]" if ":" in address else address
        if refusal.errno == errno.EADDRINUSE and self._sockets.holds(binding.protocol, address, binding.host_port):
            return Failure(f"Bind for {shown}:{binding.host_port} failed: port is already allocated")
        where = f"{shown}:{binding.host_port}/{binding.protocol}"
        detail = f" ({refusal.detail})" if refusal.detail else ""
        return Failure(f"failed to bind host port {where}: {refusal.reason}{detail}")


class _Unmatched:
    """Bindings that no published port has been found for yet: on each host address, in their order."""

    def __init__(self, bindings: Iterable[PortBinding]) -> None:
        self._of_service: dict[tuple[int, str], dict[PortBinding, None]] = {}
        self._waiting: dict[tuple[int, str, str], deque[PortBinding]] = {}
        for binding in bindings:
            self._of_service.setdefault((binding.port, binding.protocol), {})[binding] = None

    def fitting(self, published: Published) -> Iterator[PortBinding]:
        """Each is taken off when it is given."""
        service, address = (published.port, published.protocol), published.host_ip
        waiting = self._waiting.get((*service, address))
        if waiting is None:
            fitting = (b for b in self._of_service.get(service, ()) if b.host_ip in ("", address))
            waiting = self._waiting[(*service, address)] = deque(fitting)
        while waiting:
            yield waiting.popleft()
