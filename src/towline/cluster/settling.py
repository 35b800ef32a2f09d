"""After something of the cluster's past was lost (a backup put back, a manager that goes on alone) nodes may hold
blocks of addresses that the cluster does not know of. Until all nodes have said what they hold, or the time for that is
over, nobody gets a new block and nothing is taken back. The leader ends that.

The key `settling` has an etcd lease, so that it ends by itself; so have the keys by which nodes are known to have said
it. A node says it with its report: it has compared its blocks with the managers' word of that era.
"""

from __future__ import annotations

import asyncio
import logging

from towline.cluster import codec
from towline.cluster.contract import DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.leader import Leader
from towline.cluster.pauses import Pauses
from towline.cluster.state import State
from towline.cluster.tasks import begin
from towline.cluster.transactions import Commits, Transaction, unchanged
from towline.model.errors import NotFound, TowlineError, Unavailable

log = logging.getLogger(__name__)

RESTORED, ALONE = 300, 45
"""Seconds that nodes have: after a backup was put back; after a manager went on alone, when they have just been there.
"""
_LONG = 60.0
_MOST_NAMED = 5


def check_settled(state: State, network_id: str) -> None:
    """Unavailable while new blocks are not to be had. Of a network that was made since, nobody can hold any."""
    if state.settling is None:
        return
    if state.version(codec.network_key(network_id)).created > state.version(codec.SETTLING_KEY).created:
        return
    missing = [state.nodes[node_id] for node_id in sorted(unsettled(state))]
    names = [node.description.hostname or node.id for node in missing[:_MOST_NAMED]]
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    raise Unavailable(
        "the cluster was restored, or begun anew by one manager: addresses are handed out when all nodes have said "
        f"which they hold, or {RESTORED // 60} minutes have passed. Missing: {', '.join(names) or 'nobody'}{more}. "
        "Nodes that never come back: docker node demote, docker node rm --force"
    )


def unsettled(state: State) -> set[str]:
    return state.nodes.keys() - state.settled


class Settling:
    def __init__(self, feed: Feed, commits: Commits, leader: Leader) -> None:
        self._feed = feed
        self._commits = commits
        self._leader = leader
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begin(self._run(), "settling")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            await self._leader.wait()
            try:
                await self._feed.until(_over, _LONG)
                await self._commits.run(_end, what="addresses cannot be handed out yet")
                log.info("all nodes have said which addresses they hold")
                pauses.reset()
            except Unavailable:
                continue
            except TowlineError as error:
                log.warning("addresses cannot be handed out yet", extra={"fields": {"why": str(error)}})
            await pauses.wait()


async def note_settled(commits: Commits, node_id: str) -> None:
    """It has compared its blocks."""
    try:
        await commits.run(lambda state: _settled(state, node_id), what=f"node {node_id} cannot be noted as settled")
    except NotFound:  # the lease has ended meanwhile: it does not matter any more
        return


def _settled(state: State, node_id: str) -> Transaction | None:
    if state.settling is None or node_id in state.settled or node_id not in state.nodes:
        return None
    put = PutKey(
        codec.SETTLED_PREFIX + node_id,
        codec.encode(codec.Settled(node_id)),
        state.version(codec.SETTLING_KEY).lease,
    )
    return Transaction((unchanged(state, codec.SETTLING_KEY),), (put,))


def _over(state: State) -> bool:
    return state.settling is not None and not unsettled(state)


def _end(state: State) -> Transaction | None:
    if not _over(state):
        return None
    gone = (DeleteKey(codec.SETTLING_KEY), DeleteKey(codec.SETTLED_PREFIX, prefix=True))
    return Transaction((unchanged(state, codec.SETTLING_KEY),), gone)
