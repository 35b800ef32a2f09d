"""The blocks of addresses that this node leases: leased, and given back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.cluster.claims import Claims
from towline.cluster.contract import Link, Replica
from towline.model.cluster import Block
from towline.model.errors import NotFound, TowlineError

log = logging.getLogger(__name__)


class HeldBlocks:
    """publish: what this node has on a network. later: called when a block could not be returned: `return_all` then."""

    def __init__(
        self,
        link: Link,
        replica: Replica,
        claims: Claims,
        *,
        publish: Callable[[str], Awaitable[None]],
        later: Callable[[], None],
    ) -> None:
        self._link = link
        self._replica = replica
        self._claims = claims
        self._publish = publish
        self._later = later
        self._leaving: dict[str, Block] = {}

    async def lease(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block for this node, known here too. Unavailable, Conflict, NotFound as `Link.lease_block`."""
        block = await self._claims.lease(network_id, subnet, address)
        self._leaving.pop(block.id, None)
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
