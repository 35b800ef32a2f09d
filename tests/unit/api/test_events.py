"""/events while it streams; what it answers about the past is replayed from the recording."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse, ClientSession, UnixConnector

from tests.support.fake_engine import FakeEngine
from tests.support.served import ask, served
from towline.api.server import GRACE_SECONDS


@asynccontextmanager
async def stream(socket: str, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[ClientResponse]:
    async with (
        ClientSession(connector=UnixConnector(socket)) as session,
        session.get(f"http://d/v1.56/events{query}", headers=headers) as response,
    ):
        yield response


async def next_event(response: ClientResponse) -> Any:
    return json.loads(await asyncio.wait_for(response.content.readline(), 10))


async def test_events_arrive_as_they_happen(socket: str) -> None:
    async with stream(socket) as response:
        created = (await ask(socket, "POST", "/networks/create", {"Name": "web"})).json
        event = await next_event(response)
        await ask(socket, "DELETE", "/networks/web")
        assert (await next_event(response))["Action"] == "destroy"
    assert event.pop("timeNano") // 10**9 == event.pop("time")
    actor = {"ID": created["Id"], "Attributes": {"name": "web", "type": "bridge"}}
    assert event == {"Type": "network", "Action": "create", "Actor": actor, "scope": "local"}


async def test_since_continues_into_the_present_without_gap(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", {"Name": "a"})
    async with stream(socket, "?since=0") as response:
        assert (await next_event(response))["Actor"]["Attributes"]["name"] == "a"
        await ask(socket, "POST", "/networks/create", {"Name": "b"})
        assert (await next_event(response))["Actor"]["Attributes"]["name"] == "b"


async def test_only_what_the_filter_wants(socket: str) -> None:
    filters = quote(json.dumps({"event": {"create": True}, "network": {"y": True}}))  # no id begins so
    async with stream(socket, f"?filters={filters}") as response:
        for name in ("x", "y"):
            await ask(socket, "POST", "/networks/create", {"Name": name})
            await ask(socket, "DELETE", f"/networks/{name}")
        await ask(socket, "POST", "/networks/create", {"Name": "yy"})
        assert [(await next_event(response))["Actor"]["Attributes"]["name"] for _ in range(2)] == ["y", "yy"]


async def test_until_ends_the_answer(socket: str) -> None:
    async with stream(socket, f"?until={time.time() + 0.2:.9f}") as response:
        await ask(socket, "POST", "/networks/create", {"Name": "a"})
        lines = (await asyncio.wait_for(response.read(), 10)).splitlines()
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("accept", "media_type", "start"),
    [
        ("*/*", "application/jsonl", b"{"),
        ("application/x-ndjson", "application/x-ndjson", b"{"),
        ("text/html, application/json-seq;q=1", "application/json-seq", b"\x1e{"),
    ],
)
async def test_media_types(socket: str, accept: str, media_type: str, start: bytes) -> None:
    async with stream(socket, headers={"Accept": accept}) as response:
        await ask(socket, "POST", "/networks/create", {"Name": "a"})
        line = await asyncio.wait_for(response.content.readline(), 10)
    assert response.content_type == media_type
    assert line.startswith(start)


async def test_a_stopping_server_ends_its_streams(engine: FakeEngine) -> None:
    async with AsyncExitStack() as later:
        async with served(engine) as socket:
            response = await later.enter_async_context(stream(socket))
            reading = asyncio.create_task(response.read())
            began = time.monotonic()
        assert await reading == b""
    assert time.monotonic() - began < GRACE_SECONDS / 2


async def test_a_client_that_goes_away_ends_its_stream(socket: str) -> None:
    before = asyncio.all_tasks()
    async with stream(socket):
        handlers = asyncio.all_tasks() - before
    done, waiting = await asyncio.wait(handlers, timeout=10)
    assert done
    assert not waiting


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=1.x", 'invalid value for \'since\': invalid timestamp "1.x": invalid nanoseconds "x": invalid syntax'),
        ("until=-", 'invalid value for \'until\': invalid timestamp "-": invalid seconds "-": invalid syntax'),
        ("since=2&until=1", "`since` time (2) cannot be after `until` time (1)"),
    ],
)
async def test_refused_spans(socket: str, query: str, message: str) -> None:
    answer = await ask(socket, "GET", f"/events?{query}")
    assert (answer.status, answer.json["message"]) == (400, message)


async def test_info_counts_who_listens(socket: str) -> None:
    async def listeners() -> int:
        return int((await ask(socket, "GET", "/info")).json["NEventsListener"])

    assert await listeners() == 0
    async with stream(socket), stream(socket):
        assert await listeners() == 2
    async with asyncio.timeout(10):
        while await listeners():  # the server sees only later that a client is gone
            pass


async def test_a_subscription_that_is_dropped_unread_is_not_counted(engine: FakeEngine) -> None:
    coming = engine.events.subscribe()
    assert engine.events.listeners == 1
    del coming
    assert engine.events.listeners == 0
