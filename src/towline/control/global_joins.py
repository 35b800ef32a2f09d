"""What joining a global network needs of the cluster: the others' endpoints, and blocks to take addresses from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.control.collaborators import Seat
from towline.control.parts import Parts
from towline.ipam.contract import LeaseBook
from towline.ipam.errors import BlockNeeded, PartNeeded
from towline.ipam.handles import pool_id, pool_of
from towline.ipam.prefix import parse_address, parse_prefix
from towline.ipam.registry import IpamDrivers
from towline.model.cluster import Block
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, TowlineError, Unavailable
from towline.model.network import SWARM, Lease, Network
from towline.model.view import View
from towline.plan.presence import is_present
from towline.policy.endpoint import check_joinable

ATTEMPTS = 8
"""How often a join is planned anew because other joins took the addresses of the block that was leased for it."""


class GlobalJoins:
    """Event loop only. ensure_gateway: make the network by which they get out, if it is not there. parts: makes this
    host's own part of a network whose driver knows one host only. admit: see to it that what a network needs besides
    is here, or say why it cannot be joined (`control.encryption`)."""

    def __init__(
        self,
        view: View,
        ipams: IpamDrivers,
        seat: Seat,
        ensure_gateway: Callable[[], Awaitable[None]],
        parts: Parts,
        admit: Callable[[Network], Awaitable[None]] | None = None,
    ) -> None:
        self._admit = admit
        self._view = view
        self._ipams = ipams
        self._seat = seat
        self._ensure_gateway = ensure_gateway
        self._parts = parts
        self._returning: dict[str, asyncio.Task[None]] = {}

    def blocks(self, network: Network) -> tuple[Block, ...] | None:
        """Those that addresses may be taken from; None where the network's addresses need none."""
        if self._book(network) is None:
            return None
        if self._seat.cluster.fenced:
            raise Unavailable(
                f"no address on network {network.name}: the managers have not heard of this node for so long that its"
                " addresses may be given to others; see `towline cluster status`, and try again when one is reached"
            )
        return tuple(block for block in self._view.blocks_of(network.id) if block.id not in self._returning)

    async def prepare(self, network: Network) -> None:
        """Before an endpoint of a sandbox that runs joins it."""
        if network.scope != SWARM:
            return
        if not network.internal and not self._parts.needed(network) and network.whole is None:
            await self._ensure_gateway()
        if not is_present(self._view, network.id):
            await self._seat.cluster.prepare(network.id)
            if self._admit is not None:
                await self._admit(network)

    async def attempt(self, change: Callable[[], Awaitable[None]]) -> None:
        """Make the change; when it needs a block, lease one and make it anew; so where it needs a part of this host.
        Raises what the change raises otherwise, what `GlobalNetworks.need_block` and `Parts.make` raise."""
        leased: list[Block] = []
        made: list[str] = []
        try:
            for _ in range(ATTEMPTS):
                try:
                    await change()
                    return
                except BlockNeeded as needed:
                    leased.append(await self._lease(needed))
                except PartNeeded as needed:
                    made.append(needed.network.id)
                    await self._parts.make(needed.network.id)
            raise Unavailable("addresses are taken by others as fast as they are leased: try again")
        finally:
            for block in leased:
                self._return_if_unused(block)
            for network_id in made:
                self._parts.drop_if_unused(network_id)

    def require_part(self, network: Network) -> None:
        """While planning, before anything is asked of the network's subnets. PartNeeded: see `attempt`."""
        if self._parts.needed(network):
            check_joinable(network)
            raise PartNeeded(network)

    def drop_unused_parts(self) -> None:
        """After a start: a join that was cut short may have left some."""
        for network in list(self._view.networks()):
            if network.whole is not None:
                self._parts.drop_if_unused(network.id)

    def return_unused_blocks(self) -> None:
        """After a start: as `drop_unused_parts`. One of a network whose addresses could not be taken back stays."""
        for block in list(self._view.blocks()):
            with suppress(TowlineError):
                self._return_if_unused(block)

    def released(self, endpoint: Endpoint, network: Network) -> None:
        """It has given its addresses back."""
        if network.whole is not None:
            self._parts.drop_if_unused(network.id)
        held = [cidr.partition("/")[0] for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr]
        for block in self._view.blocks_of(network.id) if held and network.spans else ():
            if any(_holds(block, address) for address in held):
                self._return_if_unused(block)

    def taken(self, network: Network, held: Lease) -> Conflict:
        """The refusal of an address of one of this node's blocks that an endpoint has."""
        endpoint = self._view.endpoint(held.owner)
        owner = f"{endpoint.name if endpoint else 'an endpoint'} ({held.owner[:12]}) on this node has it"
        return Conflict(f"Address already in use: {held.address} of network {network.name}: {owner}; choose another")

    async def close(self) -> None:
        """Wait for the blocks that are on their way back, and for parts that go."""
        await asyncio.gather(*self._returning.values(), return_exceptions=True)
        await self._parts.close()

    async def _lease(self, needed: BlockNeeded) -> Block:
        """Of the first subnet that has one left. What is on its way back must have arrived, or it could be ours again
        for the managers when it does."""
        cluster, network = self._seat.cluster, needed.network
        leaving = [task for key, task in self._returning.items() if key.startswith(f"{network.id}/")]
        await asyncio.gather(*leaving, return_exceptions=True)
        refusal: Unavailable | None = None
        for subnet in needed.subnets:
            try:
                return await cluster.need_block(network.id, subnet, needed.address)
            except Unavailable as error:
                refusal = refusal or error
        raise refusal or needed

    def _return_if_unused(self, block: Block) -> None:
        """From here on nothing is taken from it, until it has gone back."""
        if block.id in self._returning or block not in self._view.blocks_of(block.network) or self._in_use(block):
            return
        task = asyncio.get_running_loop().create_task(self._seat.cluster.unused(block))
        self._returning[block.id] = task
        task.add_done_callback(lambda _: self._returning.pop(block.id, None))

    def _in_use(self, block: Block) -> bool:
        network = self._view.network(block.network)
        pool = pool_of(network, block.prefix.partition("/")[0]) if network is not None else None
        if network is None or pool is None or (book := self._book(network)) is None:
            return False
        handle = pool_id(self._ipams.get(network.ipam_driver), network.address_scope, pool)
        return book.endpoints_in(handle, block.prefix) > 0

    def _book(self, network: Network) -> LeaseBook | None:
        """None where addresses come from this host alone, or from a driver that does not say which it gave."""
        if not network.spans or not network.pools:
            return None
        driver = self._ipams.get(network.ipam_driver)
        return driver if isinstance(driver, LeaseBook) else None


def _holds(block: Block, address: str) -> bool:
    prefix = parse_prefix(block.prefix)
    v6, value = parse_address(address)
    return prefix.v6 == v6 and prefix.start <= value <= prefix.end
