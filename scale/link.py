"""A node's link to the managers, with a switch that cuts it, and a meter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from scale.interner import Interner
from scale.recorder import Recorder
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Beat, Report, Update
from towline.cluster.scopes import Scopes
from towline.model.cluster import Block, Peer
from towline.model.errors import Unavailable


class MeteredLink:
    """`contract.Link`. updates: what streams have told."""

    def __init__(self, link: RemoteLink, recorder: Recorder, interner: Interner) -> None:
        self.updates = 0
        self._link = link
        self._recorder = recorder
        self._interner = interner
        self._is_cut = False
        self._reads: set[asyncio.Future[Update]] = set()

    @property
    def streamed(self) -> int:
        """Of streams."""
        return self._link.streamed

    def cut(self) -> None:
        """The stream ends at once, and nothing goes through any more."""
        self._is_cut = True
        for read in self._reads:
            read.cancel()

    def mend(self) -> None:
        self._is_cut = False

    async def close(self) -> None:
        await self._link.close()

    async def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        self._check()
        async with aclosing(self._link.watch(scopes)) as stream:
            while True:
                try:
                    update = await self._next(stream)
                except StopAsyncIteration:
                    return
                self.updates += 1
                yield self._interner.shared(update)

    async def _next(self, stream: AsyncIterator[Update]) -> Update:
        """A task of its own, so that a cut ends it and not the reader."""
        read = asyncio.ensure_future(anext(stream))
        self._reads.add(read)
        try:
            return await read
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._is_cut and current is not None and not current.cancelling():
                raise Unavailable("cut off") from None
            raise
        finally:
            self._reads.discard(read)

    def _check(self) -> None:
        if self._is_cut:
            raise Unavailable("cut off")

    async def beat(self, report: Report) -> Beat:
        self._check()
        return await self._link.beat(report)

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        self._check()
        asked = time.monotonic()
        revision = await self._link.publish(network_id, puts, gone)
        self._recorder.published(puts, asked, time.monotonic())
        return revision

    async def published(self) -> list[Peer]:
        self._check()
        return await self._link.published()

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        self._check()
        return await self._link.lease_block(network_id, subnet, address)

    async def claim_block(self, block: Block) -> Block:
        self._check()
        return await self._link.claim_block(block)

    async def return_block(self, block: Block) -> None:
        self._check()
        await self._link.return_block(block)

    async def blocks(self) -> list[Block]:
        self._check()
        return await self._link.blocks()

    async def renew(self, request: bytes) -> bytes:
        return await self._link.renew(request)

    async def leave(self) -> None:
        await self._link.leave()
