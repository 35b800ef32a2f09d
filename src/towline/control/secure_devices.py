"""This node's WireGuard interfaces: compared with what they should be, and set right."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import chain

from towline.control.secure_keys import SecureKeys
from towline.control.secure_plan import Plan, changes, route_changes, unheard
from towline.kernel.wireguard_contract import ALIAS, WgDevice, WgState, WireGuard
from towline.model.cluster import Underlay
from towline.model.errors import KernelError
from towline.model.secure import DEVICE_OVERHEAD, LEAST_MTU, HeldKey, key_address, node_address

log = logging.getLogger(__name__)


class SecureDevices:
    """repaired: told how much was set right that nobody here had changed."""

    SetLinks = Callable[[Collection[str]], Awaitable[None]]

    def __init__(
        self,
        wireguard: WireGuard,
        node: str,
        prefix: str,
        keys: SecureKeys,
        set_links: SetLinks,
        *,
        clock: Callable[[], float],
        repaired: Callable[[int], None],
    ) -> None:
        self._wireguard = wireguard
        self._prefix = prefix
        self._alias = f"{ALIAS}{node}"
        self._address = node_address(prefix, node)
        self._keys = keys
        self._set_links = set_links
        self._clock = clock
        self._repaired = repaired
        self._made: dict[str, WgDevice] = {}
        self._planned: dict[str, object] = {}
        self._told: dict[str, dict[str, tuple[str, int]]] = {}
        self._since: dict[str, dict[str, float]] = {}
        self._swept = False

    def links(self) -> dict[str, str]:
        return dict.fromkeys((key.name for key in self._keys.held), self._alias)

    async def take_down(self, *, everything: bool = False) -> None:
        """No encrypted network is here. everything: nothing is left, for good."""
        if self._made or not self._swept or everything:
            await self._remove_others(())
            await self._wireguard.unblock(self._prefix)
        if everything:
            await self._set_links(())

    async def announce(self) -> None:
        """To the firewall, before there are interfaces: those that may come."""
        await self._set_links(list(self.links()))

    async def settle(self, plan: Plan, underlay: Underlay | None) -> dict[str, WgState]:
        """The state of each interface, by name. KernelError, Failure; what could be done is done.

        What may go out, and what is refused, is settled before there is an interface.
        """
        await self._wireguard.block(self._prefix)
        held = self._keys.held
        await self.announce()
        states: dict[str, WgState] = {}
        for key in held:
            if key.name in plan.peers:
                states[key.name] = await self._interface(key, plan, underlay, in_use=key is held[0])
        if not self._swept or self._made.keys() - states.keys():
            await self._remove_others(states)
        return states

    async def _remove_others(self, kept: Collection[str]) -> None:
        for name, _ in await self._wireguard.ours():
            if name not in kept:
                await self._wireguard.remove(name)
        for known in (self._made, self._planned, self._told, self._since):
            for name in [name for name in known if name not in kept]:
                known.pop(name)
        self._swept = True

    async def _interface(self, key: HeldKey, plan: Plan, underlay: Underlay | None, *, in_use: bool) -> WgState:
        name, wanted = key.name, plan.peers[key.name]
        state = await self._device(key, underlay)
        puts, gone = changes(wanted, state, self._clock(), self._told.get(name, {}))
        source = key_address(self._prefix, key.public)
        ways, strays = route_changes(plan.ways if in_use else (), source, state)
        if puts or gone:
            if gone:
                await self._wireguard.set_peers(name, (), gone)
            await self._wireguard.set_peers(name, puts, ())
            self._told[name] = {peer.public: peer.endpoint for peer in wanted.values() if peer.endpoint is not None}
        if ways or strays:
            await self._wireguard.set_routes(name, source, ways, strays)
        now, since = self._clock(), self._since.get(name, {})
        self._since[name] = {public: since.get(public, now) for public in wanted}
        planned = (wanted, plan.ways, in_use)
        if (puts or gone or ways or strays) and self._planned.get(name) == planned:
            log.warning("peers of a WireGuard interface were set right", extra={"fields": {"link": name}})
            self._repaired(1)
        self._planned[name] = planned
        return state

    async def _device(self, key: HeldKey, underlay: Underlay | None) -> WgState:
        while True:
            device = self._wanted(key, underlay)
            state = await self._wireguard.read(key.name)
            if state is not None and _is_right(device, state):
                self._made[key.name] = device
                return state
            if self._made.get(key.name) == device:
                log.warning("a WireGuard interface was set right", extra={"fields": {"link": key.name}})
                self._repaired(1)
                self._planned.pop(key.name, None)
            try:
                await self._wireguard.ensure(device)
            except KernelError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                key = self._keys.move(key)
                continue
            self._made[key.name] = device
            state = await self._wireguard.read(key.name)
            if state is None:
                raise KernelError(errno.ENODEV, f"read WireGuard interface {key.name}")
            return state

    def _wanted(self, key: HeldKey, underlay: Underlay | None) -> WgDevice:
        uplink = underlay or Underlay("")
        mtu = max(LEAST_MTU, uplink.mtu - DEVICE_OVERHEAD[6 if ":" in uplink.local else 4])
        source = key_address(self._prefix, key.public)
        addresses = (f"{source}/128", f"{self._address}/128")
        return WgDevice(key.name, self._alias, key.private, key.port, mtu, addresses)

    def unheard(self, plan: Plan, states: Mapping[str, WgState]) -> list[str]:
        """Public keys of others that no handshake was made with for too long, on the interface in use, or on the one
        that is to take its place: a change of keys waits for them."""
        names = [key.name for key in self._keys.held if key.name in states and key.name in plan.peers]
        found = (unheard(plan.peers[name], states[name], self._clock(), self._since.get(name, {})) for name in names)
        return list(dict.fromkeys(chain.from_iterable(found)))


def _is_right(device: WgDevice, state: WgState) -> bool:
    from towline.kernel.wireguard_keys import public_key

    found = (state.alias, state.up, state.mtu, state.public, state.port)
    wanted = (device.alias, True, device.mtu, public_key(device.private), device.port)
    return found == wanted and set(device.addresses) <= set(state.addresses)
