"""The HTTP API over a fake engine on a unix socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from aiohttp import web

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
