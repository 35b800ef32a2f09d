"""Streams of the node API over real sockets: order, size, silence, cuts, slow readers, and their end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cable import cable
from tests.support.node_api import HOST, FakeManaging, caller, serving
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Update
from towline.cluster.exchange import client_tls
from towline.cluster.identity import IdentityFiles
from towline.cluster.node_api import MORE
from towline.cluster.scopes import Scopes
from towline.cluster.server import NodeApi
from towline.cluster.stream_wire import Incoming
from towline.cluster.update_lines import LineReader, lines_of
from towline.model.cluster import Cluster, Node, Peer
from towline.model.errors import InvalidParameter, NotFound, Unavailable
from towline.model.service import Service


@pytest.fixture
def cluster() -> FakeManaging:
    return FakeManaging()


@pytest.fixture
def manager(cluster: FakeManaging, tmp_path: Path) -> IdentityFiles:
    return cluster.certified(tmp_path, "manager")


@pytest.fixture
async def api(cluster: FakeManaging, manager: IdentityFiles) -> AsyncIterator[NodeApi]:
    cluster.idle = 0.05
    async with serving(cluster, manager) as served:
        yield served


def peer(number: int) -> Peer:
    return Peer(f"{number:064x}", "n1", "b" * 25, "192.0.2.2", "02:00:00:00:00:02", name=f"e{number}")


async def rest(stream: AsyncIterator[Update]) -> None:
    """Until it ends."""
    async for _ in stream:
        pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_ten_thousand_updates_come_in_order(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    told = [Update(number, peers=(peer(number),)) for number in range(10_000)]
    for update in told:
        cluster.updates.put_nowait(update)
    cluster.updates.put_nowait(NotFound("the end"))
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"])
    stream = link.watch(Scopes("n1"))
    assert [await anext(stream) for _ in told] == told
    with pytest.raises(NotFound, match="the end"):
        await anext(stream)
    await link.close()


async def test_a_snapshot_larger_than_any_line_is_one_update(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path
) -> None:
    whole = Update(9, snapshot=True, peers=tuple(peer(number) for number in range(200_000)))
    cluster.updates.put_nowait(whole)
    cluster.updates.put_nowait(Update(10))
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"])
    stream = link.watch(Scopes("n1"))
    assert await anext(stream) == whole
    assert await anext(stream) == Update(10)
    await link.close()


@given(
    st.builds(
        Update,
        st.integers(0, 2**63 - 1),
        snapshot=st.booleans(),
        cluster=st.sampled_from([None, Cluster("c" * 25, 1)]),
        nodes=st.lists(st.integers(0, 9).map(lambda number: Node(f"node{number}", number))).map(tuple),
        peers=st.lists(st.integers(0, 9).map(peer)).map(tuple),
        services=st.lists(st.integers(0, 9).map(lambda number: Service(f"s{number}", "s", number))).map(tuple),
        gone_services=st.lists(st.text(max_size=9)).map(tuple),
        gone_networks=st.lists(st.text(max_size=9)).map(tuple),
        gone_peers=st.lists(st.text(max_size=9)).map(tuple),
    ),
    st.integers(1, 400),
    st.integers(1, 999),
)
def test_parts_of_any_size_in_chunks_of_any_size_are_the_same_update(update: Update, part: int, chunk: int) -> None:
    lines = list(lines_of(update, part))
    assert [line.startswith(MORE) for line in lines] == [True] * (len(lines) - 1) + [False]
    data = b"\n" + b"".join(lines) * 2
    reader = LineReader()
    found = [each for at in range(0, len(data), chunk) for each in reader.feed(data[at : at + chunk])]
    assert found == [update, update]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense\n", "is not understood"),
        (b'{"revision": "x"}\n', "is not understood"),
        (b'+{"kind": "NotFound"}\n', "is not understood"),
        (b"x" * 101, "has a line of more than 100 bytes"),
    ],
)
def test_what_is_no_update_ends_the_stream(line: bytes, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        list(LineReader(largest=100).feed(line))


async def test_an_idle_stream_lives_by_its_revision(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    cluster.updates.put_nowait(Update(1))
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"], silence=0.5)
    stream = link.watch(Scopes("base"))
    for _ in range(30):
        assert await anext(stream) == Update(1)
    cluster.updates.put_nowait(Update(2))
    while (update := await anext(stream)) == Update(1):
        pass
    assert update == Update(2)
    await link.close()


async def test_silence_and_a_cut_are_noticed_at_both_ends(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    files = cluster.certified(tmp_path)
    for way, why in (("silent", "no answer in time"), ("cut", "broke off|closed|reset")):
        cluster.updates.put_nowait(Update(1))
        async with cable(api.port) as between:
            link = RemoteLink(files, [f"{HOST}:{between.port}"], silence=0.5)
            stream = link.watch(Scopes("base"))
            await anext(stream)
            if way == "silent":
                between.carries = False
            else:
                between.cut()
            with pytest.raises(Unavailable, match=why):
                await rest(stream)
            await link.close()
            await until(lambda: cluster.watching == 0)


async def test_a_reader_that_does_not_read_is_cut_and_the_others_are_not(
    cluster: FakeManaging, manager: IdentityFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = cluster.certified(tmp_path)
    async with serving(cluster, manager, slow=0.5) as api:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (HOST, api.port))
        _, writer = await asyncio.open_connection(
            sock=raw, ssl=client_tls(cluster.root.certificate, str(files.proof)), server_hostname="swarm-manager"
        )
        writer.write(b"POST /v1/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        cluster.updates.put_nowait(Update(1))
        await until(lambda: cluster.watching == 1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(200):
            cluster.updates.put_nowait(Update(number, peers=tuple(peer(each) for each in range(1000))))
        with caplog.at_level(logging.WARNING):
            await until(lambda: cluster.watching == 0)
        assert "a node reads too slowly: its stream is cut" in caplog.text
        server = api._runner.server if api._runner else None
        assert server is not None
        await until(lambda: not server.connections)
        writer.transport.abort()
        while not cluster.updates.empty():
            cluster.updates.get_nowait()
        link = RemoteLink(files, [f"{HOST}:{api.port}"])
        cluster.updates.put_nowait(Update(7))
        assert await anext(link.watch(Scopes("base"))) == Update(7)
        await link.close()


async def test_scopes_come_and_go_while_the_stream_runs(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"])
    wanted = Scopes("base", "n1")
    stream = link.watch(wanted)
    await anext(stream)
    (asked,) = cluster.scopes
    told: list[tuple[str, bool]] = []
    asked.listen(lambda scope, carry: told.append((scope, carry)))
    await until(lambda: set(asked) == {"base", "n1"})
    wanted.subscribe("n2")
    wanted.unsubscribe("n1")
    wanted.subscribe("base")
    await until(lambda: ("base", True) in told and set(asked) == {"base", "n2"})
    wanted.subscribe("n3")
    wanted.unsubscribe("n3")
    wanted.subscribe("n3")
    await until(lambda: "n3" in asked)
    await stream.aclose()
    await until(lambda: cluster.watching == 0)
    assert len(wanted) == 3
    await link.close()


_BODIES = [
    (b"nonsense\n", "a subscription is not understood"),
    (b'{"scope": 7}\n', "a subscription is not understood"),
    (b'{"scope": "' + b"x" * 65 + b'"}\n', 'a scope is "base", or the id of a network'),
    (b"\xff\xfe\n", "a subscription is not understood"),
    (b"[" * 300 + b"\n", "a subscription is not understood"),
    (b"x" * 257, "a subscription of more than 256 bytes"),
    (b"".join(b'{"scope": "n%d"}\n' % at for at in range(4097)), "a stream carries at most 4096 scopes"),
]


@pytest.mark.parametrize(("body", "why"), _BODIES)
async def test_a_request_that_is_no_subscription_ends_the_stream(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, body: bytes, why: str
) -> None:
    cluster.updates.put_nowait(Update(1))
    never = asyncio.Event()

    async def said() -> AsyncIterator[bytes]:
        yield body
        await never.wait()

    files = cluster.certified(tmp_path)
    async with caller(cluster.root.certificate, files) as session:
        url = f"https://{HOST}:{api.port}/v1/watch"
        async with session.post(url, data=said()) as response:
            text = await response.text()
    assert why in text.splitlines()[-1].replace('\\"', '"')
    await until(lambda: cluster.watching == 0)


@given(st.binary(max_size=40), st.integers(1, 9))
def test_any_bytes_are_refused_or_taken(data: bytes, chunk: int) -> None:
    scopes = Scopes()
    incoming = Incoming(scopes)
    try:
        for at in range(0, len(data), chunk):
            incoming.feed(data[at : at + chunk])
    except InvalidParameter:
        pass
    assert len(scopes) == 0 or b"scope" in data


async def test_a_removed_nodes_idle_stream_ends(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    files = cluster.certified(tmp_path)
    cluster.updates.put_nowait(Update(1))
    link = RemoteLink(files, [f"{HOST}:{api.port}"])
    stream = link.watch(Scopes("base"))
    await anext(stream)
    identity = files.load()
    assert identity is not None
    del cluster.members[identity.node]
    with pytest.raises(Unavailable, match="may not read on"):
        await rest(stream)
    await link.close()


async def test_streams_end_with_the_manager(cluster: FakeManaging, api: NodeApi, tmp_path: Path) -> None:
    cluster.updates.put_nowait(Update(1))
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"])
    stream = link.watch(Scopes("base"))
    await anext(stream)
    closing = asyncio.ensure_future(api.close())
    with pytest.raises(Unavailable, match="this manager stops"):
        await rest(stream)
    await closing
    await link.close()
    assert cluster.watching == 0


async def test_a_fault_of_ours_in_a_stream_is_told_without_its_text(
    cluster: FakeManaging, api: NodeApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.fails = RuntimeError("inner things")
    link = RemoteLink(cluster.certified(tmp_path), [f"{HOST}:{api.port}"])
    with pytest.raises(Exception, match="^internal error: see the manager's log$"):
        await anext(link.watch(Scopes("base")))
    assert "inner things" in caplog.text
    await link.close()
