"""The client of etcd against Debian's etcd: the conformance suite, and connections that break."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.etcd_conformance import CASES, WITHIN, Case, put, take
from tests.support.etcd_process import EtcdProcess, free_ports
from towline.cluster import etcd_wire as wire
from towline.cluster.contract import Compacted, Compare, DeleteKey, PutKey
from towline.cluster.etcd import EtcdClient
from towline.cluster.etcd_gateway import Gateway, Login
from towline.model.errors import Unavailable


class RealLab:
    def __init__(self, process: EtcdProcess) -> None:
        self.gateway = process.gateway()
        self.etcd = EtcdClient(self.gateway)
        self.other = process.client()

    async def compact(self) -> None:
        revision = (await self.etcd.range("")).revision
        await self.gateway.ask("kv/compaction", {"revision": revision, "physical": True}, object, again=False)

    async def pass_time(self, seconds: int) -> None:
        """It passes by itself: who calls this waits for what comes of it."""

    async def close(self) -> None:
        await self.etcd.close()
        await self.other.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    yield process
    process.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    yield process
    process.kill()


@pytest_asyncio.fixture
async def lab(shared: EtcdProcess) -> AsyncIterator[RealLab]:
    lab = RealLab(shared)
    await lab.gateway.ask("kv/deleterange", wire.prefix_range(""), object, again=False)
    yield lab
    await lab.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_does_what_the_fake_does(lab: RealLab, case: Case) -> None:
    await case(lab)


async def test_progress_is_told(lab: RealLab) -> None:
    start = (await lab.etcd.range("")).revision
    changes = lab.etcd.watch("/mine/", start + 1)
    revision = await put(lab.other, "/elsewhere")
    async with asyncio.timeout(WITHIN):
        while (await anext(changes)).revision < revision:
            pass
    revision = await put(lab.other, "/mine/a")
    assert [each.revision for each in await take(changes)] == [revision]


async def test_a_watch_goes_on_after_etcd_was_killed(own: EtcdProcess) -> None:
    etcd, other = own.client(), own.client()
    wrote = [await put(etcd, "/a")]
    changes = etcd.watch("/", wrote[0])
    await take(changes)
    waiting = asyncio.create_task(take(changes, 2))
    await asyncio.to_thread(own.kill)
    with pytest.raises(Unavailable):
        await other.get("/a")
    with pytest.raises(Unavailable):
        await put(other, "/lost")
    await asyncio.to_thread(own.start)
    wrote = [await put(other, "/b"), await put(etcd, "/c")]
    assert [each.revision for each in await waiting] == wrote
    await etcd.close()
    await other.close()


async def test_a_watch_ends_when_no_member_comes_back(own: EtcdProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.cluster.etcd_watch.PATIENCE", 0.5)
    etcd = own.client()
    changes = etcd.watch("/", await put(etcd, "/a"))
    await take(changes)
    await asyncio.to_thread(own.kill)
    with pytest.raises(Unavailable):
        await take(changes)
    await etcd.close()


async def test_a_watch_of_a_member_that_hangs_is_cut(own: EtcdProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.cluster.etcd_watch.PATIENCE", 0.2)
    etcd = EtcdClient(Gateway([own.endpoint], silence=1, answer=0.5))
    revision = await put(etcd, "/a")
    changes = etcd.watch("/", revision)
    await take(changes)
    own.send(signal.SIGSTOP)
    with pytest.raises(Unavailable):
        await etcd.get("/a")
    with pytest.raises(Unavailable):
        await take(changes)
    own.send(signal.SIGCONT)
    revision = await put(etcd, "/a")
    assert [each.revision for each in await take(etcd.watch("/", revision))] == [revision]
    await etcd.close()


async def test_the_next_endpoint_is_asked(shared: EtcdProcess) -> None:
    """The first refuses connections, so a transaction goes to the second; a third takes them and never answers."""
    refused = f"http://127.0.0.1:{free_ports(1)[0]}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = f"http://127.0.0.1:{silent.getsockname()[1]}"
        etcd = EtcdClient(Gateway([refused, shared.endpoint]))
        revision = await put(etcd, "/next", b"1")
        await etcd.close()
        etcd = EtcdClient(Gateway([deaf, shared.endpoint], answer=0.3))
        with pytest.raises(Unavailable):
            await put(etcd, "/next", b"2")
        assert (await etcd.get("/next")).modified == revision
        assert await put(etcd, "/next", b"3") == revision + 1
        await etcd.close()
        etcd = EtcdClient(Gateway([deaf, shared.endpoint], answer=0.3))
        assert (await etcd.get("/next")).value == b"3"
        await etcd.close()


async def test_what_is_not_etcd_is_unavailable() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[0])
        await writer.drain()
        writer.close()

    answers = [b""]
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    etcd = EtcdClient(Gateway([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"]))
    for body in (b"", b"<html>", b'{"kvs":5}', b'{"kvs":[{"key":"*"}]}', b"[" * 100_000, b"\xff"):
        for status in (b"200 OK", b"404 Not Found", b"503 Away"):
            answers[0] = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
            if body or status != b"200 OK":
                with pytest.raises(Unavailable):
                    await etcd.get("/a")
    for raw in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"):
        answers[0] = raw
        with pytest.raises(Unavailable):
            await etcd.transact([], [DeleteKey("/a")])
    await etcd.close()
    server.close()


async def test_another_etcd_is_not_taken_for_the_same(own: EtcdProcess, shared: EtcdProcess) -> None:
    """A watch at an etcd that has gone back, or is another one, does not wait for revisions to come again."""
    etcd = own.client()
    with pytest.raises(Compacted):
        await take(etcd.watch("/", (await etcd.range("")).revision + 100))
    gateway = own.gateway(shared.endpoint)
    both = EtcdClient(gateway)
    changes = both.watch("/", (await both.range("")).revision + 1)
    waiting = asyncio.create_task(take(changes))
    await asyncio.sleep(0)
    await put(etcd, "/a")
    await waiting
    other = shared.client()
    await put(other, "/a")
    waiting = asyncio.create_task(take(changes))
    await asyncio.to_thread(own.kill)
    with pytest.raises(Compacted):
        await waiting
    for each in (etcd, both, other):
        await each.close()


async def test_a_user_logs_in_and_again_when_the_token_is_old(
    own: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = own.gateway()
    for path, body in (
        ("auth/user/add", {"name": "root", "password": "r"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/user/add", {"name": "towline", "password": "p"}),
        ("auth/role/add", {"name": "towline"}),
        (
            "auth/role/grant",
            {"name": "towline", "perm": {"permType": "READWRITE", **wire.prefix_range("/towline/")}},
        ),
        ("auth/user/grant", {"user": "towline", "role": "towline"}),
        ("auth/enable", {}),
    ):
        await gateway.ask(path, body, object, again=False)
    etcd = EtcdClient(Gateway([own.endpoint], login=Login("towline", "p")))
    monkeypatch.setattr("towline.cluster.etcd_watch.PATIENCE", 3.0)
    revision = await put(etcd, "/towline/v1/a")
    changes = etcd.watch("/towline/v1/", revision)
    assert len(await take(changes)) == 1
    with pytest.raises(Unavailable, match="permission denied.*needs read and write"):
        await put(etcd, "/other")
    root = Gateway([own.endpoint], login=Login("root", "r"))
    await root.ask("auth/user/add", {"name": "more", "password": "m"}, object, again=False)
    assert await etcd.transact([Compare("/towline/v1/a", revision)], [PutKey("/towline/v1/a", b"2")]) == revision + 1
    assert len(await take(changes)) == 1
    waiting = asyncio.create_task(take(changes))
    await asyncio.to_thread(own.kill)
    await asyncio.to_thread(own.start)  # tokens are in the memory of members: all are old now
    revision = await put(etcd, "/towline/v1/a")
    assert [each.revision for each in await waiting] == [revision]
    wrong = EtcdClient(Gateway([own.endpoint], login=Login("towline", "wrong")))
    for each, remedy in (wrong, "user towline and its password"), (own.client(), "wants a user"):
        with pytest.raises(Unavailable, match=remedy):
            await each.get("/towline/v1/a")
        with pytest.raises(Unavailable, match=remedy):
            await take(each.watch("/towline/v1/", revision))
        await each.close()
    for one in (gateway, root):
        await one.close()
    await etcd.close()
