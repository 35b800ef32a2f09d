"""Takes back what nodes had that are gone for good: endpoints first, then blocks, so that an address is never free
while it is published.

A node is gone when it was removed or has left, or when it has been down for the grace period (after its lease). It
has stopped handing out addresses by then (`Agent.fenced`). One manager, the leader, watches over that; its own clock
counts, from when it saw the node down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.leader import Leader
from towline.cluster.pauses import Pauses
from towline.cluster.state import State
from towline.cluster.transactions import MOST_CHANGES, Commits, Transaction, unchanged
from towline.model.errors import TowlineError, Unavailable

log = logging.getLogger(__name__)

GRACE = 30.0


class Reclaim:
    """grace: seconds after the end of a node's lease."""

    def __init__(
        self,
        feed: Feed,
        commits: Commits,
        leader: Leader,
        *,
        grace: float = GRACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._commits = commits
        self._leader = leader
        self._grace = grace
        self._monotonic = monotonic
        self._down: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def take_back(self, node_id: str) -> int:
        """Everything that this node has, unless it is alive (again); how many records that was."""
        before = len(_remains(self._feed.state, node_id))
        while node_id not in self._feed.state.alive and _remains(self._feed.state, node_id):
            await self._commits.run(
                lambda state: _taking(state, node_id), what=f"what node {node_id} had cannot be taken back"
            )
        return before - len(_remains(self._feed.state, node_id))

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            try:
                await self._leader.wait()
                await self._round()
                pauses.reset()
            except TowlineError as error:
                what = {"why": str(error)}
                log.warning("what nodes had that are gone cannot be taken back yet", extra={"fields": what})
                await pauses.wait()

    async def _round(self) -> None:
        """What is due now; then until somebody comes or goes, or the next is due."""
        state, now = self._feed.state, self._monotonic()
        silent = {node_id for node_id in state.nodes_with_remains() if node_id not in state.alive}
        self._down = {node_id: self._down.get(node_id, now) for node_id in silent}
        settling = state.settling is not None
        due = [
            node_id
            for node_id, since in self._down.items()
            if node_id not in state.nodes or (now - since >= self._grace and not settling)
        ]
        for node_id in due:
            if taken := await self.take_back(node_id):
                what = {"node": node_id, "records": taken}
                log.warning("endpoints and addresses of a node that is gone are taken back", extra={"fields": what})
        left = [since + self._grace - now for node_id, since in self._down.items() if node_id not in due]
        seen = state.base_changed
        try:
            await self._feed.until(
                lambda state: (
                    state.base_changed != seen or not self._leader.leading or (state.settling is not None) != settling
                ),
                min([seconds for seconds in left if seconds > 0], default=_LONG),
            )
        except Unavailable:
            return


_LONG = 60.0


def _remains(state: State, node_id: str) -> list[str]:
    """Keys, endpoints before blocks."""
    endpoints = [codec.endpoint_key(peer.network, peer.id) for peer in state.peers.of_node(node_id)]
    return endpoints + [codec.block_key(block.network, block.prefix) for block in state.blocks.of_node(node_id)]


def _taking(state: State, node_id: str) -> Transaction | None:
    """Some of it. `guard/node/<id>` says that the node was not back in between."""
    keys = _remains(state, node_id)[: MOST_CHANGES - 2]
    if not keys or node_id in state.alive:
        return None
    guard = codec.node_guard(node_id)
    when = (Compare(codec.alive_key(node_id), 0), unchanged(state, guard))
    last = PutKey(guard, codec.encode(codec.Guard())) if node_id in state.nodes else DeleteKey(guard)
    return Transaction(when, (*(DeleteKey(key) for key in keys), last))
