"""A cluster's node API on the loopback, with managers behind it that only note what they are asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from towline.cluster import pki, tokens
from towline.cluster.contract import Beat, Report, Update
from towline.cluster.exchange import client_tls
from towline.cluster.identity import Credentials, Identity, IdentityFiles
from towline.cluster.ids import new_id
from towline.cluster.node_api import Joined, JoinRequest, MemberGrant, MemberRequest
from towline.cluster.scopes import Scopes
from towline.cluster.server import NodeApi
from towline.model.cluster import Block, Peer, Role
from towline.model.errors import Forbidden, InvalidParameter, TowlineError

HOST = "127.0.0.1"
ETCD_KEY = "-----BEGIN PRIVATE KEY-----\netcd member's\n"


class FakeManaging:
    """`node_api.Managing` and `node_api.Gate` of one cluster. members: id -> role that is wanted. calls: (node, verb,
    arguments). fails: raised by the next verb. idle: seconds. scopes: of each stream that was asked for."""

    def __init__(self) -> None:
        self.id = new_id()
        self.root = pki.new_root()
        self.worker_token = tokens.new_token(self.root.certificate)
        self.manager_token = tokens.new_token(self.root.certificate)
        self.members: dict[str, Role] = {}
        self.calls: list[tuple[str, str, tuple[object, ...]]] = []
        self.fails: Exception | None = None
        self.managers: tuple[str, ...] = ()
        self.updates: asyncio.Queue[Update | TowlineError] = asyncio.Queue()
        self.idle = 5.0
        self.past = 0
        self.scopes: list[Scopes] = []
        self.watching = 0
        self.ended = asyncio.Event()

    def certified(
        self, folder: Path, role: Role = "worker", *, seconds: float = 3600, cluster: str = "", member: bool = True
    ) -> IdentityFiles:
        """A new node's files."""
        node = new_id()
        if member:
            self.members[node] = role
        subject = pki.Subject(node, role, cluster or self.id)
        signing = pki.new_request()
        certificate = pki.issue_node(self.root, signing.certificate, subject, seconds=seconds)
        files = IdentityFiles(folder / node)
        identity = Identity(node, subject.cluster, HOST, HOST, HOST)
        files.begin(identity, Credentials(certificate, signing.key, self.root.certificate))
        return files

    # Managing

    async def recognise(self, node_id: str) -> Role:
        if node_id not in self.members:
            raise Forbidden(f"node {node_id} is not of this cluster (any more): let it leave, and join again")
        return self.members[node_id]

    @property
    def era(self) -> int:
        return self.past

    def is_member(self, node_id: str) -> bool:
        return node_id in self.members

    async def watch(self, node_id: str, scopes: Scopes) -> AsyncGenerator[Update, None]:
        """The same to whatever scopes; each `idle` seconds without news the last revision."""
        self._note(node_id, "watch")
        self.scopes.append(scopes)
        self.watching += 1
        revision = 0
        try:
            while True:
                try:
                    async with asyncio.timeout(self.idle):
                        update = await self.updates.get()
                except TimeoutError:
                    update = Update(revision)
                if isinstance(update, TowlineError):
                    raise update
                revision = update.revision
                yield update
        finally:
            self.watching -= 1
            self.ended.set()

    async def beat(self, node_id: str, report: Report, address: str = "") -> Beat:
        self._note(node_id, "beat", report, address)
        return Beat(5.0, 15.0, 1, managers=self.managers)

    async def publish(self, node_id: str, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        self._note(node_id, "publish", network_id, tuple(puts), tuple(gone))
        return 7

    async def published(self, node_id: str) -> list[Peer]:
        self._note(node_id, "published")
        return [Peer("e", "n", node_id, HOST, "02:00:00:00:00:01")]

    async def lease_block(self, node_id: str, network_id: str, subnet: str, address: str = "") -> Block:
        self._note(node_id, "lease_block", network_id, subnet, address)
        return Block(network_id, subnet, "10.0.0.0/28", node_id)

    async def claim_block(self, node_id: str, block: Block) -> Block:
        self._note(node_id, "claim_block", block)
        return block

    async def return_block(self, node_id: str, block: Block) -> None:
        self._note(node_id, "return_block", block)

    async def blocks(self, node_id: str) -> list[Block]:
        self._note(node_id, "blocks")
        return [Block("n", "10.0.0.0/24", "10.0.0.0/28", node_id)]

    async def renew(self, node_id: str, request: bytes) -> bytes:
        self._note(node_id, "renew")
        subject = pki.Subject(node_id, self.members[node_id], self.id)
        return pki.issue_node(self.root, request.decode(), subject, seconds=7200).encode()

    async def leave(self, node_id: str) -> None:
        self._note(node_id, "leave")

    # Gate

    async def join(self, request: JoinRequest, address: str) -> Joined:
        role = tokens.role_of(request.token, worker=self.worker_token, manager=self.manager_token)
        if role is None:
            raise InvalidParameter("A valid join token is necessary to join this cluster")
        node = new_id()
        self.members[node] = role
        self._note(node, "join", address)
        subject = pki.Subject(node, role, self.id)
        certificate = pki.issue_node(self.root, request.request, subject, seconds=3600)
        return Joined(node, self.id, role, certificate, request.address or address, 4789, self.managers)

    async def grant_member(self, node_id: str, request: MemberRequest) -> MemberGrant:
        self._note(node_id, "grant_member", request)
        return MemberGrant("etcd's root", "certificate", ETCD_KEY, 7, {"other": request.peer})

    async def promote_member(self, node_id: str, member: int) -> None:
        self._note(node_id, "promote_member", member)

    async def manager_ready(self, node_id: str, address: str) -> None:
        self._note(node_id, "manager_ready", address)

    def _note(self, node_id: str, verb: str, *arguments: object) -> None:
        self.calls.append((node_id, verb, arguments))
        failure, self.fails = self.fails, None
        if failure is not None:
            raise failure


@asynccontextmanager
async def serving(
    cluster: FakeManaging, files: IdentityFiles, *, port: int = 0, host: str = HOST, **settings: object
) -> AsyncIterator[NodeApi]:
    """The node API of the manager with these files."""
    api = NodeApi(
        cluster,
        cluster,
        cluster=cluster.id,
        ca=cluster.root.certificate,
        proof=files.proof,
        **settings,  # type: ignore[arg-type]
    )
    await api.start(host, port)
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def caller(ca: str, files: IdentityFiles | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Of raw requests, with those files' certificate or none."""
    context = client_tls(ca, str(files.proof) if files else None)
    context.check_hostname = False
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


def unverified(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks this version of TLS and no other, and believes anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context
