"""`towlined` around an engine that does nothing: the process itself is what is tested.

GET /_ping answers OK, GET /config the configuration in use; GET /slow answers when POST /go came.
A data root that has a file `fail-start` makes the start fail. start and stop are noted in <data-root>/stub-log.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
from aiohttp import web

from towline.control.contract import Engine
from towline.daemon.main import run
from towline.model.config import Config
from towline.model.errors import Failure


class StubService:
    """Is its own engine; only `config` of it is ever asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def engine(self) -> Engine:
        return cast(Engine, self)

    async def start(self) -> None:
        if (Path(self.config.data_root) / "fail-start").exists():
            raise Failure("the stub was told to fail")
        self._note("start")

    async def stop(self) -> None:
        self._note("stop")

    def reconfigure(self, config: Config) -> None:
        self.config = config

    def _note(self, word: str) -> None:
        with (Path(self.config.data_root) / "stub-log").open("a") as file:
            file.write(f"{word}\n")


def make_runner(engine: Any) -> web.BaseRunner:
    gate = asyncio.Event()

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def config(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(engine.config), content_type="application/json")

    async def slow(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.Response(text="done")

    async def go(_: web.Request) -> web.Response:
        asyncio.get_running_loop().call_later(0.3, gate.set)
        return web.Response(text="going")

    app = web.Application()
    app.router.add_get("/_ping", ping)
    app.router.add_get("/config", config)
    app.router.add_get("/slow", slow)
    app.router.add_post("/go", go)
    return web.AppRunner(app, access_log=None, shutdown_timeout=1.0)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], build=StubService, make_runner=make_runner))
