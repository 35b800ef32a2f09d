"""One exchange with a manager's node API: TLS, bounded answers, and in words what went wrong."""

from __future__ import annotations

import os
import ssl
from typing import Any, TypeVar

import aiohttp
import msgspec

from towline.cluster.node_api import LARGEST_ANSWER, Refused, as_error
from towline.model.errors import Failure, Unavailable

T = TypeVar("T")


def client_tls(ca: str, proof: str | None) -> ssl.SSLContext:
    """ca: PEM. proof: path of a file with certificate and key, None for a node that has none yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=ca)
    if proof is not None:
        context.load_cert_chain(proof)
    return context


class Silent(Unavailable):
    """No answer. sent: the manager may have seen the request."""

    sent = True


class NotSent(Silent):
    """No connection."""

    sent = False


class Dropped(Silent):
    """The connection ended before the answer; perhaps just an idle one at the moment of its use."""


async def fetch(session: aiohttp.ClientSession, method: str, url: str, data: bytes | None, **options: Any) -> bytes:
    """The body of a good answer; the error that a bad one carries; Unavailable without one."""
    try:
        async with session.request(method, url, data=data, allow_redirects=False, **options) as response:
            body = await whole(response, LARGEST_ANSWER)
            if response.status != 200:
                raise as_error(refusal_of(body))
            return body
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise NotSent(reason(error)) from error
    except aiohttp.ServerTimeoutError as error:
        raise Silent(reason(error)) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError) as error:
        raise Dropped(reason(error)) from error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Silent(reason(error)) from error


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
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error.os_error, ssl.SSLError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else str(error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "it broke off in the middle of its answer"
    if isinstance(error, OSError) and isinstance(error.__cause__, ssl.SSLError):
        return f"it refused this node's certificate: {error.__cause__.reason}"
    return str(error) or type(error).__name__


def _verdict(error: Exception) -> str:
    return getattr(error, "verify_message", "") or str(error)
