"""The node API's client: `contract.Link` to whichever manager answers, over mutual TLS 1.3.

A manager is recognised by the cluster's root and the name "swarm-manager" in its certificate, whatever its address.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from weakref import WeakSet

import aiohttp
import msgspec

from towline.cluster import pki
from towline.cluster.contract import Beat, Report, Update
from towline.cluster.exchange import (
    Dropped,
    Silent,
    client_tls,
    decoded,
    fetch,
    reason,
    refusal_of,
    whole,
)
from towline.cluster.identity import IdentityFiles
from towline.cluster.node_api import (
    ERA,
    SILENCE,
    BlockRequest,
    MemberGrant,
    MemberRequest,
    Number,
    Publication,
    Text,
    as_error,
)
from towline.cluster.scopes import Scopes
from towline.cluster.stream_wire import Outgoing
from towline.cluster.update_lines import LineReader
from towline.model.cluster import Block, Peer
from towline.model.errors import TowlineError, Unavailable
from towline.policy.swarm import CERTIFICATES_EXPIRED

__all__ = ["RemoteLink", "client_tls", "decoded", "fetch"]

T = TypeVar("T")

_CONNECT, _READ, _ANSWER = 2.0, 4.0, 12.0
"""Seconds. A manager tries a change for ten."""
_PATIENCE = 4.0
"""Seconds for which managers that cannot be reached are tried again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 0.8
_PROMOTION = 75.0
"""Seconds that a new member of etcd may take to catch up."""


class RemoteLink:
    """managers: host:port, asked in this order beginning with the one that answered last. clock: seconds since the
    epoch. patience: seconds for which managers that cannot be reached are tried again. silence: seconds after which a
    stream counts as cut. streamed: bytes that streams have brought. era: of the cluster, as far as this node knows:
    managers of an earlier one refuse it."""

    def __init__(
        self,
        files: IdentityFiles,
        managers: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
        patience: float = _PATIENCE,
        silence: float = SILENCE,
    ) -> None:
        self._files = files
        self._managers = list(managers)
        self._clock = clock
        self._patience = patience
        self._silence = silence
        self.streamed = 0
        self.era = 0
        self._closed = False
        self._proof: tuple[ssl.SSLContext, float] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._streams: WeakSet[aiohttp.ClientResponse] = WeakSet()

    @property
    def managers(self) -> tuple[str, ...]:
        return tuple(self._managers)

    def learn(self, managers: Sequence[str]) -> None:
        """Which managers there are now; the one that answers stays first."""
        first = self._managers[:1]
        self._managers = [*(m for m in first if m in managers), *(m for m in managers if m not in first)] or first

    async def close(self) -> None:
        """Whoever waits for an answer gets Unavailable."""
        self._closed = True
        for response in tuple(self._streams):
            # aiohttp does not wake who reads from a response that is closed.
            response.content.set_exception(aiohttp.ClientConnectionError("the link is closed"))
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def reload(self) -> None:
        """The certificate was renewed: new connections show the new one. Open streams go on."""
        self._proof = None

    # contract.Link

    def watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        return self._watch(scopes)

    async def beat(self, report: Report) -> Beat:
        beat = await self._ask("POST", "beat", Beat, report, answer=_READ)
        if beat.managers:
            self.learn(beat.managers)
        return beat

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        said = Publication(network_id, tuple(puts), tuple(gone))
        return (await self._ask("POST", "publish", Number, said)).number

    async def published(self) -> list[Peer]:
        return await self._ask("GET", "published", list[Peer], answer=_READ)

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        """Not asked twice: when an answer is lost there may be a block, which the next comparison returns."""
        said = BlockRequest(network_id, subnet, address)
        return await self._ask("POST", "blocks/lease", Block, said, again=False)

    async def claim_block(self, block: Block) -> Block:
        """Asked twice it answers the same."""
        return await self._ask("POST", "blocks/claim", Block, block)

    async def return_block(self, block: Block) -> None:
        await self._ask("POST", "blocks/return", object, block)

    async def blocks(self) -> list[Block]:
        return await self._ask("GET", "blocks", list[Block], answer=_READ)

    async def renew(self, request: bytes) -> bytes:
        return (await self._ask("POST", "renew", Text, Text(request.decode()))).text.encode()

    async def leave(self) -> None:
        await self._ask("POST", "leave", object)

    # managers to be

    async def grant_member(self, request: MemberRequest) -> MemberGrant:
        return await self._ask("POST", "manager/member", MemberGrant, request)

    async def promote_member(self, member: int) -> None:
        await self._ask("POST", "manager/promote", object, Number(member), answer=_PROMOTION)

    async def manager_ready(self, address: str) -> None:
        await self._ask("POST", "manager/ready", object, Text(address))

    # one manager after the other

    async def _ask(
        self,
        method: str,
        verb: str,
        kind: type[T],
        body: msgspec.Struct | None = None,
        *,
        answer: float = _ANSWER,
        again: bool = True,
    ) -> T:
        """The first answer that is not Unavailable, which a manager without etcd says. While no manager can be reached,
        all are tried again for a while. answer: seconds that one has. again: may be asked twice if an answer is lost.
        """
        data = None if body is None else msgspec.json.encode(body)
        ends, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            why: list[str] = []
            reached = not self._managers
            for manager in list(self._managers):
                try:
                    said = await self._once(manager, method, verb, data, answer, again)
                except Unavailable as error:
                    why.append(f"{manager}: {error}")
                    if not again and isinstance(error, Silent) and error.sent:
                        raise Unavailable(f"whether it was done is not known: {why[-1]}") from error
                    reached = reached or not isinstance(error, Silent)
                    continue
                self._prefer(manager)
                return decoded(said, kind)
            if reached or time.monotonic() + pause > ends:
                raise Unavailable("no manager answers: " + ("; ".join(why) or "none is known"))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(
        self, manager: str, method: str, verb: str, data: bytes | None, answer: float, again: bool
    ) -> bytes:
        """Once more where a connection that was kept turns out to be gone."""
        url = f"https://{manager}/v1/{verb}"
        try:
            return await fetch(self._open(), method, url, data, **self._options(answer))
        except Dropped:
            if not again:
                raise
        return await fetch(self._open(), method, url, data, **self._options(answer))

    def _prefer(self, manager: str) -> None:
        if self._managers[0] != manager and manager in self._managers:
            self._managers.remove(manager)
            self._managers.insert(0, manager)

    def _defer(self, manager: str) -> None:
        """It broke off: another one is asked next."""
        if self._managers[0] == manager:
            self._managers.append(self._managers.pop(0))

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable("the link is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=1 << 20, auto_decompress=False)
        return self._session

    def _options(self, total: float | None, silence: float | None = None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT, sock_read=silence)
        return {
            "timeout": timeout,
            "ssl": self._context(),
            "server_hostname": pki.ANY_MANAGER,
            "headers": {ERA: str(self.era)},
        }

    def _context(self) -> ssl.SSLContext:
        """Unavailable if this node's certificate has expired, or its files cannot be read."""
        if self._proof is None:
            try:
                until = pki.life_of(self._files.credentials().certificate)[1]
                self._proof = client_tls(self._files.ca.read_text(), str(self._files.proof)), until
            except (OSError, ValueError, TowlineError) as error:
                raise Unavailable(f"this node's certificate cannot be used: {error}") from error
        context, until = self._proof
        if until <= self._clock():
            raise Unavailable(CERTIFICATES_EXPIRED)
        return context

    async def _watch(self, scopes: Scopes) -> AsyncGenerator[Update, None]:
        why: list[str] = []
        for manager in list(self._managers):
            begun = False
            try:
                async with aclosing(self._stream(manager, scopes)) as updates:
                    async for update in updates:
                        if not begun:
                            begun = True
                            self._prefer(manager)
                        yield update
                raise Unavailable("the stream has ended")
            except Unavailable as error:
                why.append(f"{manager}: {error}")
                if begun:
                    self._defer(manager)
                    break
        raise Unavailable("no manager answers: " + ("; ".join(why) or "none is known"))

    async def _stream(self, manager: str, scopes: Scopes) -> AsyncGenerator[Update, None]:
        url = f"https://{manager}/v1/watch"
        outgoing = Outgoing(scopes)
        try:
            async with asyncio.timeout(self._silence):  # aiohttp's begins when the request is whole
                response = await self._open().post(
                    url, data=outgoing.body(), allow_redirects=False, **self._options(None, self._silence)
                )
            async with response:
                if response.status != 200:
                    raise as_error(refusal_of(await whole(response, 1 << 16)))
                self._streams.add(response)
                reader = LineReader()
                async for chunk in response.content.iter_any():
                    self.streamed += len(chunk)
                    for update in reader.feed(chunk):
                        yield update
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(reason(error)) from error
        finally:
            outgoing.close()
