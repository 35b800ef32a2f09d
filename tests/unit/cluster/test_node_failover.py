"""A node's link and several managers: which one is asked, how long, and what is never asked twice."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.cable import cable
from tests.support.node_api import HOST, FakeManaging, serving
from towline.cluster.client import RemoteLink
from towline.cluster.contract import Report, Update
from towline.cluster.identity import IdentityFiles
from towline.cluster.scopes import Scopes
from towline.model.errors import Conflict, Unavailable


class Two:
    """Managers of one cluster that note for themselves what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = FakeManaging(), FakeManaging()
        for name in ("id", "root", "members"):
            setattr(self.second, name, getattr(self.first, name))
        self.manager = self.first.certified(folder, "manager")
        self.node = self.first.certified(folder)

    def asked(self) -> tuple[list[str], list[str]]:
        return [call[1] for call in self.first.calls], [call[1] for call in self.second.calls]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def _link(files: IdentityFiles, *ports: int, patience: float = 4.0) -> RemoteLink:
    return RemoteLink(files, [f"{HOST}:{port}" for port in ports], patience=patience)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


async def test_one_that_is_gone_or_cannot_is_passed_over_and_the_one_that_answered_is_first(two: Two) -> None:
    async with serving(two.first, two.manager) as unable, serving(two.second, two.manager) as able:
        link = _link(two.node, _free_port(), unable.port, able.port)
        two.first.fails = Unavailable("no quorum")
        assert await link.blocks()
        assert await link.blocks()
        assert two.asked() == (["blocks"], ["blocks", "blocks"])
        two.second.fails = Conflict("an answer is an answer")
        with pytest.raises(Conflict):
            await link.blocks()
        assert two.asked()[0] == ["blocks"]
        await link.close()


async def test_a_stream_that_broke_off_goes_on_at_another(two: Two) -> None:
    two.first.updates.put_nowait(Update(1))
    two.second.updates.put_nowait(Update(2))
    async with (
        serving(two.first, two.manager) as one,
        serving(two.second, two.manager) as other,
        cable(one.port) as between,
    ):
        link = _link(two.node, between.port, other.port)
        stream = link.watch(Scopes("base"))
        assert await anext(stream) == Update(1)
        between.cut()
        with pytest.raises(Unavailable):
            await anext(stream)
        assert await anext(link.watch(Scopes("base"))) == Update(2)
        assert two.asked() == (["watch"], ["watch"])
        await link.close()


async def test_none_at_all_is_unavailable_with_the_reasons(two: Two) -> None:
    gone, other = _free_port(), _free_port()
    link = _link(two.node, gone, other, patience=0.3)
    refused = f"no manager answers: {HOST}:{gone}: connection refused; {HOST}:{other}: connection refused"
    with pytest.raises(Unavailable, match=f"^{refused}$"):
        await link.blocks()
    with pytest.raises(Unavailable, match=f"^{refused}$"):
        await anext(link.watch(Scopes("base")))
    await link.close()


async def test_a_manager_that_comes_back_is_waited_for(two: Two) -> None:
    port = _free_port()
    link = _link(two.node, port, patience=30)
    asking = asyncio.ensure_future(link.blocks())
    done, _ = await asyncio.wait({asking}, timeout=0.3)
    assert not done
    async with serving(two.first, two.manager, port=port):
        assert await asking
        await link.close()


async def test_managers_are_learned_from_reports(two: Two) -> None:
    async with serving(two.first, two.manager) as one, serving(two.second, two.manager) as other:
        two.first.managers = (f"{HOST}:{one.port}", f"{HOST}:{other.port}")
        link = _link(two.node, one.port)
        await link.beat(Report(1, 1))
        await one.close()
        assert await link.blocks()
        assert two.asked()[1] == ["blocks"]
        await link.close()


async def test_an_idle_connection_that_was_closed_is_no_failure(two: Two) -> None:
    async with serving(two.first, two.manager) as one, cable(one.port) as between:
        link = _link(two.node, between.port, patience=0)
        assert await link.publish("n", [], []) == 7
        between.cut()
        assert await link.publish("n", [], []) == 7
        assert between.connections == 2
        await link.close()


async def test_a_block_is_not_leased_twice_when_the_answer_is_lost(two: Two) -> None:
    async with (
        serving(two.first, two.manager) as one,
        serving(two.second, two.manager) as other,
        cable(one.port) as between,
    ):
        link = _link(two.node, between.port, other.port)
        assert await link.blocks()
        between.carries = False
        asking = asyncio.ensure_future(link.lease_block("n", "10.0.0.0/24"))
        async with asyncio.timeout(20):
            while "lease_block" not in two.asked()[0]:
                await asyncio.sleep(0.01)
        between.cut()
        with pytest.raises(Unavailable, match="whether it was done is not known"):
            await asking
        assert two.asked() == (["blocks", "lease_block"], [])
        await link.close()


async def test_what_was_not_sent_is_asked_of_the_next(two: Two) -> None:
    async with serving(two.second, two.manager) as other:
        link = _link(two.node, _free_port(), other.port)
        assert await link.lease_block("n", "10.0.0.0/24")
        await link.close()
