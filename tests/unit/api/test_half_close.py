"""Clients that shut down their sending side after the request, as `nc -N` and some proxies do."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.half_close import Said, request, say
from tests.support.served import beside

PING = request("GET", "/_ping")


async def said(socket: str, *parts: bytes) -> Said:
    return await beside(say, socket, *parts)


async def test_a_ping_is_answered_and_the_connection_closed(socket: str) -> None:
    answer = await said(socket, PING)
    assert answer.statuses == [200]
    assert answer.text.endswith("\r\n\r\nOK")


async def test_a_create_is_carried_out_and_answered(socket: str, engine: FakeEngine) -> None:
    answer = await said(socket, request("POST", "/networks/create", b'{"Name": "web"}'))
    assert answer.statuses == [201]
    assert [network.name for network in engine.networks() if network.name == "web"] == ["web"]


async def test_all_pipelined_requests_are_answered(socket: str) -> None:
    assert (await said(socket, PING * 5)).statuses == [200] * 5


async def test_head_and_body_may_come_apart(socket: str) -> None:
    whole = request("POST", "/networks/create", b'{"Name": "web"}')
    assert (await said(socket, whole[:-15], whole[-15:])).statuses == [201]


@pytest.mark.parametrize("body", [b"", b"{", b'{"Name": "web"'])
async def test_a_body_that_ends_too_early_is_refused(socket: str, engine: FakeEngine, body: bytes) -> None:
    answer = await said(socket, request("POST", "/networks/create", body, length=100))
    assert answer.statuses == [400]
    assert '{"message":"invalid JSON: unexpected EOF"}' in answer.text
    assert all(network.name != "web" for network in engine.networks())


async def test_an_unfinished_chunked_body_is_refused(socket: str) -> None:
    head = b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    answer = await said(socket, head + b'\r\n\r\n5\r\n{"Nam\r\n')
    assert answer.statuses == [400]
    assert "unexpected EOF" in answer.text


async def test_a_truncated_body_behind_a_whole_request(socket: str) -> None:
    truncated = request("POST", "/networks/create", b"{", length=100)
    assert (await said(socket, PING + truncated)).statuses == [200, 400]


@pytest.mark.parametrize("path", ["/v1.56/events", "/v1.56/events?since=0"])
async def test_streams_end(socket: str, path: str) -> None:
    answer = await said(socket, request("GET", path))
    assert answer.statuses == [200]
    assert answer.text.endswith("0\r\n\r\n")


async def test_a_stream_that_runs_already_ends(socket: str) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(request("GET", "/v1.56/events"))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b"0\r\n\r\n"
    writer.close()


async def test_a_client_that_says_nothing_gets_nothing(socket: str) -> None:
    assert (await said(socket)).text == ""


async def test_a_half_close_after_the_answer_closes_at_once(socket: str) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(PING)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\nOK"), 10)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
