"""The link that an agent uses: to the manager in its own process while that works, else to another one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from towline.cluster.client import RemoteLink
from towline.cluster.contract import Beat, Link, Report, Update
from towline.cluster.identity import IdentityFiles
from towline.cluster.scopes import Scopes
from towline.model.cluster import Block, Peer
from towline.model.errors import Unavailable


class BestLink:
    """The manager's in this process, while there is one and it hears etcd (`use`)."""

    def __init__(self, files: IdentityFiles, managers: Sequence[str]) -> None:
        self.remote = RemoteLink(files, managers)
        self._own: Link | None = None
        self._well: Callable[[], bool] = lambda: False

    def use(self, own: Link, well: Callable[[], bool]) -> None:
        """well: whether it works at the moment."""
        self._own, self._well = own, well

    def drop(self) -> None:
        """This node's own manager ends."""
        self._own = None

    async def close(self) -> None:
        await self.remote.close()

    def _now(self) -> Link:
        return self._own if self._own is not None and self._well() else self.remote

    def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        return self._watch(scopes, self._now())

    async def _watch(self, scopes: Scopes, link: Link) -> AsyncGenerator[Update, None]:
        """Ends when the better link is another one."""
        async with aclosing(link.watch(scopes)) as updates:
            async for update in updates:
                yield update
                if link is not self._now():
                    raise Unavailable("another manager is asked from now on")

    async def beat(self, report: Report) -> Beat:
        beat = await self._now().beat(report)
        if beat.managers:
            self.remote.learn(beat.managers)
        return beat

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        return await self._now().publish(network_id, puts, gone)

    async def published(self) -> list[Peer]:
        return await self._now().published()

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        return await self._now().lease_block(network_id, subnet, address)

    async def claim_block(self, block: Block) -> Block:
        return await self._now().claim_block(block)

    async def return_block(self, block: Block) -> None:
        await self._now().return_block(block)

    async def blocks(self) -> list[Block]:
        return await self._now().blocks()

    async def renew(self, request: bytes) -> bytes:
        return await self._now().renew(request)

    async def leave(self) -> None:
        await self._now().leave()
