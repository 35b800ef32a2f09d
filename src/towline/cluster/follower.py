"""Follows one network: its endpoints on other nodes go into the replica, those of this node are remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from towline.cluster.contract import Replica, Update
from towline.cluster.inbox import Inbox
from towline.cluster.pauses import Pauses
from towline.cluster.scopes import Scopes
from towline.cluster.tasks import begin
from towline.model.cluster import Peer

log = logging.getLogger(__name__)


class Follower:
    """caught_up: the first snapshot has been applied. own: what is published of this node here, None before that.
    inbox: for what the stream says of the network.

    differs: called with the network's id when the cluster's word of this node's endpoints is not what it was told.
    lock: held while the replica is compared and changed.
    """

    def __init__(
        self,
        node_id: str,
        network_id: str,
        scopes: Scopes,
        replica: Replica,
        *,
        differs: Callable[[str], None],
        lock: asyncio.Lock,
    ) -> None:
        self.caught_up = asyncio.Event()
        self.own: dict[str, Peer] | None = None
        self.inbox = Inbox()
        self._others: set[str] = set()
        self._node_id = node_id
        self._network_id = network_id
        self._scopes = scopes
        self._replica = replica
        self._differs = differs
        self._lock = lock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._scopes.subscribe(self._network_id)
        self._task = begin(self._run(), f"follow {self._network_id}")

    async def close(self) -> None:
        self._scopes.unsubscribe(self._network_id)
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
            update = await self.inbox.take()
            if update.ended:
                self.caught_up.set()  # the network is gone; scope "base" says so too
                return
            if self.own is None and not update.snapshot:
                continue  # of an earlier subscription
            try:
                async with self._lock:
                    await self._take(update)
                pauses.reset()
            except Exception:
                log.exception("a network's endpoints could not be taken over", extra={"fields": self._fields()})
                await pauses.wait()
                self._scopes.subscribe(self._network_id)

    def _fields(self) -> dict[str, str]:
        return {"network": self._network_id}

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
        self._note_own(update)
        self.caught_up.set()

    def _note_own(self, update: Update) -> None:
        mine = [peer for peer in update.peers if peer.node == self._node_id]
        self.told(mine, update.gone_peers)
        if mine or update.gone_peers or update.snapshot:
            self._differs(self._network_id)
