"""Who is alive: a node's report prolongs its lease in etcd; when the lease ends, the node is down.

A node's `alive` key that comes anew changes `guard/node/<id>` in the same transaction, so that taking back what a node
had (`cluster.reclaim`) and its return exclude each other.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from towline.cluster import codec
from towline.cluster.clocks import ManagerClocks, has_jumped
from towline.cluster.contract import Beat, Etcd, PutKey, Report
from towline.cluster.feed import Feed
from towline.cluster.settling import note_settled
from towline.cluster.state import State
from towline.cluster.transactions import Commits, Transaction, same_life, unchanged
from towline.ipam.prefix import parse_address
from towline.model.cluster import Alive, Description, Node
from towline.model.errors import Forbidden, InvalidParameter, NotFound
from towline.model.secure import SecureKey, what_is_wrong_with_keys

_PERIOD = 5.0
_SHORTEST, _LONGEST = 0.5, 300.0
_MISSED = 3
"""Reports that may be missing before a node is down."""
_LARGEST_DESCRIPTION = 16 * 1024
_LONGEST_PROBLEM = 1024
_LONGEST_ADDRESS = 64
_WRITTEN_EACH = 3
"""A report without news is written each third time: its lease is prolonged each time."""


def period_of(spec: Mapping[str, object]) -> float:
    """Seconds between reports: Docker's Dispatcher.HeartbeatPeriod, within half a second and five minutes."""
    dispatcher = spec.get("Dispatcher")
    asked = dispatcher.get("HeartbeatPeriod") if isinstance(dispatcher, Mapping) else None
    seconds = asked / 1e9 if isinstance(asked, int) and asked > 0 else _PERIOD
    return min(max(seconds, _SHORTEST), _LONGEST)


class Liveness:
    """own: the id of this manager's node. clock: nanoseconds since the epoch."""

    def __init__(self, etcd: Etcd, feed: Feed, commits: Commits, *, clock: Callable[[], int], own: str = "") -> None:
        self._etcd = etcd
        self._feed = feed
        self._commits = commits
        self._clock = clock
        self._granted: dict[str, tuple[int, int]] = {}
        self._silent: dict[str, int] = {}
        self._one: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._own = own
        self._clocks = ManagerClocks()
        feed.listen(self._told)

    def _told(self, alive: Alive) -> None:
        state = self._feed.state
        if alive.node in state.managers and alive.node != self._own:
            self._clocks.heard(alive.node, alive.clock, self._clock())
            self._clocks.keep(node_id for node_id in state.managers if node_id in state.alive)

    async def beat(self, node_id: str, report: Report, address: str = "") -> Beat:
        """Forbidden for a node that is not of this cluster. address: bare IP from which the report came, "" unknown."""
        now = self._clock()
        _check(report)
        alive = Alive(
            node=node_id,
            revision=report.revision,
            clock=report.clock,
            skew=round((report.clock - now - self._clocks.middle) / 1e9, 3),
            repairs=report.repairs,
            problem=report.problem[:_LONGEST_PROBLEM],
        )
        async with self._one.setdefault(node_id, asyncio.Lock()):
            await self._note(node_id, alive)
        node = await self._describe(node_id, report, address)
        state = self._feed.state
        if state.settling is not None and state.settling.era == report.era and node_id not in state.settled:
            await note_settled(self._commits, node_id)
        period = self._period()
        return Beat(
            period=period,
            ttl=float(self._seconds()),
            clock=self._clock(),
            role=node.spec.role,
            managers=self._managers(),
        )

    async def ensure(self, node_id: str) -> None:
        """Any word of a node is a sign of life."""
        if node_id not in self._feed.state.alive:
            async with self._one.setdefault(node_id, asyncio.Lock()):
                await self._feed.until(lambda _: True)
                if node_id not in self._feed.state.alive:
                    await self._return(node_id, Alive(node_id, clock=self._clock()))

    def _period(self) -> float:
        cluster = self._feed.state.cluster
        return period_of(cluster.spec if cluster else {})

    def _seconds(self) -> int:
        return math.ceil(self._period() * _MISSED)

    async def _note(self, node_id: str, alive: Alive) -> None:
        await self._feed.until(lambda _: True)
        state = self._feed.state
        lease, seconds = self._granted.get(node_id, (0, 0))
        known = state.alive.get(node_id)
        ours = lease and seconds == self._seconds() and state.version(codec.alive_key(node_id)).lease == lease
        if known is None or not ours or not await self._etcd.keep(lease):
            await self._return(node_id, alive)
            return
        silent = self._silent.get(node_id, 0) + 1
        if silent < _WRITTEN_EACH and not _is_news(known, alive):
            self._silent[node_id] = silent
            return
        self._silent[node_id] = 0
        try:
            await self._commits.run(
                lambda state: _renewal(state, alive, lease), what=f"the report of node {node_id} cannot be noted"
            )
        except NotFound:  # the lease has ended since it was prolonged
            await self._return(node_id, alive)

    async def _return(self, node_id: str, alive: Alive) -> None:
        """With a lease of this manager's, whether it was down or reported to another manager."""
        seconds = self._seconds()
        lease = await self._etcd.grant(seconds)
        await self._commits.run(
            lambda state: _arrival(state, alive, lease),
            what=f"the report of node {node_id} cannot be noted",
        )
        self._granted[node_id] = lease, seconds
        self._silent[node_id] = 0

    async def _describe(self, node_id: str, report: Report, address: str) -> Node:
        """The node's record, with what is new about it."""

        def changed(node: Node) -> Node:
            return replace(
                node,
                description=report.description or node.description,
                data_path=report.data_path or node.data_path,
                address=address or node.address,
                secure=node.secure if report.secure is None else report.secure,
            )

        def plan(state: State) -> Transaction | None:
            node = member(state, node_id)
            new = changed(node)
            if new == node:
                return None
            if new.secure != node.secure:
                _check_own(state, node_id, new.secure)
            key = codec.node_key(node_id)
            new = replace(new, updated=self._clock(), index=0)
            return Transaction((unchanged(state, key),), (PutKey(key, codec.encode(new)),))

        node = member(self._feed.state, node_id)
        if changed(node) != node:
            await self._commits.run(plan, what=f"what is new about node {node_id} cannot be noted")
        return member(self._feed.state, node_id)

    def _managers(self) -> tuple[str, ...]:
        """Those that are alive first."""
        state = self._feed.state
        managers = sorted(state.managers.values(), key=lambda node: node.id not in state.alive)
        return tuple(node.manager_address for node in managers)


def _is_news(known: Alive, alive: Alive) -> bool:
    return has_jumped(known, alive) or (known.repairs, known.problem) != (alive.repairs, alive.problem)


def member(state: State, node_id: str) -> Node:
    """Forbidden for a node that is not, or no longer, of this cluster."""
    node = state.nodes.get(node_id)
    if node is None:
        raise Forbidden(f"node {node_id[:64]} is not of this cluster (any more): let it leave, and join again")
    return node


def _arrival(state: State, alive: Alive, lease: int) -> Transaction | None:
    node_id = alive.node
    member(state, node_id)
    key, guard = codec.alive_key(node_id), codec.node_guard(node_id)
    if state.version(key).lease == lease:
        return None
    node = same_life(state, codec.node_key(node_id))
    put = PutKey(key, codec.encode(alive), lease)
    if node_id in state.alive:
        return Transaction((node, same_life(state, key)), (put,))
    return Transaction(
        (node, unchanged(state, key), unchanged(state, guard)), (put, PutKey(guard, codec.encode(codec.Guard())))
    )


def _renewal(state: State, alive: Alive, lease: int) -> Transaction | None:
    """None if the node has gone down meanwhile, or reports to another manager: its next report settles it."""
    key = codec.alive_key(alive.node)
    if state.version(key).lease != lease or state.alive.get(alive.node) == alive:
        return None
    return Transaction((unchanged(state, key),), (PutKey(key, codec.encode(alive), lease),))


def _check(report: Report) -> None:
    if not 0 <= report.clock < 1 << 63:
        raise InvalidParameter("the node's clock is no number of nanoseconds since 1970")
    if report.description is not None and _size(report.description) > _LARGEST_DESCRIPTION:
        raise InvalidParameter(f"the node's description is longer than {_LARGEST_DESCRIPTION} bytes")
    if problem := what_is_wrong_with_keys(report.secure or ()):
        raise InvalidParameter(f"the node's WireGuard keys: {problem}")
    try:
        if len(report.data_path) > _LONGEST_ADDRESS:
            raise ValueError
        if report.data_path:
            parse_address(report.data_path)
    except ValueError:
        raise InvalidParameter(f"the node's data path is not an address: {report.data_path[:64]!r}") from None


def _check_own(state: State, node_id: str, keys: tuple[SecureKey, ...]) -> None:
    """A key is one node's: else what is for another could be led astray."""
    mine = {key.public for key in keys}
    for other in state.nodes.values():
        if other.id != node_id and any(key.public in mine for key in other.secure):
            raise InvalidParameter(f"a WireGuard key of node {node_id[:64]} is that of node {other.id} already")


def _size(description: Description) -> int:
    return len(msgspec.json.encode(description))
