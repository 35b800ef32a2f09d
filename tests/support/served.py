"""The HTTP API over a fake engine on a unix socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from aiohttp import web

from tests.support.daemon import Answer, UnixConnection
from tests.support.fake_engine import FakeEngine
from towline.api.server import make_runner

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def served(engine: FakeEngine) -> AsyncIterator[str]:
    """The path of the socket."""
    runner = make_runner(engine)
    await runner.setup()
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "api.sock")
        await web.UnixSite(runner, path).start()
        try:
            yield path
        finally:
            await runner.cleanup()


async def beside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking client while the server answers."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def ask(
    socket: str, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on a connection of its own. body: bytes as they are, anything else as JSON."""
    return await beside(_ask, socket, method, path, body, headers)


def _ask(socket: str, method: str, path: str, body: object, headers: Mapping[str, str] | None) -> Answer:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    default = {"Content-Type": "application/json"} if data is not None else {}
    connection = UnixConnection(socket)
    try:
        connection.request(method, path, data, default if headers is None else dict(headers))
        return Answer(connection.getresponse())
    finally:
        connection.close()
