"""What the kernel refuses to repair or to delete is tried again until it is done."""

from __future__ import annotations

import asyncio
import errno

import pytest

from tests.support.engine import World, running
from towline.control import drift, reaper
from towline.kernel.contract import Drift
from towline.model.requests import CreateNetwork


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (drift, reaper):
        monkeypatch.setattr(module, "FIRST_RETRY", 0.001)


async def test_a_link_that_could_not_be_deleted_is_tried_again_and_waited_for() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        for _ in range(3):
            world.links.faults.fail("remove", errno.EBUSY)
        await asyncio.wait_for(engine.remove_network("web", wait=True), 5)
        assert world.ours() == {"docker0"}


async def test_a_name_that_could_not_be_unlinked_is_free_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "FIRST_RETRY", 0.05)
    world = World()
    async with running(world) as engine:
        options = {"com.docker.network.bridge.name": "mine"}
        await engine.create_network(CreateNetwork("one", options=options))
        world.links.faults.fail("remove", errno.EBUSY)
        await engine.remove_network("one")
        async with asyncio.timeout(5):
            while not await engine.diagnose():
                await asyncio.sleep(0.002)
        two = await engine.create_network(CreateNetwork("two", options=options))
        await asyncio.sleep(0.1)  # the second attempt would fall into this
        assert world.links.links["mine"].alias == f"towline:network:{two.id}"


async def test_a_repair_that_the_kernel_refused_is_tried_again() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        world.nft.flush()
        for _ in range(3):
            world.nft.faults.fail("commit", errno.ENOBUFS)
        world.monitor.push(Drift("rules"))
        async with asyncio.timeout(5):
            while await engine.diagnose():
                await asyncio.sleep(0.005)
