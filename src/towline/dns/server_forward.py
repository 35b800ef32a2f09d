"""Questions that are not ours, for all sandboxes: which servers are asked, in which order, how many at a time, and the
cache of what they said."""

from __future__ import annotations

import asyncio
import functools
import resource
import socket
import time
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

import msgspec

from towline.dns import wire
from towline.dns.cache import Cache
from towline.dns.config import Upstream
from towline.dns.message import Reply, readdressed
from towline.dns.server_exchange import Opener, ask_tcp, ask_udp
from towline.dns.server_sockets import Inside, Target, open_target
from towline.dns.wire import Query

_SHARE = 64
"""Questions that every sandbox may have waiting, however busy the others are."""
_LEAST, _MOST, _SHARE_OF_FILES = 256, 16384, 4


class DnsCounters(msgspec.Struct):
    """Monotonic counts since start, of all sandboxes.

    queries: all that came in. forwarded: asked upstream. cached: answered from the cache. joined: answered with what
    another client's same question brought. failed: no server had an answer. refused: too many were waiting.
    """

    queries: int = 0
    forwarded: int = 0
    cached: int = 0
    joined: int = 0
    failed: int = 0
    refused: int = 0


class Origin(NamedTuple):
    """Who asks. upstreams: those that may be asked for it, in order. scope: origins of one scope are told the same."""

    sandbox: str
    inside: Inside
    upstreams: tuple[Upstream, ...]
    scope: str


def origin_of(sandbox: str, inside: Inside, upstreams: tuple[Upstream, ...]) -> Origin:
    """Servers of the host say the same to every sandbox; those in a sandbox's own network need not."""
    shared = all(upstream.host for upstream in upstreams)
    scope = " ".join(("" if shared else sandbox, *map(str, upstreams)))
    return Origin(sandbox, inside, upstreams, scope)


class _Outcome(NamedTuple):
    """full: the same over TCP, where UDP brought a truncated answer and TCP a whole one."""

    reply: Reply
    full: Reply | None = None


class Forwarder:
    """port: of upstream servers. capacity: questions of all sandboxes that may wait for an answer at one time; 0: by
    the limit of open files.

    Fairness: a sandbox may have as many waiting as there is room left, at least 64; so one alone can use half of the
    capacity, and none can lock out the others.
    """

    def __init__(self, counters: DnsCounters, *, port: int = 53, capacity: int = 0) -> None:
        self.counters = counters
        self._port = port
        self._capacity = capacity or _default_capacity()
        self._cache = Cache()
        self._waiting: Counter[str] = Counter()
        self._total = 0
        self._asking: dict[Hashable, asyncio.Task[_Outcome | None]] = {}

    def cached(self, origin: Origin, query: Query, data: bytes, *, stream: bool) -> bytes | None:
        """The answer if it is known; never waits."""
        found = self._cache.get(_key(origin, query), time.monotonic()) if query.plain else None
        if found is None:
            return None
        self.counters.cached += 1
        reply, age = found
        message = readdressed(reply, query, data, age)
        if len(message) > wire.limit_of(query, stream=stream):
            return wire.failure(query, data, reply.rcode, recursion=True, truncated=True)
        return message

    async def resolve(self, origin: Origin, query: Query, data: bytes, *, stream: bool) -> bytes:
        """The answer for the client: SERVFAIL if no server has one, REFUSED if too many questions are waiting."""
        if not self._admits(origin.sandbox):
            self.counters.refused += 1
            return wire.failure(query, data, wire.REFUSED)
        self._enter(origin.sandbox)
        try:
            outcome = await self._outcome(origin, query, data, stream)
        finally:
            self._leave(origin.sandbox)
        if outcome is None:
            self.counters.failed += 1
            return wire.failure(query, data, wire.SERVFAIL)
        fits = outcome.full is not None and len(outcome.full.data) <= wire.limit_of(query, stream=stream)
        return readdressed(outcome.full if outcome.full is not None and fits else outcome.reply, query, data)

    async def close(self) -> None:
        """Nobody waits any more when this has returned."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admits(self, sandbox: str) -> bool:
        room = self._capacity - self._total
        return room > 0 and self._waiting[sandbox] < max(_SHARE, room)

    def _enter(self, sandbox: str) -> None:
        self._waiting[sandbox] += 1
        self._total += 1

    def _leave(self, sandbox: str) -> None:
        self._total -= 1
        self._waiting[sandbox] -= 1
        if not self._waiting[sandbox]:
            del self._waiting[sandbox]

    async def _outcome(self, origin: Origin, query: Query, data: bytes, stream: bool) -> _Outcome | None:
        """Questions that differ in nothing an upstream server sees are asked once."""
        key = (_key(origin, query), stream, wire.limit_of(query, stream=stream)) if query.plain else object()
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(origin, query, data, stream))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        else:
            self.counters.joined += 1
        return await asyncio.shield(task)

    async def _ask(self, origin: Origin, query: Query, data: bytes, stream: bool) -> _Outcome | None:
        self.counters.forwarded += 1
        for upstream in origin.upstreams:
            opener = functools.partial(self._open, origin, upstream)
            outcome = await (_by_tcp if stream else _by_udp)(opener, query, data)
            if outcome is not None and outcome.reply.rcode not in (wire.SERVFAIL, wire.REFUSED):
                if query.plain:
                    self._cache.put(_key(origin, query), outcome.full or outcome.reply, time.monotonic())
                return outcome
        return None

    async def _open(self, origin: Origin, upstream: Upstream, kind: socket.SocketKind) -> Target:
        make = functools.partial(open_target, upstream.address, self._port, kind)
        return make() if upstream.host else await origin.inside.make(make)


async def _by_tcp(opener: Opener, query: Query, data: bytes) -> _Outcome | None:
    reply = await ask_tcp(opener, query, data)
    return _Outcome(reply) if reply is not None else None


async def _by_udp(opener: Opener, query: Query, data: bytes) -> _Outcome | None:
    reply = await ask_udp(opener, query, data)
    if reply is None or not reply.truncated:
        return _Outcome(reply) if reply is not None else None
    return _Outcome(reply, await ask_tcp(opener, query, data))


def _key(origin: Origin, query: Query) -> Hashable:
    """Everything in a plain query that its answer may depend on."""
    edns = None if query.edns is None else query.edns.flags
    return (query.name.lower(), query.qtype, query.qclass, query.flags & (wire.RD | wire.CD), edns, origin.scope)


def _default_capacity() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = soft if soft != resource.RLIM_INFINITY else _MOST * _SHARE_OF_FILES
    return max(_LEAST, min(_MOST, limit // _SHARE_OF_FILES))
