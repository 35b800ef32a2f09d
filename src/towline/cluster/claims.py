"""This node's title to its addresses: blocks that it leases, and what became of them while it could not report.

A node that was given up has lost its blocks; others may have them by now. What is free still is leased again. An
endpoint whose address is another's leaves its network: two of one address would be worse than none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from towline.cluster.contract import Link, Replica
from towline.ipam.prefix import Prefix, parse_prefix
from towline.model.cluster import Block, Peer
from towline.model.errors import Conflict, InvalidParameter, NotFound

log = logging.getLogger(__name__)


class Claims:
    """lost: endpoints of this node that are to leave their networks, by id, with the reason. Event loop only."""

    def __init__(self, link: Link, replica: Replica) -> None:
        self.lost: dict[str, tuple[Peer, str]] = {}
        self._link = link
        self._replica = replica
        self._asked: Counter[str] = Counter()
        self._work = asyncio.Event()
        self._comparing = asyncio.Lock()

    async def lease(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block for this node, known here too. Unavailable, Conflict, NotFound as `Link.lease_block`."""
        self._asked[network_id] += 1
        try:
            block = await self._link.lease_block(network_id, subnet, address)
            await self._replica.set_blocks([block], [])
        finally:
            self._asked[network_id] -= 1
        return block

    async def compare(self) -> None:
        """After a gap. A block that only the managers know of was leased when the answer was lost: it goes back. One
        that only this node knows of was taken away while it could not report: it is leased again, if it is free as a
        whole; else `claim` finds out what is. Unavailable: nothing is decided."""
        async with self._comparing:
            await self._compare()

    async def _compare(self) -> None:
        theirs = {block.id: block for block in await self._link.blocks()}
        ours = {block.id: block for block in self._replica.blocks()}
        for block in (theirs[key] for key in theirs.keys() - ours.keys()):
            if not self._asked[block.network]:
                await self._link.return_block(block)
        changed = [theirs[key] for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]]
        lost = [ours[key] for key in ours.keys() - theirs.keys()]
        for block in lost:
            if (again := await self._again(block)) is not None:
                changed.append(again)
        kept = {block.id for block in changed}
        await self._replica.set_blocks(changed, [block.id for block in lost if block.id not in kept])

    async def _again(self, block: Block) -> Block | None:
        try:
            return await self._link.claim_block(block)
        except (Conflict, NotFound, InvalidParameter) as error:
            what = {"block": block.id, "why": str(error)}
            log.warning("addresses of this node were taken back while it could not report", extra={"fields": what})
            return None

    async def claim(self, peer: Peer) -> Literal["had", "regained", "lost"]:
        """Make the addresses of an endpoint of this node its own again. lost: another node has one of them."""
        answer: Literal["had", "regained"] = "had"
        for address, subnet in self._without_block(peer):
            try:
                await self.lease(peer.network, subnet, address)
            except Conflict as error:
                self.lost[peer.id] = peer, str(error)
                self._work.set()
                return "lost"
            answer = "regained"
        return answer

    def _without_block(self, peer: Peer) -> Iterator[tuple[str, str]]:
        """Address and subnet of those that are in no block of this node."""
        network = next((n for n in self._replica.networks() if n.id == peer.network), None)
        leased = network.pools if network is not None and network.spans else ()
        pools = [(pool.subnet, parse_prefix(pool.subnet)) for pool in leased]
        for text in (peer.ipv4, peer.ipv6):
            address = text.partition("/")[0]
            if not address or self._has(peer.network, parse_prefix(address)):
                continue
            yield from ((address, subnet) for subnet, prefix in pools if prefix.holds(parse_prefix(address)))

    def _has(self, network_id: str, address: Prefix) -> bool:
        blocks = (block for block in self._replica.blocks() if block.network == network_id)
        return any(parse_prefix(block.prefix).holds(address) for block in blocks)

    async def run(self) -> None:
        """Lets what is lost leave, one after the other: a sandbox that is busy keeps only these waiting."""
        while True:
            await self._work.wait()
            while self.lost:
                peer, why = next(iter(self.lost.values()))
                try:
                    await self._replica.give_up(peer, why)
                finally:
                    self.lost.pop(peer.id, None)
            self._work.clear()
