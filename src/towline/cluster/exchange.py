"""One exchange with a manager's node API: TLS, bounded answers, and in words what went wrong."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import aiohttp
import msgspec

from towline.cluster.contract import Update
from towline.cluster.node_api import LARGEST_ANSWER, LARGEST_LINE, Refused, as_error
from towline.model.errors import Failure, Unavailable

T = TypeVar("T")


def client_tls(ca: str, proof: str | None) -> ssl.SSLContext:
    """ca: PEM. proof: path of a file with certificate and key, None for a node that has none yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    if proof is not None:
        context.load_cert_chain(proof)
    return context


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
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


def update_of(line: bytes) -> Update:
    try:
        return msgspec.json.decode(line, type=Update)
    except msgspec.ValidationError:
        raise as_error(decoded(line, Refused)) from None
    except msgspec.MsgspecError as error:
        raise Unavailable(f"the manager's answer is not understood: {error}") from None


class Dropped(Unavailable):
    """The connection ended before the answer; perhaps just an idle one at the moment of its use."""


async def fetch(session: aiohttp.ClientSession, method: str, url: str, data: bytes | None, **options: Any) -> bytes:
    """The body of a good answer; the error that a bad one carries; Unavailable without one."""
    try:
        async with session.request(method, url, data=data, allow_redirects=False, **options) as response:
            body = await whole(response, LARGEST_ANSWER)
            if response.status != 200:
                raise as_error(refusal_of(body))
            return body
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
        raise Unavailable(reason(error)) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError) as error:
        raise Dropped(reason(error)) from error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Unavailable(reason(error)) from error


async def whole(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """ValueError if it is longer."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > largest:
            raise ValueError(f"an answer of more than {largest} bytes")
        parts.append(part)
    return b"".join(parts)


def decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Failure(f"the manager's answer is not understood: {error}") from None


def refusal_of(body: bytes) -> Refused:
    try:
        return msgspec.json.decode(body, type=Refused)
    except msgspec.MsgspecError:
        return Refused("Unavailable", "the manager's answer is not understood")


def reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"what answers is no manager of this cluster: {_verdict(error.certificate_error)}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if isinstance(error, OSError) and isinstance(error.__cause__, ssl.SSLError):
        return f"it refused this node's certificate: {error.__cause__.reason}"
    return str(error) or type(error).__name__


def _verdict(error: Exception) -> str:
    return getattr(error, "verify_message", "") or str(error)
