"""Encrypted networks on this node: its keys, its WireGuard interfaces, and who is a peer of them.

There is one interface per key, and only while an encrypted network has an endpoint here. All is compared with what it
should be after each change and every few seconds, and nothing is remembered that a restart would miss: keys are in a
file. docs/design/encryption.md has the whole picture.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from towline.control import secure_plan as planning
from towline.control.secure_devices import SecureDevices
from towline.control.secure_keys import SecureKeys
from towline.control.secure_memory import SecureMemory
from towline.control.secure_plan import Plan
from towline.drivers.overlay import ENCRYPTED
from towline.kernel.wireguard_contract import WgState, WireGuard
from towline.model.cluster import Node, Underlay
from towline.model.errors import Failure, TowlineError, Unavailable
from towline.model.network import SWARM, Network
from towline.model.secure import HeldKey, KeyFile, SecureKey, secure_prefix
from towline.model.view import View
from towline.plan.presence import is_present

log = logging.getLogger(__name__)

_CALM, _BUSY, _LEAST = 5.0, 0.5, 0.1
"""Seconds between two comparisons: WireGuard tells nobody of handshakes and of changes. Busy: while keys change. Least:
whatever notifications come."""
_GRACE = 30.0
"""Seconds that nothing may have come by an old key before it goes; less where keys change often."""
_JOINING = 30.0
"""Seconds that a network counts as present from the beginning of a join on, and a node as sharing one from the first
word of an endpoint there on."""


class Encryption:
    """Event loop only. set_links: lets the firewall know the names of this node's interfaces. repaired: told how much
    was set right that nobody here had changed. rotation: seconds that a key is in use. clock: seconds since
    the epoch."""

    def __init__(
        self,
        view: View,
        open_wireguard: Callable[[Callable[[str], None]], WireGuard],
        *,
        underlay: Callable[[], Underlay | None],
        set_links: SecureDevices.SetLinks,
        memory: SecureMemory,
        repaired: Callable[[int], None] = lambda _: None,
        rotation: float = 12 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.trouble = ""
        self._view = view
        self._open = open_wireguard
        self._underlay = underlay
        self._set_links = set_links
        self._memory = memory
        self._informed = False
        self._repaired = repaired
        self._rotation = rotation
        self._clock = clock
        self._node = self._prefix = ""
        self._wireguard: WireGuard | None = None
        self._devices: SecureDevices | None = None
        self._keys: SecureKeys | None = None
        self._nodes: Mapping[str, Node] = {}
        self._alive: Collection[str] = ()
        self._sharing: dict[str, set[str]] = {}
        self._joining: dict[str, float] = {}
        self._coming: dict[str, float] = {}
        self._kicked = asyncio.Event()
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # life

    def restore(self, node: str, cluster: str, file: KeyFile, changed: Callable[[], None]) -> None:
        """This node is in that cluster. changed: called when `keys` are others."""
        self._node, self._prefix = node, secure_prefix(cluster)
        self._nodes = self._memory.nodes()
        self._keys = SecureKeys(
            file, changed, rotation=self._rotation, grace=min(_GRACE, self._rotation / 100), clock=self._clock
        )
        self._wireguard = wireguard = self._open(lambda _: self.kick())
        self._devices = SecureDevices(
            wireguard, node, self._prefix, self._keys, self._set_links, clock=self._clock, repaired=self._repaired
        )

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="encryption")

    async def close(self) -> None:
        """The daemon ends: interfaces of the kernel go on."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._wireguard is not None:
            await self._wireguard.close()
            self._wireguard = None

    async def leave(self) -> None:
        """This node is in no cluster any more: nothing is left. What the kernel refuses is told, and left to the sweep
        of what the store knows nothing of: a node that has left must not be stopped half-way."""
        devices, self._devices = self._devices, None
        if devices is not None:
            async with self._one:
                try:
                    await devices.take_down(everything=True)
                except TowlineError as error:
                    log.error("encryption could not be taken down", extra={"fields": {"error": str(error)}})
        await self.close()
        self._keys, self._nodes, self._alive, self.trouble, self._informed = None, {}, (), "", False
        await self._memory.keep({})
        self._sharing.clear()
        self._joining.clear()
        self._coming.clear()

    # what others ask

    def keys(self) -> tuple[SecureKey, ...]:
        """What the cluster must know of them; the first is the one to send to."""
        return self._keys.published() if self._keys is not None else ()

    def links(self) -> dict[str, str]:
        """Name -> alias of the interfaces that may be here."""
        return self._devices.links() if self._devices is not None else {}

    def touched(self, name: str) -> bool:
        """A link of this name has changed. False: nobody else has to look after it."""
        if name in self.links():
            self.kick()
        return False

    def kick(self) -> None:
        """Compare soon."""
        self._kicked.set()

    def routes_changed(self) -> None:
        """Perhaps ours."""
        if self._sharing:
            self.kick()

    def rotate(self) -> None:
        """Begin with a new key now. Unavailable while this node has none, or changes it already."""
        if self._keys is None or not self._keys.held:
            raise Unavailable("this node has no encryption key: no encrypted network can be joined here")
        self._keys.rotate()
        self.kick()

    # what happens

    def hear(self, nodes: Mapping[str, Node], alive: Collection[str]) -> None:
        """All nodes of the cluster, as they are; alive: ids, a live view."""
        if not nodes:
            return
        before, self._nodes, self._alive, self._informed = self._nodes, dict(nodes), alive, True
        if {key: (n.secure, n.data_path) for key, n in before.items()} != {
            key: (n.secure, n.data_path) for key, n in nodes.items()
        }:
            self.kick()

    def local_change(self, network_id: str) -> None:
        """An endpoint of this node on a global network came, changed or went."""
        network = self._view.network(network_id)
        needed = network is not None and is_encrypted(network) and is_present(self._view, network_id)
        if needed != (network_id in self._sharing):
            self.kick()

    async def meet(self, network_id: str, nodes: Collection[str]) -> None:
        """Before rows lead to these nodes."""
        known = self._sharing.get(network_id)
        if known is not None and not known.issuperset(nodes):
            until = asyncio.get_running_loop().time() + _JOINING
            self._coming.update(dict.fromkeys(nodes, until))
            await self._try()

    async def admit(self, network: Network) -> None:
        """Before an endpoint joins an encrypted network. Failure, with Docker's text, if it cannot be encrypted."""
        if not is_encrypted(network):
            return
        try:
            why = "this node is in no cluster"
            if self._wireguard is not None:
                self._joining[network.id] = asyncio.get_running_loop().time() + _JOINING
                why = await self._wireguard.problem()
                if not why:
                    await self._settle()
        except TowlineError as error:
            why = str(error)
        if why:
            self._joining.pop(network.id, None)
            raise Failure(
                f"cannot attach to network {network.name}: cannot join secure network: encryption keys not present"
                f" ({why})"
            )

    # comparing

    async def _run(self) -> None:
        while True:
            self._kicked.clear()
            try:
                busy = await self._try()
            except Exception as error:
                self.trouble = f"encryption has failed: {error!r}"
                log.exception("encryption has failed: it is tried again")
                busy = False
            await asyncio.sleep(_LEAST)
            with suppress(TimeoutError):
                async with asyncio.timeout(_BUSY if busy else _CALM):
                    await self._kicked.wait()

    async def _try(self) -> bool:
        try:
            return await self._settle()
        except TowlineError as error:
            if self.trouble != str(error):
                log.error("encrypted networks are not as they should be", extra={"fields": {"error": str(error)}})
            self.trouble = str(error)
            return False

    async def _settle(self) -> bool:
        """Whether keys are changing."""
        async with self._one:
            devices, keys, wireguard = self._devices, self._keys, self._wireguard
            if devices is None or keys is None or wireguard is None:
                return False
            if self._informed:
                await self._memory.keep(self._nodes)
            if not keys.held and not await wireguard.problem():
                keys.begin()
            await devices.announce()
            self._sharing = self._sharing_now()
            if not self._sharing or not keys.held:
                await devices.take_down()
                keys.idle()
                self.trouble = await wireguard.problem() if self._sharing else ""
                return False
            plan = self._plan(keys.held)
            states = await devices.settle(plan, self._underlay())
            if self._informed and keys.step(plan, states, excused=self._excused()):
                plan = self._plan(keys.held)
                states = await devices.settle(plan, self._underlay())
            self.trouble = self._told(plan, states, devices)
            return len(keys.held) > 1

    def _plan(self, held: tuple[HeldKey, ...]) -> Plan:
        everybody = set(self._coming).union(*self._sharing.values()) - {self._node}
        return planning.plan(self._prefix, self._node, held, self._nodes, everybody)

    def _sharing_now(self) -> dict[str, set[str]]:
        """Encrypted networks that are present here, or about to be -> nodes with endpoints on them."""
        now = asyncio.get_running_loop().time()
        waiting = {key: until for key, until in self._joining.items() if until > now}
        self._joining = {key: until for key, until in waiting.items() if not is_present(self._view, key)}
        self._coming = {key: until for key, until in self._coming.items() if until > now}
        here = [
            network.id
            for network in list(self._view.networks())
            if is_encrypted(network) and (network.id in self._joining or is_present(self._view, network.id))
        ]
        return {network_id: {peer.node for peer in self._view.peers_of(network_id)} for network_id in here}

    def _excused(self) -> set[str]:
        """Keys of nodes that are down: nobody waits for them."""
        return {key.public for node in self._nodes.values() if node.id not in self._alive for key in node.secure}

    def _told(self, plan: Plan, states: Mapping[str, WgState], devices: SecureDevices) -> str:
        """What an operator should know, the same words as long as it is the same."""
        keyless = [self._name(node) for node in plan.keyless if node in self._alive]
        of = {key.public: node for node in self._nodes.values() for key in node.secure}
        unheard = [
            self._name(of[public].id)
            for public in devices.unheard(plan, states)
            if public in of and of[public].id in self._alive
        ]
        words = [f"no encryption key of node {', '.join(sorted(keyless))}"] if keyless else []
        if unheard:
            words.append(
                f"no encrypted handshake with node {', '.join(sorted(unheard))} (another key, or UDP is blocked)"
            )
        return "; ".join(words)

    def _name(self, node: str) -> str:
        return (self._nodes[node].description.hostname if node in self._nodes else "") or node[:12]


def is_encrypted(network: Network) -> bool:
    return network.scope == SWARM and ENCRYPTED in network.options
