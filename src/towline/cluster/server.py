"""The node API's server: HTTPS with TLS 1.3 on the swarm's port. Who asks, and in which role, its certificate says.

Without a certificate a caller gets the cluster's root certificate, and may join with a token. Everything else takes a
certificate of this cluster; what only managers may ask takes a manager's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import web

from towline.cluster.contract import Report
from towline.cluster.handshakes import Handshakes, Sparing
from towline.cluster.node_api import (
    LARGEST_BODY,
    LARGEST_JOIN,
    BlockRequest,
    Gate,
    JoinRequest,
    Managing,
    MemberRequest,
    Number,
    Publication,
    Text,
    refused,
)
from towline.cluster.node_requests import address_of, body_of, caller_of, era_of
from towline.cluster.server_streams import SLOW, Streams
from towline.model.cluster import Block, Role
from towline.model.errors import Failure, Forbidden, TowlineError, Unavailable
from towline.model.status import status_of

log = logging.getLogger(__name__)

_IDLE = 75.0
"""Seconds that a connection without a request is kept; nodes report more often than that."""
_encoder = msgspec.json.Encoder()


class NodeApi:
    """ca: the cluster's root, PEM. proof: file with this node's certificate and key. clock: seconds since the epoch.
    slow: seconds (`server_streams`)."""

    def __init__(
        self,
        managing: Managing,
        gate: Gate,
        *,
        cluster: str,
        ca: str,
        proof: Path,
        clock: Callable[[], float] = time.time,
        slow: float = SLOW,
    ) -> None:
        self._managing = managing
        self._gate = gate
        self._cluster = cluster
        self._ca = ca
        self._proof = proof
        self._clock = clock
        self._context = self._tls()
        self._sparing = Sparing()
        self._streams = Streams(slow=slow)
        self._runner: web.AppRunner | None = None
        self._handshakes: Handshakes | None = None

    @property
    def port(self) -> int:
        """0 while it does not serve."""
        return self._handshakes.port if self._handshakes is not None else 0

    async def start(self, host: str, port: int) -> None:
        """Unavailable, naming address and port, if they cannot be had."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes(self._routes())
        runner = self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            keepalive_timeout=_IDLE,
            auto_decompress=False,
        )
        await runner.setup()
        assert runner.server is not None
        self._handshakes = Handshakes(self._context, runner.server, self._sparing)
        try:
            self._handshakes.open(host, port)
        except Unavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """Open streams end."""
        handshakes, self._handshakes = self._handshakes, None
        if handshakes is not None:
            await handshakes.close()
        self._streams.end()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def reload(self) -> None:
        """The certificate was renewed: new connections get the new one."""
        self._context.load_cert_chain(self._proof)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self._ca)
        context.load_cert_chain(self._proof)
        return context

    def _routes(self) -> list[web.RouteDef]:
        anyone = self._anyone
        return [
            web.get("/v1/ca", anyone(self._root)),
            web.post("/v1/join", anyone(self._join)),
            web.post("/v1/watch", self._watch),
            web.post("/v1/beat", self._node(self._beat)),
            web.post("/v1/publish", self._node(self._publish)),
            web.get("/v1/published", self._node(lambda node, _: self._managing.published(node))),
            web.post("/v1/blocks/lease", self._node(self._lease)),
            web.post("/v1/blocks/claim", self._node(self._claim)),
            web.post("/v1/blocks/return", self._node(self._return)),
            web.get("/v1/blocks", self._node(lambda node, _: self._managing.blocks(node))),
            web.post("/v1/renew", self._node(self._renew)),
            web.post("/v1/leave", self._node(lambda node, _: self._managing.leave(node))),
            web.post("/v1/manager/member", self._node(self._member, "manager")),
            web.post("/v1/manager/promote", self._node(self._promote, "manager")),
            web.post("/v1/manager/ready", self._node(self._ready, "manager")),
        ]

    # who asks

    def _anyone(self, handler: Callable[[web.Request], Awaitable[object]]) -> Callable[..., Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return await self._answered(request, handler(request))

        return handle

    def _node(
        self, handler: Callable[[str, web.Request], Awaitable[object]], role: Role = "worker"
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> object:
            return await handler(await self._who(request, role), request)

        async def handle(request: web.Request) -> web.Response:
            return await self._answered(request, checked(request))

        return handle

    async def _who(self, request: web.Request, role: Role) -> str:
        """The asking node's id. Forbidden; Unavailable if it knows of a later era of the cluster."""
        caller = caller_of(request)
        if caller is None:
            raise Forbidden("a certificate of a node of this cluster is needed")
        if caller.cluster != self._cluster:
            raise Forbidden("the certificate is of another cluster")
        if caller.until <= self._clock():
            raise Forbidden("the certificate has expired: let the node leave, and join again")
        if role == "manager" and caller.role != "manager":
            raise Forbidden("only a manager may ask for this")
        if era_of(request) > self._managing.era:
            raise Unavailable(
                "this manager has what the cluster was before it was restored, or begun anew by another manager: let "
                "it leave with --force, and join again"
            )
        wanted = await self._managing.recognise(caller.node)
        if role == "manager" and wanted != "manager":
            raise Forbidden(f"node {caller.node} is no manager any more")
        return caller.node

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """It goes on until its node is removed, or the certificate has expired that it was asked for with."""
        caller = caller_of(request)
        try:
            node = await self._who(request, "worker")
            until = caller.until if caller is not None else 0.0

            def still() -> bool:
                return until > self._clock() and self._managing.is_member(node)

            return await self._streams.serve(request, node, partial(self._managing.watch, node), still)
        except TowlineError as error:
            return self._refusal(request, error)

    # verbs

    async def _root(self, request: web.Request) -> Text:
        return Text(self._ca)

    async def _join(self, request: web.Request) -> object:
        return await self._gate.join(await body_of(request, JoinRequest, LARGEST_JOIN), address_of(request))

    async def _beat(self, node: str, request: web.Request) -> object:
        return await self._managing.beat(node, await body_of(request, Report), address_of(request))

    async def _publish(self, node: str, request: web.Request) -> object:
        said = await body_of(request, Publication)
        return Number(await self._managing.publish(node, said.network, said.puts, said.gone))

    async def _lease(self, node: str, request: web.Request) -> object:
        said = await body_of(request, BlockRequest)
        return await self._managing.lease_block(node, said.network, said.subnet, said.address)

    async def _claim(self, node: str, request: web.Request) -> object:
        return await self._managing.claim_block(node, await body_of(request, Block))

    async def _return(self, node: str, request: web.Request) -> None:
        await self._managing.return_block(node, await body_of(request, Block))

    async def _renew(self, node: str, request: web.Request) -> object:
        said = await body_of(request, Text)
        return Text((await self._managing.renew(node, said.text.encode())).decode())

    async def _member(self, node: str, request: web.Request) -> object:
        return await self._gate.grant_member(node, await body_of(request, MemberRequest))

    async def _promote(self, node: str, request: web.Request) -> None:
        await self._gate.promote_member(node, (await body_of(request, Number)).number)

    async def _ready(self, node: str, request: web.Request) -> None:
        await self._gate.manager_ready(node, (await body_of(request, Text)).text)

    # answers

    async def _answered(self, request: web.Request, work: Awaitable[object]) -> web.Response:
        try:
            answer = await work
        except TowlineError as error:
            return self._refusal(request, error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("a node's request failed", extra={"fields": {"path": request.path}})
            return self._refusal(request, Failure("internal error: see the manager's log"))
        return web.Response(body=_encoder.encode(answer), content_type="application/json")

    def _refusal(self, request: web.Request, error: TowlineError) -> web.Response:
        status = status_of(error)
        if self._sparing.may_log():
            caller = caller_of(request)
            node = caller.node if caller else ""
            fields = {"path": request.path, "from": address_of(request), "node": node, "why": str(error)}
            level = logging.WARNING if status in (400, 403) else logging.INFO
            log.log(level, "a node was refused", extra={"fields": fields})
        return web.Response(status=status, body=_encoder.encode(refused(error)), content_type="application/json")
