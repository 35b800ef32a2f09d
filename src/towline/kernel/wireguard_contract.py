"""WireGuard interfaces as control sees them. Implementations: the kernel's, wireguard-go's, and a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from towline.model.masked import Masked

ALIAS = "towline:secure:"
"""What the alias of our WireGuard interfaces begins with; the node's id follows."""


class WgPeer(msgspec.Struct, frozen=True):
    """Keys: base64. endpoint: (bare address, UDP port) or None. allowed: CIDR; an address that another peer of the
    device has comes over to this one. keepalive: seconds, 0 none; when it begins, a handshake does."""

    public: str
    endpoint: tuple[str, int] | None = None
    allowed: tuple[str, ...] = ()
    keepalive: int = 0


class WgPeerState(msgspec.Struct, frozen=True):
    """handshake: seconds since the epoch of the last one, 0.0 if there was none. rx, tx: bytes."""

    peer: WgPeer
    handshake: float = 0.0
    rx: int = 0
    tx: int = 0


class WgState(msgspec.Struct, frozen=True):
    """public: base64, "" if it has no key yet. routes: destination address -> bare source address, of our routes."""

    name: str
    alias: str
    up: bool
    mtu: int
    public: str
    port: int
    addresses: tuple[str, ...] = ()
    peers: tuple[WgPeerState, ...] = ()
    routes: dict[str, str] = {}


class WgDevice(Masked, frozen=True):
    """name, alias: of the interface. private: base64. addresses: CIDR."""

    secret = frozenset({"private"})

    name: str
    alias: str
    private: str
    port: int
    mtu: int
    addresses: tuple[str, ...] = ()


class WireGuard(Protocol):
    """In the network namespace of the daemon. Raises KernelError, which names the interface. Calls do not overlap."""

    @property
    def kind(self) -> str:
        """For people: "kernel" or "wireguard-go"."""
        ...

    async def problem(self) -> str:
        """Why no interface can be made on this host, with the remedy; "" if one can be."""
        ...

    async def ensure(self, device: WgDevice) -> None:
        """Make it, or bring an existing one of this name to what is asked, changing only what differs; its peers and
        routes stay. EADDRINUSE: the port is taken. EEXIST: a link of that name is not a WireGuard interface of ours."""
        ...

    async def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None:
        """gone: public keys. What a put says is added to what the peer has; nothing is lost meanwhile."""
        ...

    async def set_routes(self, name: str, source: str, puts: Sequence[str], gone: Sequence[str]) -> None:
        """puts: bare addresses that lead through this interface from now on, with this source; each in one step in
        place of its former way. gone: those that lead nowhere, if they lead through this interface."""
        ...

    async def block(self, prefix: str) -> None:
        """What no interface of ours has a route for is refused, and not sent elsewhere."""
        ...

    async def unblock(self, prefix: str) -> None: ...
    async def read(self, name: str) -> WgState | None:
        """None if there is no such interface."""
        ...

    async def remove(self, name: str) -> None:
        """Absent is no error."""
        ...

    async def ours(self) -> list[tuple[str, str]]:
        """(name, alias) of all interfaces with our mark."""
        ...

    async def close(self) -> None:
        """Interfaces of the kernel stay, those of wireguard-go go."""
        ...
