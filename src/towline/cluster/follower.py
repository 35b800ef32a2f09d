"""Follows one network: its endpoints on other nodes go into the replica, those of this node are remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from towline.cluster.contract import Link, Replica, Update
from towline.model.cluster import Peer
from towline.model.errors import NotFound, TowlineError

log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.05, 2.0


class Pauses:
    """Growing pauses between attempts, seconds: twice the last one each time, up to two."""

    def __init__(self) -> None:
        self._next = _SHORTEST

    def reset(self) -> None:
        self._next = _SHORTEST

    async def wait(self) -> None:
        pause, self._next = self._next, min(self._next * 2, _LONGEST)
        await asyncio.sleep(pause)


class Follower:
    """caught_up: the first snapshot has been applied. own: what is published of this node here, None before that.

    differs: called with the network's id when the cluster's word of this node's endpoints is not what it was told.
    """

    def __init__(
        self, node_id: str, network_id: str, link: Link, replica: Replica, *, differs: Callable[[str], None]
    ) -> None:
        self.caught_up = asyncio.Event()
        self.own: dict[str, Peer] | None = None
        self.revision = 0
        self._others: set[str] = set()
        self._node_id = node_id
        self._network_id = network_id
        self._link = link
        self._replica = replica
        self._differs = differs
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def told(self, puts: Iterable[Peer], gone: Iterable[str]) -> None:
        """The managers have taken this; the stream will say so too."""
        if self.own is not None:
            self.own.update((peer.id, peer) for peer in puts)
            for peer_id in gone:
                self.own.pop(peer_id, None)

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            try:
                async for update in self._link.watch(self._network_id):
                    await self._take(update)
                    pauses.reset()
            except NotFound:
                self.caught_up.set()  # the network is gone; scope "base" says so too
                return
            except TowlineError as error:
                what = {"network": self._network_id, "why": str(error)}
                log.info("a network's endpoints are not followed for the moment", extra={"fields": what})
            await pauses.wait()

    async def _take(self, update: Update) -> None:
        others = [peer for peer in update.peers if peer.node != self._node_id]
        gone = set(update.gone_peers)
        if update.snapshot:
            known = {peer.id: peer for peer in self._replica.peers(self._network_id)}
            gone |= known.keys() - {peer.id for peer in others}
            others = [peer for peer in others if known.get(peer.id) != peer]  # after a gap most are as they were
            self._others = set(known)
            self.own = {}
        gone &= self._others
        if others or gone:
            await self._replica.set_peers(self._network_id, others, sorted(gone))
            self._others.update(peer.id for peer in others)
            self._others -= gone
        self.revision = update.revision
        self._note_own(update)
        self.caught_up.set()

    def _note_own(self, update: Update) -> None:
        mine = [peer for peer in update.peers if peer.node == self._node_id]
        self.told(mine, update.gone_peers)
        if mine or update.gone_peers or update.snapshot:
            self._differs(self._network_id)
