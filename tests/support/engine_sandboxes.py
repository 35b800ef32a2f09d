"""Sandboxes in an engine over fakes: requests, and what is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from tests.support.engine import World
from towline.control.controller import Controller
from towline.model.desired import kernel_name
from towline.model.endpoint import EndpointConfig
from towline.model.requests import CreateNetwork, CreateSandbox, PoolRequest
from towline.model.sandbox import Sandbox

WEB = CreateNetwork("web", pools=(PoolRequest("10.9.0.0/24"),))


def asking(name: str = "c1", *networks: str, **fields: object) -> CreateSandbox:
    configs = {network: EndpointConfig() for network in networks or ("web",)}
    return replace(CreateSandbox(name=name, networks=configs, command=("sleep", "1")), **fields)


def sandbox(engine: Controller, name: str = "c1") -> Sandbox:
    found = engine.sandbox(name)
    assert found is not None
    return found


def plugs(world: World) -> set[str]:
    return {name for name in world.links.links if kernel_name(name).startswith("veth")}


async def until(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.002)

    await asyncio.wait_for(wait(), 5)


async def start(engine: Controller, request: CreateSandbox) -> Sandbox:
    await engine.create_sandbox(request)
    await engine.start_sandbox(request.name)
    return sandbox(engine, request.name)
