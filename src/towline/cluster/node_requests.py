"""A request to the node API: who asks, from where, and what is in it. All of it is checked; nothing is believed that
the connection's certificate does not say."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from towline.cluster.node_api import ERA, LARGEST_BODY
from towline.cluster.pki import ROLES
from towline.model.cluster import Role
from towline.model.errors import InvalidParameter

T = TypeVar("T")

_WHOLE = 15.0
"""Seconds in which a request must be here."""


class Caller(NamedTuple):
    """What the certificate of a connection says. until: seconds since the epoch."""

    node: str
    role: Role
    cluster: str
    until: float


async def body_of(request: web.Request, kind: type[T], largest: int = LARGEST_BODY) -> T:
    """InvalidParameter for what is too long, too slow, or not understood."""
    try:
        async with asyncio.timeout(_WHOLE):
            return msgspec.json.decode(await request.clone(client_max_size=largest).read(), type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidParameter(f"the request is not understood: {error}") from None
    except web.HTTPRequestEntityTooLarge:
        raise InvalidParameter(f"the request has more than {largest} bytes") from None
    except (web.RequestPayloadError, TimeoutError):
        raise InvalidParameter("the request did not arrive whole") from None


def address_of(request: web.Request) -> str:
    """Bare address of the caller; that of IPv4 where a socket of both families maps it."""
    text = (request.remote or "").partition("%")[0]
    if text.startswith("::ffff:"):
        return str(IPv6Address(text).ipv4_mapped or text)
    return text


def era_of(request: web.Request) -> int:
    """What the caller knows of the cluster's era; 0 for what is no number."""
    text = request.headers.get(ERA, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def caller_of(request: web.Request) -> Caller | None:
    """By the verified certificate of the connection; None without one, or with one that is no node's."""
    transport = request.transport
    found: Any = transport.get_extra_info("peercert") if transport is not None else None
    if not found:
        return None
    names: dict[str, str] = {}
    for key, value in (pair for part in found.get("subject", ()) for pair in part):
        if key in names:
            return None
        names[key] = value
    role = ROLES.get(names.get("organizationalUnitName", ""))
    node, cluster = names.get("commonName", ""), names.get("organizationName", "")
    if role is None or not node or not cluster:
        return None
    return Caller(node, role, cluster, _seconds(found["notAfter"]))


@lru_cache(4096)
def _seconds(text: str) -> float:
    """Parsing takes longer than all else that is asked of a certificate."""
    return ssl.cert_time_to_seconds(text)
