"""etcd in memory, for tests: `FakeCluster` is the state, each `FakeEtcd` one manager's client, with named faults."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import Enum

from towline.cluster.contract import Compacted, Compare, DeleteKey, Etcd, KeyValue, PutKey, Range, Watched
from towline.cluster.etcd_limits import check_transaction
from towline.model.errors import NotFound, Unavailable


class Fault(Enum):
    """UNAVAILABLE: the next call fails and has done nothing. LOST_ANSWER: the next transaction takes effect, and its
    client gets Unavailable. SILENT: the next transaction does nothing and is never answered, as in a member whose
    leader is lost."""

    UNAVAILABLE = "unavailable"
    LOST_ANSWER = "lost answer"
    SILENT = "silent"


class FakeCluster:
    """clock: seconds; leases end when `advance` moves it past them. revision: etcd starts at 1."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.clock = 0.0
        self.progress_at = 0
        self._keys: dict[str, KeyValue] = {}
        self._order: list[str] = []
        self._history: list[Watched] = []
        self._leases: dict[int, tuple[int, float]] = {}
        self._last_lease = 0
        self._waiting: set[asyncio.Event] = set()

    def client(self) -> FakeEtcd:
        return FakeEtcd(self)

    def keys(self, prefix: str = "") -> dict[str, bytes]:
        """What a test looks at."""
        return {each: self._keys[each].value for each in self._begin_with(prefix)}

    def advance(self, seconds: float) -> None:
        self.clock += seconds
        for lease in [lease for lease, (_, end) in self._leases.items() if end <= self.clock]:
            self.end_lease(lease)

    def end_lease(self, lease: int) -> None:
        """As if its time were over: its keys go at one revision. NotFound if it has ended."""
        if self._leases.pop(lease, None) is None:
            raise NotFound(f"lease {lease:x} has ended")
        self._commit([DeleteKey(key) for key in self._order if self._keys[key].lease == lease])

    def compact(self, revision: int = 0) -> None:
        """Forget what happened before `revision` (0: the current one)."""
        self.compacted = max(self.compacted, revision or self.revision)
        del self._history[: self.after(self.compacted)]

    def progress(self) -> None:
        """Tell every watch the revision, as etcd does now and then."""
        self.progress_at += 1
        self.wake()

    # for FakeEtcd

    def read(self, key: str) -> KeyValue:
        return self._keys.get(key) or KeyValue(key)

    def read_all(self, prefix: str) -> tuple[KeyValue, ...]:
        return tuple(self._keys[each] for each in self._begin_with(prefix))

    def transact(self, when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> int | None:
        check_transaction(when, then)
        if not all(self._holds(each) for each in when):
            return None
        for change in then:
            if isinstance(change, PutKey) and change.lease and change.lease not in self._leases:
                raise NotFound(f"lease {change.lease:x} of key {change.key} has ended")
        self._commit(then)
        return self.revision

    def grant(self, seconds: int) -> int:
        self._last_lease += 1
        self._leases[self._last_lease] = seconds, self.clock + seconds
        return self._last_lease

    def keep(self, lease: int) -> bool:
        if lease not in self._leases:
            return False
        seconds = self._leases[lease][0]
        self._leases[lease] = seconds, self.clock + seconds
        return True

    def after(self, revision: int) -> int:
        """Where in the history `revision` is, or what followed."""
        return bisect_left(self._history, revision, key=lambda each: each.revision)

    def since(self, revision: int, prefix: str) -> list[Watched]:
        found = []
        for each in self._history[self.after(revision) :]:
            items = tuple(item for item in each.items if item.key.startswith(prefix))
            if items:
                found.append(Watched(each.revision, items))
        return found

    def wait(self) -> asyncio.Event:
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    def wake(self) -> None:
        for event in self._waiting:
            event.set()

    def _begin_with(self, prefix: str) -> Iterable[str]:
        for place in range(bisect_left(self._order, prefix), len(self._order)):
            if not self._order[place].startswith(prefix):
                return
            yield self._order[place]

    def _holds(self, when: Compare) -> bool:
        """etcd compares an absent key, and a prefix without keys, as if all its numbers were 0."""
        found = self.read_all(when.key) if when.prefix else ()
        return all(getattr(item, when.target) == when.revision for item in found or [self.read(when.key)])

    def _commit(self, then: Iterable[PutKey | DeleteKey]) -> None:
        revision = self.revision + 1
        items: list[KeyValue] = []
        for change in then:
            if isinstance(change, DeleteKey):
                keys = list(self._begin_with(change.key)) if change.prefix else [change.key]
                for key in keys:
                    if self._keys.pop(key, None) is not None:
                        del self._order[bisect_left(self._order, key)]
                        items.append(KeyValue(key))
                continue
            before = self._keys.get(change.key)
            if before is None:
                insort(self._order, change.key)
            created = before.created if before else revision
            item = KeyValue(change.key, change.value, created, revision, change.lease)
            self._keys[change.key] = item
            items.append(item)
        if items:
            self.revision = revision
            self._history.append(Watched(revision, tuple(items)))
            self.wake()


class FakeEtcd(Etcd):
    """A client. away: while it is set, no member answers this client."""

    def __init__(self, cluster: FakeCluster | None = None) -> None:
        self.cluster = cluster or FakeCluster()
        self.calls = 0
        self._away = False
        self._cuts = 0
        self._closed = False
        self._faults: deque[Fault] = deque()

    def fail(self, *faults: Fault) -> None:
        """Each is met once, in this order."""
        self._faults.extend(faults)

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        self.cluster.wake()

    def cut_watches(self) -> None:
        """Every watch that is open now ends with Unavailable."""
        self._cuts += 1
        self.cluster.wake()

    async def get(self, key: str) -> KeyValue:
        await self._call()
        return self.cluster.read(key)

    async def range(self, prefix: str) -> Range:
        await self._call()
        return Range(self.cluster.revision, self.cluster.read_all(prefix))

    async def transact(self, when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> int | None:
        await self._call()
        if self._faults and self._faults[0] is Fault.SILENT:
            self._faults.popleft()
            await asyncio.Event().wait()
        lost = bool(self._faults) and self._faults[0] is Fault.LOST_ANSWER
        revision = self.cluster.transact(when, then)
        if lost:
            self._faults.popleft()
            raise Unavailable("etcd: the answer to a transaction was lost")
        return revision

    async def watch(self, prefix: str, since: int) -> AsyncIterator[Watched]:
        await self._call()
        if since < self.cluster.compacted:
            raise Compacted(f"etcd has forgotten what happened before revision {self.cluster.compacted}")
        cuts, progress, position = self._cuts, self.cluster.progress_at, since
        changed = self.cluster.wait()
        try:
            while True:
                changed.clear()
                if self._cuts != cuts:
                    raise Unavailable("etcd: the watch was cut")
                self._check()
                told = self.cluster.progress_at, self.cluster.revision
                for each in self.cluster.since(position, prefix):
                    position = each.revision + 1
                    yield each
                if told[0] != progress:
                    progress = told[0]
                    yield Watched(told[1], ())
                await changed.wait()
        finally:
            self.cluster.forget(changed)

    async def grant(self, seconds: int) -> int:
        await self._call()
        return self.cluster.grant(seconds)

    async def keep(self, lease: int) -> bool:
        await self._call()
        return self.cluster.keep(lease)

    async def revoke(self, lease: int) -> None:
        await self._call()
        if self.cluster.keep(lease):
            self.cluster.end_lease(lease)

    async def close(self) -> None:
        self._closed = True
        self.cluster.wake()

    async def _call(self) -> None:
        """Others get their turn, as they do while a real call is under way."""
        self.calls += 1
        await asyncio.sleep(0)
        self._check()
        if self._faults and self._faults[0] is Fault.UNAVAILABLE:
            self._faults.popleft()
            raise Unavailable("etcd: no member answers")

    def _check(self) -> None:
        if self._away or self._closed:
            raise Unavailable("etcd: no member answers" if self._away else "etcd: the connection is closed")
