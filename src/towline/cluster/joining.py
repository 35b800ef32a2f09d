"""Joining a cluster: know it by the digest in the token, then ask one of its managers for a certificate."""

from __future__ import annotations

import hmac
import ssl

import aiohttp
import msgspec

from towline.cluster import pki, tokens
from towline.cluster.client import client_tls, decoded, fetch
from towline.cluster.identity import Credentials, Identity
from towline.cluster.node_api import Joined, JoinRequest, Text
from towline.model.cluster import Description
from towline.model.errors import Failure, InvalidParameter, Unavailable
from towline.policy.swarm import JoinPlan
from towline.policy.swarm_address import HostPort

_CONNECT, _ANSWER = 10.0, 20.0
"""Seconds. Fifty that join at once wait for each other's handshakes; Docker gives a join 20 s."""


async def join(plan: JoinPlan, description: Description) -> tuple[Identity, Credentials]:
    """Who this node is in the cluster. The first manager that answers decides.

    InvalidParameter for a token that is none of that cluster's; Failure if what answers is another cluster;
    Unavailable if nothing answers.
    """
    token = tokens.parse_token(plan.token)
    why: list[str] = []
    for remote in plan.remotes:
        try:
            return await _join(remote, plan, token, description)
        except Unavailable as error:
            why.append(f"{remote}: {error}")
    raise Unavailable("no manager answers: " + "; ".join(why))


async def _join(
    remote: HostPort, plan: JoinPlan, token: tokens.Token, description: Description
) -> tuple[Identity, Credentials]:
    ca = await _root_of(remote, token)
    signing = pki.new_request()
    request = JoinRequest(
        token=plan.token,
        request=signing.certificate,
        port=plan.listen.port,
        address=plan.advertise.host if plan.advertise else "",
        data_path=plan.data_path,
        availability=plan.availability,
        description=description,
    )
    body = msgspec.json.encode(request)
    answer = await _once(client_tls(ca, None), "POST", remote, "join", body, server_hostname=pki.ANY_MANAGER)
    joined = decoded(answer, Joined)
    _check(joined, ca, signing.key)
    identity = Identity(
        node=joined.node,
        cluster=joined.cluster,
        listen=plan.listen.host,
        advertise=joined.address,
        data_path=plan.data_path or joined.address,
        local=joined.address if plan.listen.host in ("0.0.0.0", "::") else plan.listen.host,
        port=plan.listen.port,
        data_path_port=joined.data_path_port,
        managers=joined.managers or (str(remote),),
    )
    return identity, Credentials(joined.certificate, signing.key, ca)


async def _root_of(remote: HostPort, token: tokens.Token) -> str:
    """The root certificate, which the token proves: nothing else of this first connection is believed."""
    open_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    open_context.minimum_version = ssl.TLSVersion.TLSv1_3
    open_context.check_hostname = False
    open_context.verify_mode = ssl.CERT_NONE
    ca = decoded(await _once(open_context, "GET", remote, "ca", None), Text).text
    if not hmac.compare_digest(tokens.digest_of(ca), token.digest):
        raise Failure(f"remote CA does not match fingerprint: the token is not of the cluster that answers at {remote}")
    return ca


async def _once(
    context: ssl.SSLContext,
    method: str,
    remote: HostPort,
    verb: str,
    body: bytes | None,
    *,
    server_hostname: str | None = None,
) -> bytes:
    timeout = aiohttp.ClientTimeout(total=_ANSWER, sock_connect=_CONNECT)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        return await fetch(
            session, method, f"https://{remote}/v1/{verb}", body, timeout=timeout, server_hostname=server_hostname
        )


def _check(joined: Joined, ca: str, key: str) -> None:
    try:
        subject = pki.subject_of(joined.certificate)
        sound = pki.signed_by(joined.certificate, ca) and pki.belong_together(joined.certificate, key)
    except InvalidParameter as error:
        raise Failure(f"the manager's answer is not understood: {error}") from None
    if not sound or subject != pki.Subject(joined.node, joined.role, joined.cluster):
        raise Failure("the manager's answer is not understood: its certificate is another's")
