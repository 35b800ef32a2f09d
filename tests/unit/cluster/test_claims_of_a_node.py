"""A node that comes back after its blocks were taken from it, before real managers' code on an etcd in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.fake_cluster import FakeReplica
from tests.support.managers import managers, node, peer
from towline.cluster.claims import Claims
from towline.cluster.contract import Report
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.cluster.manager import LocalLink, Manager
from towline.model.cluster import Block
from towline.model.errors import Unavailable
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest

A, B = node(0), node(1)
SUBNET = "10.0.1.0/24"


async def silent(fake: FakeCluster, manager: Manager, addresses: Sequence[str]) -> tuple[Network, Block, FakeReplica]:
    """Node B has a block and endpoints with these addresses; all was taken back while it was silent, and it is back."""
    net = await manager.networks.create(CreateNetwork("ov", driver="overlay", pools=(PoolRequest(SUBNET),)))
    block = await manager.lease_block(B.id, net.id, SUBNET)
    replica = FakeReplica()
    replica.held = {block.id: block}
    mine = [peer(B, net.id, at, f"{address}/24") for at, address in enumerate(addresses, 2)]
    replica.known = {net.id: net}
    replica.mine = {each.id: each for each in mine}
    await manager.publish(B.id, net.id, mine, [])
    fake.advance(20)
    await manager.feed.until(lambda state: B.id not in state.alive)
    await manager.beat(A.id, Report(1, 0))
    await manager._reclaim.take_back(B.id)
    assert await manager.blocks(B.id) == []
    return net, block, replica


def prefixes(replica: FakeReplica) -> list[str]:
    return sorted(block.prefix for block in replica.held.values())


async def test_a_block_that_is_still_free_is_leased_back_whole() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        _, block, replica = await silent(fake, manager, ["10.0.1.2", "10.0.1.3"])
        await manager.beat(B.id, Report(1, 0))
        claims = Claims(LocalLink(manager, B.id), replica)
        await claims.compare()
        assert prefixes(replica) == [block.prefix]
        assert [await claims.claim(each) for each in replica.mine.values()] == ["had", "had"]
        assert await manager.blocks(B.id) == list(replica.held.values())


async def test_else_each_address_is_leased_back_and_what_is_anothers_is_given_up() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        net, _, replica = await silent(fake, manager, ["10.0.1.2", "10.0.1.3", "10.0.1.4"])
        await manager.lease_block(A.id, net.id, SUBNET, "10.0.1.3")
        await manager.publish(A.id, net.id, [peer(A, net.id, 99, "10.0.1.3/24", name="web")], [])
        await manager.beat(B.id, Report(1, 0))
        claims = Claims(LocalLink(manager, B.id), replica)
        await claims.compare()
        assert prefixes(replica) == []
        assert [await claims.claim(each) for each in replica.mine.values()] == ["regained", "lost", "regained"]
        assert prefixes(replica) == ["10.0.1.2/32", "10.0.1.4/32"]
        ((lost, why),) = claims.lost.values()
        assert lost.id == f"{3:064x}"
        assert "10.0.1.3 of network ov: web (000000000000) on node host0 has it" in why
        await manager.publish(B.id, net.id, [each for each in replica.mine.values() if each != lost], [])


async def test_while_no_manager_decides_nothing_is_given_up() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client], nodes=2, patience=0.3) as (manager,):
        _, block, replica = await silent(fake, manager, ["10.0.1.2"])
        await manager.beat(B.id, Report(1, 0))
        client.fail(*[Fault.UNAVAILABLE] * 100)
        claims = Claims(LocalLink(manager, B.id), replica)
        with pytest.raises(Unavailable):
            await claims.compare()
        assert prefixes(replica) == [block.prefix]
