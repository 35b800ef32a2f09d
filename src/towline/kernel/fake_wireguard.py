"""A stateful fake of the `WireGuard` contract, with named faults."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from msgspec.structs import replace

from towline.kernel.faults import Faults
from towline.kernel.wireguard_contract import WgDevice, WgPeer, WgPeerState, WgState
from towline.model.errors import KernelError


class FakeWireGuard:
    """devices: by name; may be changed at will, as may `blocked` (prefixes), `broken` (what `problem` answers) and
    `taken` (UDP ports of others).

    Fault steps, named by the interface: "ensure", "set_peers", "set_routes", "read", "remove"; by the prefix "block".
    """

    kind = "fake"

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.devices: dict[str, WgState] = {}
        self.privates: dict[str, str] = {}
        self.blocked: set[str] = set()
        self.taken: set[int] = set()
        self.broken = ""
        self.closed = False

    async def problem(self) -> str:
        return self.broken

    async def ensure(self, device: WgDevice) -> None:
        operation = f"make WireGuard interface {device.name}"
        self._check("ensure", device.name, operation)
        known = self.devices.get(device.name)
        if device.port in self.taken | {each.port for each in self.devices.values() if each.name != device.name}:
            raise KernelError(errno.EADDRINUSE, operation)
        if known is not None and known.alias not in ("", device.alias):
            raise KernelError(errno.EEXIST, operation)
        state = known or WgState(device.name, "", False, 0, "", 0)
        self.privates[device.name] = device.private
        self.devices[device.name] = replace(
            state,
            alias=device.alias,
            up=True,
            mtu=device.mtu,
            public=_public(device.private),
            port=device.port,
            addresses=tuple(dict.fromkeys((*state.addresses, *device.addresses))),
        )

    async def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None:
        operation = f"configure WireGuard interface {name}"
        self._check("set_peers", name, operation)
        state = self._find(name, operation)
        peers = {each.peer.public: each for each in state.peers if each.peer.public not in gone}
        for put in puts:
            peers = {public: _without(each, put) for public, each in peers.items()}
            known = peers.get(put.public, WgPeerState(WgPeer(put.public)))
            allowed = tuple(dict.fromkeys((*known.peer.allowed, *put.allowed)))
            endpoint = put.endpoint or known.peer.endpoint
            peers[put.public] = replace(known, peer=WgPeer(put.public, endpoint, allowed, put.keepalive))
        self.devices[name] = replace(state, peers=tuple(peers.values()))

    async def set_routes(self, name: str, source: str, puts: Sequence[str], gone: Sequence[str]) -> None:
        operation = f"set routes of WireGuard interface {name}"
        self._check("set_routes", name, operation)
        self._find(name, operation)
        for other, state in list(self.devices.items()):
            lost = {*puts, *(gone if other == name else ())}
            routes = {address: by for address, by in state.routes.items() if address not in lost}
            if other == name:
                routes |= dict.fromkeys(puts, source)
            self.devices[other] = replace(state, routes=routes)

    async def block(self, prefix: str) -> None:
        self._check("block", prefix, f"refuse what is sent to {prefix}")
        self.blocked.add(prefix)

    async def unblock(self, prefix: str) -> None:
        self.blocked.discard(prefix)

    async def read(self, name: str) -> WgState | None:
        self._check("read", name, f"read WireGuard interface {name}")
        return self.devices.get(name)

    async def remove(self, name: str) -> None:
        self._check("remove", name, f"delete WireGuard interface {name}")
        self.devices.pop(name, None)

    async def ours(self) -> list[tuple[str, str]]:
        return [(state.name, state.alias) for state in self.devices.values()]

    async def close(self) -> None:
        self.closed = True

    def shake(self, name: str, when: float, *publics: str) -> None:
        """Handshakes took place, with these peers or all."""
        state = self.devices[name]
        peers = tuple(
            replace(each, handshake=when) if not publics or each.peer.public in publics else each
            for each in state.peers
        )
        self.devices[name] = replace(state, peers=peers)

    def _check(self, verb: str, name: str, operation: str) -> None:
        if refused := self.faults.check(verb, name, operation):
            raise refused

    def _find(self, name: str, operation: str) -> WgState:
        if name not in self.devices:
            raise KernelError(errno.ENODEV, operation)
        return self.devices[name]


def _without(state: WgPeerState, put: WgPeer) -> WgPeerState:
    """An address belongs to one peer of a device."""
    if state.peer.public == put.public:
        return state
    allowed = tuple(cidr for cidr in state.peer.allowed if cidr not in put.allowed)
    return replace(state, peer=replace(state.peer, allowed=allowed))


def _public(private: str) -> str:
    from towline.kernel.wireguard_keys import public_key

    return public_key(private)
