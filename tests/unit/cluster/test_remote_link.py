"""The link to a manager on real sockets: connections that end, certificates that change, and what is no manager."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.node_api import HOST, FakeManaging, serving, unverified
from towline.cluster import exchange
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Update
from towline.cluster.identity import IdentityFiles
from towline.cluster.scopes import Scopes
from towline.cluster.server import NodeApi
from towline.cluster.update_lines import LineReader
from towline.model.errors import Failure, TowlineError, Unavailable


@pytest.fixture
def cluster() -> FakeManaging:
    return FakeManaging()


@pytest.fixture
def manager(cluster: FakeManaging, tmp_path: Path) -> IdentityFiles:
    return cluster.certified(tmp_path, "manager")


@pytest.fixture
async def api(cluster: FakeManaging, manager: IdentityFiles) -> AsyncIterator[NodeApi]:
    async with serving(cluster, manager) as served:
        yield served


@asynccontextmanager
async def linked(files: IdentityFiles, *ports: int) -> AsyncIterator[RemoteLink]:
    link = RemoteLink(files, [f"{HOST}:{port}" for port in ports])
    try:
        yield link
    finally:
        await link.close()


Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def impostor(files: IdentityFiles, speak: Speak) -> AsyncIterator[int]:
    """Something with a certificate that speaks as it likes; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.proof)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def says(text: bytes, *, then: bytes = b"") -> Speak:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.write(then)
        await writer.drain()

    return speak


async def _next(stream: AsyncIterator[Update]) -> Update:
    return await anext(stream)


async def test_a_connection_that_ends_at_the_moment_of_its_use_is_no_error(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path
) -> None:
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull")
        await reader.readuntil(b"\r\n\r\n")

    async with impostor(manager, once) as port, linked(cluster.certified(tmp_path), port) as link:
        await link.leave()
        await link.leave()
    assert connections == 2


async def test_a_stream_ends_with_its_manager(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    async with linked(cluster.certified(tmp_path), api.port) as link:
        stream = link.watch(Scopes("base"))
        cluster.updates.put_nowait(Update(1))
        await anext(stream)
        ended = asyncio.create_task(_next(stream))
        await api.close()
        with pytest.raises(Unavailable):
            await ended


async def test_who_waits_is_woken_by_close(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    async with linked(cluster.certified(tmp_path), api.port) as link:
        stream = link.watch(Scopes("base"))
        cluster.updates.put_nowait(Update(1))
        await anext(stream)
        ended = asyncio.create_task(_next(stream))
        await asyncio.sleep(0)
        await link.close()
        with pytest.raises(Unavailable):
            await ended
        with pytest.raises(Unavailable, match="the link is closed"):
            await link.blocks()


async def test_a_renewed_certificate_is_shown_and_streams_go_on(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path
) -> None:
    files, other = cluster.certified(tmp_path), cluster.certified(tmp_path)
    async with linked(files, api.port) as link:
        stream = link.watch(Scopes("base"))
        cluster.updates.put_nowait(Update(1))
        await anext(stream)
        held = other.credentials()
        files.save_certificate(held.certificate, held.key)
        await link.blocks()
        assert cluster.calls[-1][0] == files.root.name
        await link.reload()
        await link.blocks()
        assert cluster.calls[-1][0] == other.root.name
        cluster.updates.put_nowait(Update(2))
        assert await anext(stream) == Update(2)


# what is no manager


async def test_a_worker_is_not_taken_for_a_manager(cluster: FakeManaging, tmp_path: Path) -> None:
    worker = cluster.certified(tmp_path)
    async with serving(cluster, worker) as api, linked(cluster.certified(tmp_path), api.port) as link:
        with pytest.raises(Unavailable, match="what answers is no manager of this cluster: .*swarm-manager"):
            await link.blocks()
    assert cluster.calls == []


async def test_another_clusters_manager_is_not_believed(cluster: FakeManaging, tmp_path: Path) -> None:
    other = FakeManaging()
    theirs = other.certified(tmp_path, "manager")
    async with serving(other, theirs) as api, linked(cluster.certified(tmp_path), api.port) as link:
        with pytest.raises(Unavailable, match="what answers is no manager of this cluster"):
            await link.blocks()
        with pytest.raises(Unavailable, match="what answers is no manager of this cluster"):
            await anext(link.watch(Scopes("base")))


async def test_older_tls_is_not_spoken(cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(manager.proof)
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context)
    async with server, linked(cluster.certified(tmp_path), server.sockets[0].getsockname()[1]) as link:
        with pytest.raises(Unavailable):
            await link.blocks()
        _, writer = await asyncio.open_connection(
            HOST, server.sockets[0].getsockname()[1], ssl=unverified(ssl.TLSVersion.TLSv1_2)
        )
        writer.close()


_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1002\r\n\r\n[" + b" " * 1000 + b"]"
_ANSWERS: dict[str, tuple[bytes, type[TowlineError], str]] = {
    "nothing": (b"", Unavailable, "it closed the connection"),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", Unavailable, ""),
    "another page": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", Unavailable, "is not understood"),
    "redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
        Unavailable,
        "is not understood",
    ),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[", Unavailable, ""),
    "no JSON": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n[", Failure, "is not understood"),
    "other type": (b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"x"', Failure, "is not understood"),
    "too long": (_LONG, Unavailable, "more than 1000 bytes"),
}


@pytest.mark.parametrize("answer", _ANSWERS)
async def test_a_bad_answer_is_an_error_of_ours(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LARGEST_ANSWER", 1000)
    text, kind, why = _ANSWERS[answer]
    async with impostor(manager, says(text)) as port, linked(cluster.certified(tmp_path), port) as link:
        with pytest.raises(kind, match=why or None):
            await link.blocks()


_STREAMS = {
    "half a line": b'10\r\n{"revision":2,"n\r\n0\r\n\r\n',
    "no JSON": b"6\r\n{{{{{\n\r\n",
    "too long": b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
    "too long, and whole": b'7d0\r\n{"revision":3}' + b" " * 1985 + b"\n\r\n0\r\n\r\n",
    "cut in a chunk": b'50\r\n{"revision":2',
}


@pytest.mark.parametrize("broken", _STREAMS)
async def test_a_broken_stream_is_unavailable(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.client.LineReader", lambda: LineReader(1000))
    first = b'f\r\n{"revision":1}\n\r\n'
    async with (
        impostor(manager, says(_OK + first, then=_STREAMS[broken])) as port,
        linked(cluster.certified(tmp_path), port) as link,
    ):
        stream = link.watch(Scopes("base"))
        assert await anext(stream) == Update(1)
        with pytest.raises(Unavailable):
            await anext(stream)


async def test_a_silent_manager_is_left(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.client._ANSWER", 0.2)
    done = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()

    async with impostor(manager, silent) as port:
        link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{port}"], silence=0.2)
        try:
            with pytest.raises(Unavailable, match="no answer in time"):
                await link.watch(Scopes("base")).__anext__()
        finally:
            await link.close()
            done.set()


async def test_files_that_cannot_be_read_are_told(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    files = cluster.certified(tmp_path)
    files.proof.write_text("x")
    async with linked(files, api.port) as link:
        with pytest.raises(Unavailable, match="this node's certificate cannot be used"):
            await link.blocks()


async def test_a_manager_of_the_past_is_passed_over(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path
) -> None:
    """This node has heard that the cluster was restored; one manager has not."""
    node = cluster.certified(tmp_path)
    past = FakeManaging()
    past.id, past.root, past.members = cluster.id, cluster.root, cluster.members
    cluster.past = 7
    async with (
        serving(past, manager) as old,
        serving(cluster, manager) as new,
        linked(node, old.port, new.port) as link,
    ):
        link.era = 7
        assert await link.published()
        assert [verb for _, verb, _ in cluster.calls] == ["published"]
        assert not past.calls
        link.learn([f"{HOST}:{old.port}"])
        with pytest.raises(Unavailable, match="what the cluster was before it was restored"):
            await link.published()
