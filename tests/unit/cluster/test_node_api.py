"""The node API on real sockets: who is let in, who is refused, and what the log says of it."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop

from tests.support.node_api import ETCD_KEY, HOST, FakeManaging, caller, serving, unverified
from towline.cluster import handshakes, pki, tokens
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Report, Update
from towline.cluster.handshakes import Sparing
from towline.cluster.identity import IdentityFiles
from towline.cluster.node_api import LARGEST_BODY, LARGEST_JOIN, JoinRequest, MemberRequest, Refused
from towline.cluster.scopes import Scopes
from towline.cluster.server import NodeApi
from towline.daemon.logs import TextFormatter
from towline.model.cluster import Block, Peer
from towline.model.errors import Conflict, Forbidden, NotFound, Unavailable

NET = "n" * 25


@pytest.fixture
def cluster() -> FakeManaging:
    return FakeManaging()


@pytest.fixture
def manager(cluster: FakeManaging, tmp_path: Path) -> IdentityFiles:
    return cluster.certified(tmp_path, "manager")


@pytest.fixture
async def api(cluster: FakeManaging, manager: IdentityFiles) -> AsyncIterator[NodeApi]:
    """Fails the test for an exception that reached the event loop."""
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with serving(cluster, manager) as served:
        yield served
    assert unhandled == []


@pytest.fixture(autouse=True)
def said() -> Iterator[io.StringIO]:
    """The log as the daemon writes it, at level debug."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


async def _said(log: io.StringIO, *words: str) -> None:
    """The log tells all of this in one line; waits for it."""
    async with asyncio.timeout(10):
        while not any(all(word in line for word in words) for line in log.getvalue().splitlines()):
            await asyncio.sleep(0.01)


def _link(files: IdentityFiles, *ports: int) -> RemoteLink:
    return RemoteLink(files, [f"{HOST}:{port}" for port in ports])


def _node(files: IdentityFiles) -> str:
    identity = files.load()
    assert identity is not None
    return identity.node


async def _ask(
    cluster: FakeManaging, api: NodeApi, files: IdentityFiles | None, path: str, data: bytes | None = None, **more: str
) -> tuple[int, str]:
    """Status and message of a raw request. more: headers."""
    async with caller(cluster.root.certificate, files) as session:
        method = "GET" if data is None else "POST"
        async with session.request(method, f"https://{HOST}:{api.port}/v1/{path}", data=data, headers=more) as response:
            return response.status, msgspec.json.decode(await response.read(), type=Refused).message


async def test_every_verb_arrives_with_the_node_of_the_certificate(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path
) -> None:
    files = cluster.certified(tmp_path)
    node, link = _node(files), _link(files, api.port)
    peer = Peer("e", NET, "somebody else", HOST, "02:00:00:00:00:01")
    block = Block(NET, "10.0.0.0/24", "10.0.0.0/28", node)
    try:
        assert (await link.beat(Report(3, 4))).period == 5.0
        assert await link.publish(NET, [peer], ["f"]) == 7
        assert [known.node for known in await link.published()] == [node]
        assert await link.lease_block(NET, "10.0.0.0/24", "10.0.0.3") == block
        await link.return_block(block)
        assert [known.node for known in await link.blocks()] == [node]
        signing = pki.new_request()
        renewed = (await link.renew(signing.certificate.encode())).decode()
        assert pki.belong_together(renewed, signing.key)
        await link.leave()
    finally:
        await link.close()
    assert {call[0] for call in cluster.calls} == {node}
    assert [call[1:] for call in cluster.calls] == [
        ("beat", (Report(3, 4), HOST)),
        ("publish", (NET, (peer,), ("f",))),
        ("published", ()),
        ("lease_block", (NET, "10.0.0.0/24", "10.0.0.3")),
        ("return_block", (block,)),
        ("blocks", ()),
        ("renew", ()),
        ("leave", ()),
    ]


@pytest.mark.parametrize("error", [Conflict("taken by x"), NotFound("network x not found"), Forbidden("not yours")])
async def test_a_refusal_arrives_as_what_it_is(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, error: Exception
) -> None:
    link = _link(cluster.certified(tmp_path), api.port)
    cluster.fails = error
    with pytest.raises(type(error), match=f"^{error}$"):
        await link.blocks()
    await link.close()


async def test_a_fault_of_ours_is_logged_and_told_without_its_text(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO
) -> None:
    cluster.fails = RuntimeError("inner secret")
    status, text = await _ask(cluster, api, cluster.certified(tmp_path), "blocks")
    assert (status, text) == (500, "internal error: see the manager's log")
    await _said(said, "a node's request failed", "inner secret")


# who is refused


async def test_without_a_certificate_only_root_and_join(cluster: FakeManaging, api: NodeApi, said: io.StringIO) -> None:
    for path in ("blocks", "published"):
        assert await _ask(cluster, api, None, path) == (403, "a certificate of a node of this cluster is needed")
    for path in ("watch", "beat", "publish", "renew", "leave", "manager/member", "manager/ready"):
        assert (await _ask(cluster, api, None, path, b"{}"))[0] == 403
    assert cluster.calls == []
    await _said(said, "a node was refused", "level=warning", "/v1/watch", HOST)


async def test_an_expired_certificate_is_refused(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO
) -> None:
    files = cluster.certified(tmp_path, seconds=-60)
    link = RemoteLink(files, [f"{HOST}:{api.port}"], clock=lambda: 0.0)
    with pytest.raises(Unavailable, match="certificate|closed"):
        await link.blocks()
    await link.close()
    await _said(said, "a caller of the node API was refused", "certificate has expired", HOST)
    link = _link(files, api.port)
    with pytest.raises(Unavailable, match="Swarm certificates have expired"):
        await link.blocks()
    await link.close()
    assert cluster.calls == []


async def test_a_certificate_that_expires_ends_what_is_open(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path
) -> None:
    now = [0.0]
    files = cluster.certified(tmp_path)
    async with serving(cluster, manager, clock=lambda: now[0]) as api:
        link = _link(files, api.port)
        stream = link.watch(Scopes("base"))
        cluster.updates.put_nowait(Update(1))
        assert await anext(stream) == Update(1)
        now[0] = 1e12
        cluster.updates.put_nowait(Update(2))
        with pytest.raises(Unavailable):
            await anext(stream)
        with pytest.raises(Forbidden, match="the certificate has expired"):
            await link.blocks()
        await link.close()


async def test_another_cluster_is_refused(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO
) -> None:
    other = FakeManaging()
    stranger = other.certified(tmp_path, "manager")
    stranger.ca.write_text(cluster.root.certificate)  # it believes us; we do not believe it
    link = _link(stranger, api.port)
    with pytest.raises(Unavailable):
        await link.blocks()
    await link.close()
    await _said(said, "a caller of the node API was refused", "its certificate")
    same_root = cluster.certified(tmp_path, cluster="x" * 25)
    assert await _ask(cluster, api, same_root, "blocks") == (403, "the certificate is of another cluster")


async def test_a_worker_is_no_manager(cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO) -> None:
    worker = cluster.certified(tmp_path)
    cluster.members[_node(worker)] = "manager"  # wanted, but its certificate does not say so
    link = _link(worker, api.port)
    grant = link.grant_member(MemberRequest((HOST,), "https://x:2378"))
    for verb in (grant, link.promote_member(5), link.manager_ready("x:2377")):
        with pytest.raises(Forbidden, match="^only a manager may ask for this$"):
            await verb
    await link.close()
    assert cluster.calls == []
    await _said(said, "a node was refused", "/v1/manager/member", _node(worker))


async def test_a_demoted_manager_is_none_although_its_certificate_says_so(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path
) -> None:
    files = cluster.certified(tmp_path, "manager")
    link = _link(files, api.port)
    assert (await link.grant_member(MemberRequest((HOST,), "https://x:2378"))).key == ETCD_KEY
    cluster.members[_node(files)] = "worker"
    with pytest.raises(Forbidden, match="no manager any more"):
        await link.grant_member(MemberRequest((HOST,), "https://x:2378"))
    assert await link.blocks()
    await link.close()


async def test_a_removed_node_is_refused_and_its_stream_ends(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO
) -> None:
    files = cluster.certified(tmp_path)
    link = _link(files, api.port)
    stream = link.watch(Scopes("base"))
    cluster.updates.put_nowait(Update(1))
    await anext(stream)
    del cluster.members[_node(files)]
    cluster.updates.put_nowait(Update(2))
    with pytest.raises(Unavailable):
        await anext(stream)
    with pytest.raises(Forbidden, match="is not of this cluster"):
        await link.blocks()
    await link.close()
    await _said(said, "a node was refused", _node(files), "not of this cluster")


async def _raw(port: int, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Everything that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    writer.write(data)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


_PLAIN = [(b"GET /v1/ca HTTP/1.1\r\n\r\n", "plain HTTP"), (b"\x00" * 64, "not TLS"), (b"SSH-2\r\n", "not TLS")]


@pytest.mark.parametrize(("data", "why"), _PLAIN)
async def test_plain_text_is_refused(api: NodeApi, said: io.StringIO, data: bytes, why: str) -> None:
    assert b"BEGIN CERTIFICATE" not in await _raw(api.port, data)
    await _said(said, "a caller of the node API was refused", why)


async def test_older_tls_is_refused(api: NodeApi, said: io.StringIO) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _raw(api.port, b"", unverified(ssl.TLSVersion.TLSv1_2))
    await _said(said, "a caller of the node API was refused", "older than 1.3")
    answer = await _raw(
        api.port, b"GET /v1/ca HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", unverified(ssl.TLSVersion.TLSv1_3)
    )
    assert b"BEGIN CERTIFICATE" in answer


_HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "deep": b'{"x":' + b"[" * 200_000,
    "bad UTF-8": b'{"network":"\xff\xfe"}',
    "lone surrogate": b'{"network":"\\ud800","gone":[1]}',
    "wrong types": b'{"network":1}',
    "too long": b" " * (LARGEST_BODY + 1),
    "compressed": gzip.compress(b'{"network":"' + b"x" * 100 + b'"}'),
}


@pytest.mark.parametrize("body", _HOSTILE)
async def test_a_hostile_body_is_refused_with_its_reason(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO, body: str
) -> None:
    files = cluster.certified(tmp_path)
    headers = {"Content-Encoding": "gzip"} if body == "compressed" else {}
    status, text = await _ask(cluster, api, files, "publish", _HOSTILE[body], **headers)
    assert status == 400
    assert text.startswith("the request ")
    assert cluster.calls == []
    await _said(said, "a node was refused", "/v1/publish", "why=")


async def test_a_request_to_join_is_short(cluster: FakeManaging, api: NodeApi) -> None:
    status, text = await _ask(cluster, api, None, "join", b" " * (LARGEST_JOIN + 1))
    assert (status, text) == (400, f"the request has more than {LARGEST_JOIN} bytes")


async def test_strangers_are_few_and_do_not_stay(
    cluster: FakeManaging, api: NodeApi, said: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(handshakes, "_MOST_STRANGERS", 2)
    monkeypatch.setattr(handshakes, "_STRANGER", 1.0)
    waiting = [asyncio.create_task(_raw(api.port, b"", unverified(ssl.TLSVersion.TLSv1_3))) for _ in range(3)]
    await _said(said, "a caller of the node API was refused", "2 callers without a certificate")
    link = _link(cluster.certified(tmp_path), api.port)
    assert await link.blocks()  # who has a certificate is not kept out
    await link.close()
    assert await asyncio.gather(*waiting) == [b"", b"", b""]


async def test_a_silent_handshake_does_not_hold_others_up(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_HANDSHAKE", 0.5)
    _, writer = await asyncio.open_connection(HOST, api.port)
    link = _link(cluster.certified(tmp_path), api.port)
    assert await link.blocks()
    await link.close()
    await _said(said, "a caller of the node API was refused", "handshake")
    writer.close()


def test_a_flood_of_refusals_does_not_fill_the_log(said: io.StringIO) -> None:
    sparing = Sparing(most=3, seconds=3600)
    assert [sparing.may_log() for _ in range(5)] == [True, True, True, False, False]
    sparing = Sparing(most=1, seconds=0)
    assert [sparing.may_log() for _ in range(3)] == [True, True, True]


# streams


async def test_a_stream_is_passed_on_and_its_error_too(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    link = _link(cluster.certified(tmp_path), api.port)
    told = [Update(1, snapshot=True), Update(2, gone_peers=("e",)), Update(3)]
    for update in told:
        cluster.updates.put_nowait(update)
    cluster.updates.put_nowait(NotFound("network x not found"))
    stream = link.watch(Scopes(NET))
    assert [await anext(stream) for _ in told] == told
    with pytest.raises(NotFound, match="network x not found"):
        await anext(stream)
    await link.close()
    assert cluster.watching == 0


async def test_a_reader_that_went_away_frees_its_stream(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    link = _link(cluster.certified(tmp_path), api.port)
    stream = link.watch(Scopes("base"))
    cluster.updates.put_nowait(Update(1))
    await anext(stream)
    assert cluster.watching == 1
    await link.close()
    with pytest.raises(Unavailable):
        await anext(stream)
    async with asyncio.timeout(10):
        while not cluster.ended.is_set():
            cluster.updates.put_nowait(Update(2))
            await asyncio.sleep(0.01)
    assert cluster.watching == 0


async def test_streams_are_bounded(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.server_streams.MOST", 1)
    link = _link(cluster.certified(tmp_path), api.port)
    first = link.watch(Scopes("base"))
    cluster.updates.put_nowait(Update(1))
    await anext(first)
    with pytest.raises(Unavailable, match="has 1 streams open already"):
        await anext(link.watch(Scopes("base")))
    await link.close()


# secrets


async def test_a_stolen_old_token_is_refused_and_no_secret_is_logged(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, said: io.StringIO
) -> None:
    stolen = cluster.worker_token
    cluster.worker_token = tokens.new_token(cluster.root.certificate)
    signing = pki.new_request()

    async def join(token: str) -> tuple[int, bytes]:
        body = msgspec.json.encode(JoinRequest(token, signing.certificate, 2377))
        async with (
            caller(cluster.root.certificate, None) as session,
            session.post(f"https://{HOST}:{api.port}/v1/join", data=body) as response,
        ):
            return response.status, await response.read()

    status, text = await join(stolen)
    assert status == 400
    assert b"A valid join token is necessary to join this cluster" in text
    await _said(said, "a node was refused", "/v1/join", "valid join token")
    assert (await join(cluster.worker_token))[0] == 200
    link = _link(cluster.certified(tmp_path, "manager"), api.port)
    assert (await link.grant_member(MemberRequest((HOST,), "https://x:2378"))).key == ETCD_KEY
    await link.renew(signing.certificate.encode())
    await link.close()
    secrets = [token.rpartition("-")[2] for token in (stolen, cluster.worker_token, cluster.manager_token)]
    secrets += [signing.key[40:80], cluster.root.key[40:80], "PRIVATE KEY", "etcd member's"]
    assert [secret for secret in secrets if secret in said.getvalue()] == []
    assert said.getvalue()


# the server itself


async def test_a_taken_port_is_told(cluster: FakeManaging, api: NodeApi, manager: IdentityFiles) -> None:
    with pytest.raises(Unavailable, match=f"listen for nodes on {HOST}:{api.port}: Address already in use"):
        async with serving(cluster, manager, port=api.port):
            pass


async def test_ipv4_and_ipv6_at_once_and_the_callers_bare_address(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path
) -> None:
    async with serving(cluster, manager, host="::") as api:
        for host in (HOST, "[::1]"):
            link = RemoteLink(cluster.certified(tmp_path), [f"{host}:{api.port}"])
            await link.beat(Report(1, 1))
            await link.close()
    assert [call[2][1] for call in cluster.calls] == [HOST, "::1"]


async def test_a_renewed_certificate_is_shown_to_new_callers(
    cluster: FakeManaging, api: NodeApi, manager: IdentityFiles
) -> None:
    async def shown() -> str:
        _, writer = await asyncio.open_connection(HOST, api.port, ssl=unverified(ssl.TLSVersion.TLSv1_3))
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return ssl.DER_cert_to_PEM_cert(found)

    before = await shown()
    signing = pki.new_request()
    renewed = await cluster.renew(_node(manager), signing.certificate.encode())
    manager.save_certificate(renewed.decode(), signing.key)
    assert await shown() == before
    api.reload()
    assert await shown() == renewed.decode()


def test_all_of_it_on_the_daemons_event_loop(cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(cluster, manager) as api:
            link = _link(cluster.certified(tmp_path), api.port)
            cluster.updates.put_nowait(Update(1))
            assert await anext(link.watch(Scopes("base"))) == Update(1)
            assert await link.blocks()
            assert await _raw(api.port, b"GET / HTTP/1.1\r\n\r\n") is not None
            with pytest.raises(Forbidden):
                await _link(cluster.certified(tmp_path, member=False), api.port).blocks()
            await link.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
