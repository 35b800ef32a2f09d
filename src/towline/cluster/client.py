"""The node API's client: `contract.Link` to whichever manager answers, over mutual TLS 1.3.

A manager is recognised by the cluster's root and the name "swarm-manager" in its certificate, whatever its address.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from towline.cluster.contract import Beat, Report, Update
from towline.cluster.identity import IdentityFiles
from towline.cluster.node_api import (
    LARGEST_LINE,
    SILENCE,
    BlockRequest,
    MemberGrant,
    MemberRequest,
    Number,
    Publication,
    Refused,
    Text,
    as_error,
)
from towline.cluster.pki import ANY_MANAGER
from towline.model.cluster import Block, Peer
from towline.model.errors import Failure, Unavailable

T = TypeVar("T")

_CONNECT, _ANSWER = 2.0, 12.0
"""Seconds. A manager tries a change for ten."""


def client_tls(ca: str, proof: str | None) -> ssl.SSLContext:
    """ca: PEM. proof: path of a file with certificate and key, None for a node that has none yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    if proof is not None:
        context.load_cert_chain(proof)
    return context


class RemoteLink:
    """managers: host:port, asked in this order beginning with the one that answered last."""

    def __init__(self, files: IdentityFiles, managers: Sequence[str]) -> None:
        self._files = files
        self._managers = list(managers)
        self._session: aiohttp.ClientSession | None = None

    def learn(self, managers: Sequence[str]) -> None:
        """Which managers there are now; the one that answers stays first."""
        first = self._managers[:1]
        self._managers = [*(m for m in first if m in managers), *(m for m in managers if m not in first)] or first

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def reload(self) -> None:
        """The certificate was renewed: new connections show the new one."""
        await self.close()

    # contract.Link

    def watch(self, scope: str) -> AsyncIterator[Update]:
        return self._watch(scope)

    async def beat(self, report: Report) -> Beat:
        beat = await self._ask("POST", "beat", Beat, report)
        if beat.managers:
            self.learn(beat.managers)
        return beat

    async def publish(self, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        said = Publication(network_id, tuple(puts), tuple(gone))
        return (await self._ask("POST", "publish", Number, said)).number

    async def published(self) -> list[Peer]:
        return await self._ask("GET", "published", list[Peer])

    async def lease_block(self, network_id: str, subnet: str, address: str = "") -> Block:
        return await self._ask("POST", "blocks/lease", Block, BlockRequest(network_id, subnet, address))

    async def return_block(self, block: Block) -> None:
        await self._ask("POST", "blocks/return", object, block)

    async def blocks(self) -> list[Block]:
        return await self._ask("GET", "blocks", list[Block])

    async def renew(self, request: bytes) -> bytes:
        return (await self._ask("POST", "renew", Text, Text(request.decode()))).text.encode()

    async def leave(self) -> None:
        await self._ask("POST", "leave", object)

    # managers to be

    async def grant_member(self, request: MemberRequest) -> MemberGrant:
        return await self._ask("POST", "manager/member", MemberGrant, request)

    async def manager_ready(self, address: str) -> None:
        await self._ask("POST", "manager/ready", object, Text(address))

    # one manager after the other

    async def _ask(self, method: str, verb: str, kind: type[T], body: msgspec.Struct | None = None) -> T:
        """Unavailable if none answers; a manager without etcd counts as none."""
        why: list[str] = []
        for manager in list(self._managers):
            try:
                answer = await self._once(manager, method, verb, body)
            except Unavailable as error:
                why.append(f"{manager}: {error}")
                continue
            self._prefer(manager)
            return decoded(answer, kind)
        raise Unavailable("no manager answers: " + ("; ".join(why) or "none is known"))

    async def _once(self, manager: str, method: str, verb: str, body: msgspec.Struct | None) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        timeout = aiohttp.ClientTimeout(total=_ANSWER, sock_connect=_CONNECT)
        url = f"https://{manager}/v1/{verb}"
        return await fetch(self._open(), method, url, data, timeout=timeout, server_hostname=ANY_MANAGER)

    def _prefer(self, manager: str) -> None:
        if self._managers[0] != manager and manager in self._managers:
            self._managers.remove(manager)
            self._managers.insert(0, manager)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = client_tls(self._files.ca.read_text(), str(self._files.proof))
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=1 << 20)
        return self._session

    async def _watch(self, scope: str) -> AsyncIterator[Update]:
        why: list[str] = []
        for manager in list(self._managers):
            begun = False
            try:
                async for update in self._stream(manager, scope):
                    begun = True
                    self._prefer(manager)
                    yield update
                raise Unavailable("the stream has ended")
            except Unavailable as error:
                why.append(f"{manager}: {error}")
                if begun:
                    break
        raise Unavailable("no manager answers: " + ("; ".join(why) or "none is known"))

    async def _stream(self, manager: str, scope: str) -> AsyncIterator[Update]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=SILENCE)
        url = f"https://{manager}/v1/watch"
        try:
            async with self._open().get(
                url, params={"scope": scope}, timeout=timeout, server_hostname=ANY_MANAGER
            ) as response:
                if response.status != 200:
                    raise as_error(_refusal(await response.content.read(1 << 16)))
                async for line in _lines(response.content):
                    yield _update(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(_reason(error)) from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines. ValueError for one that is too long."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield b"".join((*parts, piece))
            parts, size = [], 0
        size += len(rest)
        if size > LARGEST_LINE:
            raise ValueError(f"a line has more than {LARGEST_LINE} bytes")
        if rest:
            parts.append(rest)


def _update(line: bytes) -> Update:
    try:
        return msgspec.json.decode(line, type=Update)
    except msgspec.ValidationError:
        raise as_error(decoded(line, Refused)) from None
    except msgspec.MsgspecError as error:
        raise Unavailable(f"the manager's answer is not understood: {error}") from None


async def fetch(session: aiohttp.ClientSession, method: str, url: str, data: bytes | None, **options: Any) -> bytes:
    """The body of a good answer; the error that a bad one carries; Unavailable without one."""
    try:
        async with session.request(method, url, data=data, **options) as response:
            body = await response.read()
            if response.status != 200:
                raise as_error(_refusal(body))
            return body
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(_reason(error)) from error


def decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Failure(f"the manager's answer is not understood: {error}") from None


def _refusal(body: bytes) -> Refused:
    try:
        return msgspec.json.decode(body, type=Refused)
    except msgspec.MsgspecError:
        return Refused("Unavailable", "the manager's answer is not understood")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
