"""The blocks of addresses that this node leases: handed out, given back, and compared with the managers' word."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.cluster.contract import Link, Replica
from towline.model.cluster import Block
from towline.model.errors import Conflict, NotFound, TowlineError, Unavailable

log = logging.getLogger(__name__)


class HeldBlocks:
    """publish: what this node has on a network. later: called when a block could not be returned: `return_all` then."""

    def __init__(
        self, link: Link, replica: Replica, *, publish: Callable[[str], Awaitable[None]], later: Callable[[], None]
    ) -> None:
        self._link = link
        self._replica = replica
        self._publish = publish
        self._later = later
        self._leaving: dict[str, Block] = {}

    async def lease(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block for this node, known here too. Unavailable, Conflict, NotFound as `Link.lease_block`."""
        block = await self._link.lease_block(network_id, subnet, address)
        self._leaving.pop(block.id, None)
        await self._replica.set_blocks([block], [])
        return block

    async def give_back(self, block: Block) -> None:
        """Stop handing out of it, withdraw what is published with its addresses, then return it. If no manager answers,
        it is returned later."""
        await self._replica.set_blocks([], [block.id])
        self._leaving[block.id] = block
        try:
            await self._return(block)
        except TowlineError as error:
            log.info("a block is returned later", extra={"fields": {"block": block.id, "why": str(error)}})
            self._later()

    async def _return(self, block: Block) -> None:
        with suppress(NotFound):
            await self._publish(block.network)
        if self._leaving.pop(block.id, None) is not None:
            try:
                await self._link.return_block(block)
            except NotFound:
                return
            except TowlineError:
                self._leaving.setdefault(block.id, block)
                raise

    async def return_all(self) -> bool:
        """What is on its way back. Whether nothing is left."""
        for block in list(self._leaving.values()):
            try:
                await self._return(block)
            except TowlineError as error:
                log.info("a block is returned later", extra={"fields": {"block": block.id, "why": str(error)}})
        return not self._leaving

    async def compare(self) -> None:
        """A block that only the managers know of was leased when the answer was lost: it goes back. One that only this
        node knows of was taken away while it could not report: it is asked for again, else its endpoints must go."""
        theirs = {block.id: block for block in await self._link.blocks()}
        ours = {block.id: block for block in self._replica.blocks()}
        for block in (theirs[key] for key in theirs.keys() - ours.keys()):
            await self._link.return_block(block)
        changed = [theirs[key] for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]]
        lost = [ours[key] for key in ours.keys() - theirs.keys()]
        for block in lost:
            try:
                changed.append(
                    await self._link.lease_block(block.network, block.subnet, block.prefix.partition("/")[0])
                )
            except (Conflict, NotFound, Unavailable) as error:
                log.error(
                    "addresses of this node were given to another while it could not report",
                    extra={"fields": {"block": block.id, "why": str(error)}},
                )
        kept = {block.id for block in changed}
        await self._replica.set_blocks(changed, [block.id for block in lost if block.id not in kept])
