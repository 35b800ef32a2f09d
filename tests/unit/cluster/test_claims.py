"""A node whose blocks were given to others while it could not report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec.structs import replace

from tests.support.fake_cluster import FakeManagers, FakeReplica
from towline.cluster.agent import Agent
from towline.model.cluster import Block, Description, Peer
from towline.model.network import Network, Pool

_ME, _OTHER = "me", "other"
_NET = Network(
    id="net", name="net", created=0, driver="overlay", scope="swarm", pools=(Pool("10.0.0.0/24"), Pool("fd00::/64"))
)


def _peer(number: int) -> Peer:
    return Peer(
        f"p{number}",
        "net",
        _ME,
        "192.0.2.9",
        f"02:00:00:00:00:{number:02x}",
        f"box{number}",
        ipv4=f"10.0.0.{number}/24",
    )


def _block(prefix: str, node: str = _ME) -> Block:
    return Block("net", "10.0.0.0/24", prefix, node)


@asynccontextmanager
async def _running(managers: FakeManagers, replica: FakeReplica) -> AsyncIterator[Agent]:
    managers.networks["net"] = _NET
    agent = Agent(_ME, managers.link(_ME), replica, data_path="192.0.2.9", describe=lambda: Description("me"))
    agent.start()
    try:
        yield agent
    finally:
        await agent.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def _held(managers: FakeManagers) -> set[tuple[str, str]]:
    return {(block.prefix, block.node) for block in managers.blocks.values()}


async def test_what_is_free_as_a_whole_is_leased_again() -> None:
    managers, replica = FakeManagers(), FakeReplica()
    block = _block("10.0.0.16/28")
    replica.held, replica.mine = {block.id: block}, {"p17": _peer(17)}
    async with _running(managers, replica):
        await _until(lambda: "p17" in managers.peers)
        assert _held(managers) == {("10.0.0.16/28", _ME)}
        assert replica.held == {block.id: block}
        assert replica.given_up == []


async def test_of_a_block_that_is_not_free_as_a_whole_the_rest_is_kept() -> None:
    """17 is another's; 18 is leased alone, and goes on."""
    managers, replica = FakeManagers(), FakeReplica()
    block, rival = _block("10.0.0.16/28"), _block("10.0.0.17/32", _OTHER)
    replica.held, replica.mine = {block.id: block}, {"p17": _peer(17), "p18": _peer(18)}
    managers.whole = False
    managers.blocks = {rival.id: rival}
    async with _running(managers, replica):
        await _until(lambda: "p18" in managers.peers and replica.given_up == ["p17"])
        assert managers.peers.keys() == {"p18"}
        assert _held(managers) == {("10.0.0.17/32", _OTHER), ("10.0.0.18/32", _ME)}
        assert {b.prefix for b in replica.held.values()} == {"10.0.0.18/32"}


async def test_a_sandbox_that_starts_later_finds_out_then() -> None:
    """It kept its address while it did not run."""
    managers, replica = FakeManagers(), FakeReplica()
    rival = _block("10.0.0.17/32", _OTHER)
    managers.whole = False
    managers.blocks = {rival.id: rival}
    async with _running(managers, replica) as agent:
        await agent.known(5)
        for peer in (_peer(17), _peer(18)):
            replica.mine[peer.id] = peer
            agent.local_change("net")
        await _until(lambda: "p18" in managers.peers and replica.given_up == ["p17"])


async def test_nothing_is_decided_while_no_manager_answers() -> None:
    managers, replica = FakeManagers(), FakeReplica()
    block = _block("10.0.0.16/28")
    replica.held, replica.mine = {block.id: block}, {"p17": _peer(17)}
    managers.leases_fail = 2
    async with _running(managers, replica):
        await _until(lambda: managers.leases_fail == 0)
        assert replica.held == {block.id: block}
        await _until(lambda: "p17" in managers.peers)


async def test_a_block_that_is_being_leased_is_no_orphan() -> None:
    """Its answer is on the way while the stream begins anew."""
    managers, replica = FakeManagers(), FakeReplica()
    async with _running(managers, replica) as agent:
        await agent.known(5)
        managers.slow_leases = asyncio.Event()
        lease = asyncio.create_task(agent.lease("net", "10.0.0.0/24", "10.0.0.16"))
        await _until(lambda: bool(managers.blocks))
        managers.go_away()
        await _until(lambda: not agent.connected)
        managers.come_back()
        await _until(lambda: agent.connected)
        managers.slow_leases.set()
        block = await lease
        assert managers.blocks == {block.id: replace(block)} == replica.held


async def test_what_was_taken_back_while_the_stream_went_on_is_claimed_again() -> None:
    """The node could not report for longer than its lease; its stream of updates did not end."""
    managers, replica = FakeManagers(), FakeReplica()
    block = _block("10.0.0.16/28")
    managers.blocks, replica.held, replica.mine = {block.id: block}, {block.id: block}, {"p17": _peer(17)}
    async with _running(managers, replica) as agent:
        await _until(lambda: "p17" in managers.peers)
        managers.deaf = True
        await _until(lambda: agent.fenced)
        managers.blocks.clear()
        await managers.drop_peer("p17")
        managers.deaf = False
        await _until(lambda: "p17" in managers.peers)
        assert _held(managers) == {("10.0.0.16/28", _ME)}
