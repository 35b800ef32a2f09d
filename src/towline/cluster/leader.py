"""Which manager does what only one may do: the one whose lease holds the key `leader`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from towline.cluster import codec
from towline.cluster.contract import Compare, Etcd, PutKey
from towline.cluster.feed import Feed
from towline.model.errors import TowlineError

log = logging.getLogger(__name__)

TERM = 10


class Leader:
    """leading: until when its lease is known to last, this manager is it. term: seconds of the lease."""

    def __init__(
        self,
        etcd: Etcd,
        feed: Feed,
        node_id: str,
        *,
        term: int = TERM,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._etcd = etcd
        self._feed = feed
        self._node_id = node_id
        self._term = term
        self._monotonic = monotonic
        self._lease = 0
        self._until = 0.0
        self._confirmed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def leading(self) -> bool:
        return self._monotonic() < self._until

    async def wait(self) -> None:
        """Until it is this manager."""
        while not self.leading:
            self._confirmed.clear()
            await self._confirmed.wait()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Another may take over at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.leading:
            self._until = 0.0
            try:
                await self._etcd.revoke(self._lease)
            except TowlineError as error:
                log.info("the leader's lease is left to end by itself", extra={"fields": {"why": str(error)}})

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
            except TowlineError as error:
                log.info("no leader can be found for the moment", extra={"fields": {"why": str(error)}})
            await self._pause()

    async def _turn(self) -> None:
        sent = self._monotonic()
        if self._lease and await self._etcd.keep(self._lease) and await self._holds():
            self._confirm(sent)
            return
        self._until = 0.0
        if not self._feed.state.leader:
            await self._stand(sent)

    async def _holds(self) -> bool:
        return (await self._etcd.get(codec.LEADER_KEY)).lease == self._lease

    async def _stand(self, sent: float) -> None:
        self._lease = await self._etcd.grant(self._term)
        put = PutKey(codec.LEADER_KEY, codec.encode(codec.Leader(self._node_id)), self._lease)
        if await self._etcd.transact([Compare(codec.LEADER_KEY, 0)], [put]) is not None:
            self._confirm(sent)

    def _confirm(self, sent: float) -> None:
        self._until = sent + self._term
        self._confirmed.set()

    async def _pause(self) -> None:
        """A third of the term, or until the leader is gone."""
        seconds = self._term / 3
        try:
            await self._feed.until(lambda state: not self.leading and not state.leader, seconds)
        except TowlineError:
            return
