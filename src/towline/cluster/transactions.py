"""Optimistic transactions on etcd: planned on the copy, committed on condition that what was read is still so, planned
again where it is not; and what to believe when etcd's answer is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec

from towline.cluster.contract import Compare, DeleteKey, Etcd, KeyValue, PutKey
from towline.cluster.feed import Feed
from towline.cluster.pauses import Pauses
from towline.cluster.state import State
from towline.model.errors import Unavailable

MOST_CHANGES = 100
"""Changes, and conditions, in one transaction: etcd takes 128 by default."""
_PATIENCE = 10.0
_DEAF = 3.0
"""Seconds that a change is tried for while etcd is not heard: nobody answers it, or no member leads."""
_ANSWER = (1.5, 2.5, 3.0)
"""Seconds that etcd has for each attempt. What waits in a member whose leader is lost is dropped without a word, and
the next attempt goes to the new leader; it takes effect once at most, so that it is never wrong to try again."""
_LEADERLESS = (
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online."
    " Make sure more than half of the managers are online."
)


class Transaction(msgspec.Struct, frozen=True):
    when: tuple[Compare, ...]
    then: tuple[PutKey | DeleteKey, ...]


Plan = Callable[[State], Transaction | None]
"""A transaction, or None where there is nothing (left) to do. Raises what the caller is refused with."""


class Commits:
    """patience: seconds that one `run` tries."""

    def __init__(
        self,
        etcd: Etcd,
        feed: Feed,
        *,
        patience: float = _PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._etcd = etcd
        self._feed = feed
        self._patience = patience
        self._monotonic = monotonic

    async def run(
        self,
        plan: Plan,
        *,
        what: str,
        proof: Callable[[State], bool] | None = None,
        one: asyncio.Lock | None = None,
    ) -> int:
        """The revision at which it is done; the copy has it, unless it does not hear of etcd at the moment.

        proof: of a copy that has caught up, whether an attempt whose answer was lost has taken effect after all; where
        it is None, `plan` itself says so by answering None. At least one condition must name a key that every attempt
        changes: so of several attempts one takes effect, at most.
        Unavailable if etcd does not answer in time (the text says whether the outcome is open), or others are always
        faster. what: "network web cannot be created". one: held meanwhile, so that this manager's own do not compete.
        """
        end = self._monotonic() + self._patience
        if one is None:
            return await self._run(plan, what, proof, end)
        try:
            async with asyncio.timeout(self._patience):
                await one.acquire()
        except TimeoutError:
            raise Unavailable(f"{what} now: others before it have taken too long; try again") from None
        try:
            return await self._run(plan, what, proof, end)
        finally:
            one.release()

    async def _run(self, plan: Plan, what: str, proof: Callable[[State], bool] | None, end: float) -> int:
        lost, pauses, attempts = False, Pauses(), 0
        cause = ""
        deaf = self._monotonic() + _DEAF
        await self._feed.until(lambda _: True, self._left(end))
        while self._monotonic() < (min(end, deaf) if self._feed.trouble else end):
            state = self._feed.state
            if lost and proof is not None and proof(state):
                return state.revision
            transaction = plan(state)
            if transaction is None:
                return state.revision
            try:
                attempts += 1
                revision = await self._attempt(transaction, _ANSWER[min(attempts, len(_ANSWER)) - 1])
                if revision is not None:
                    await self._see(revision, end)
                    return revision
                await self._catch_up(transaction.when, end)
            except Unavailable as error:
                lost, cause = True, str(error)
                await pauses.wait()
        raise self._failed(what, cause or self._feed.trouble, lost)

    async def _attempt(self, transaction: Transaction, seconds: float) -> int | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._etcd.transact(transaction.when, transaction.then)
        except TimeoutError:
            raise Unavailable(f"etcd: no answer within {seconds:.1f} s") from None

    def _left(self, end: float) -> float:
        return max(end - self._monotonic(), 0.1)

    async def _see(self, revision: int, end: float) -> None:
        """It is done, whether the copy hears of it in time or not."""
        with contextlib.suppress(Unavailable):
            await self._feed.wait(revision, self._left(end))

    async def _catch_up(self, when: Sequence[Compare], end: float) -> None:
        """Until the copy knows why the conditions did not hold."""
        for compare in when:
            if compare.prefix:
                found = (await self._etcd.range(compare.key)).items
                await self._feed.wait(max((item.modified for item in found), default=0), self._left(end))
                continue
            item = await self._etcd.get(compare.key)
            if getattr(item, compare.target) != compare.revision:
                await self._feed.until(_moved(compare, item), self._left(end))

    def _failed(self, what: str, cause: str, lost: bool) -> Unavailable:
        if not lost and self._feed.trouble:
            return Unavailable(f"{_LEADERLESS} ({what} now: {cause})")
        if not lost:
            return Unavailable(f"{what}: other managers changed the cluster each time; try again")
        text = f"{_LEADERLESS} ({what} now: {cause}. Whether it happened is not known: look before you try again)"
        return Unavailable(text)


def _moved(compare: Compare, item: KeyValue) -> Callable[[State], bool]:
    """Has the copy left behind what the condition was made of? item: etcd's word on the key, which is another."""

    def holds(state: State) -> bool:
        known = getattr(state.version(compare.key), compare.target)
        return known != compare.revision or (item.modified > 0 and state.revision >= item.modified)

    return holds


def unchanged(state: State, key: str) -> Compare:
    """The key is as the copy has it."""
    return Compare(key, state.version(key).modified)


def same_life(state: State, key: str) -> Compare:
    """The key has been there since the copy's `created`, however often it was written; Unavailable if it is not."""
    created = state.version(key).created
    if not created:
        raise Unavailable(f"{key} has gone from the cluster meanwhile; try again")
    return Compare(key, created, target="created")
