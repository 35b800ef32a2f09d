"""Schemathesis on the API over the fake engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from tests.support.fake_engine import FakeEngine
from tests.support.fuzz import SCHEMA, check, session
from tests.support.served import served


@pytest.fixture(scope="module")
def client() -> Iterator[requests.Session]:
    """The server runs in a thread: schemathesis is no coroutine."""
    path: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with served(FakeEngine()) as socket:
            path.append(socket)
            ready.set()
            await stopping.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    with session(path[0]) as made:
        yield made
    loop.call_soon_threadsafe(stopping.set)
    thread.join()
    loop.close()


@SCHEMA.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: schemathesis.Case, client: requests.Session) -> None:
    check(case, client)
