"""A node's one stream: what it says goes to whoever applies the scope, so that a slow one holds up no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from weakref import WeakValueDictionary

from towline.cluster.contract import BASE, Link, Replica, Update
from towline.cluster.follower import Follower
from towline.cluster.inbox import Inbox
from towline.cluster.pauses import Pauses
from towline.cluster.scopes import Scopes
from towline.model.errors import TowlineError, Unavailable

log = logging.getLogger(__name__)


class Following:
    """base: what is told of scope "base". networks: id -> its follower. trouble: told why the stream has ended.
    differs: as of `Follower`."""

    def __init__(
        self,
        node_id: str,
        link: Link,
        replica: Replica,
        *,
        differs: Callable[[str], None],
        trouble: Callable[[str], None],
    ) -> None:
        self.base = Inbox()
        self.networks: dict[str, Follower] = {}
        self._scopes = Scopes(BASE)
        self._node_id = node_id
        self._link = link
        self._replica = replica
        self._differs = differs
        self._trouble = trouble
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self) -> None:
        """Without end."""
        pauses = Pauses()
        while True:
            why = "the manager ended the stream"
            try:
                async with aclosing(self._link.watch(self._scopes)) as updates:
                    async for update in updates:
                        self._dispatch(update)
                        pauses.reset()
            except Unavailable as error:
                why = str(error)
            except TowlineError as error:
                why = str(error)
                log.error("cannot follow the cluster", extra={"fields": {"error": why}})
            self._trouble(why)
            await pauses.wait()

    def _dispatch(self, update: Update) -> None:
        if update.scope == BASE:
            self.base.put(update)
        elif (follower := self.networks.get(update.scope)) is not None:
            follower.inbox.put(update)

    def begin_base(self) -> None:
        """What was told of it could not be applied: it comes again as a whole."""
        self._scopes.subscribe(BASE)

    def follow(self, network_id: str) -> Follower:
        follower = self.networks.get(network_id)
        if follower is None:
            follower = self.networks[network_id] = Follower(
                self._node_id,
                network_id,
                self._scopes,
                self._replica,
                differs=self._differs,
                lock=self._locks.setdefault(network_id, asyncio.Lock()),
            )
            follower.start()
        return follower

    async def leave(self, network_id: str) -> None:
        """Its endpoints elsewhere are forgotten here."""
        follower = self.networks.pop(network_id, None)
        if follower is None:
            return
        await follower.close()
        async with self._locks.setdefault(network_id, asyncio.Lock()):
            if network_id not in self.networks:  # else it is followed again
                peers = self._replica.peers(network_id)
                await self._replica.set_peers(network_id, [], [peer.id for peer in peers])

    async def close(self) -> None:
        followers, self.networks = list(self.networks.values()), {}
        for follower in followers:
            await follower.close()
