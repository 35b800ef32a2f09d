"""After a part of the cluster's past was lost no address is given twice, whatever nodes hold that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from tests.support.managers import Clock, cluster, managers, node, peer
from towline.cluster import codec
from towline.cluster.contract import PutKey, Report
from towline.cluster.etcd_fake import FakeCluster
from towline.cluster.manager import LocalLink, Manager
from towline.model.cluster import Block
from towline.model.errors import Conflict, InvalidParameter, NotFound, Unavailable
from towline.model.network import Network
from towline.model.requests import CreateNetwork, CreateService, PoolRequest, UpdateService

A, B, C = node(0), node(1), node(2)
ERA = 1_800_000_000
SUBNET = "10.9.0.0/24"


class Lab:
    def __init__(self, fake: FakeCluster, manager: Manager, network: Network) -> None:
        self.fake = fake
        self.manager = manager
        self.network = network
        self.links = {each.id: LocalLink(manager, each.id) for each in (A, B, C)}

    def block(self, prefix: str, owner: str, epoch: int = 1) -> Block:
        return Block(self.network.id, SUBNET, prefix, owner, epoch)

    async def settle(self, owner: str, era: int = ERA) -> None:
        await self.links[owner].beat(Report(1, 1, era=era))

    async def lease(self, owner: str, address: str = "") -> Block:
        return await self.links[owner].lease_block(self.network.id, SUBNET, address)


@asynccontextmanager
async def lab(*known: Block, settling: bool = True, **settings: object) -> AsyncIterator[Lab]:
    """Three nodes; the cluster knows of these blocks (their network is filled in), and settles."""
    fake = FakeCluster()
    async with managers([fake.client()], nodes=3, of=cluster(era=ERA), **settings) as (manager,):
        pools = (PoolRequest(SUBNET),)
        network = await manager.networks.create(CreateNetwork("ov", driver="overlay", pools=pools))
        for each in (A, B, C):
            await manager.beat(each.id, Report(1, 1))
        puts = [
            PutKey(codec.block_key(network.id, b.prefix), codec.encode(replace(b, network=network.id))) for b in known
        ]
        if settling:
            lease = fake.grant(300)
            puts.append(PutKey(codec.SETTLING_KEY, codec.encode(codec.Settling(ERA)), lease))
        revision = fake.transact([], puts)
        assert revision is not None
        await manager.feed.wait(revision)
        yield Lab(fake, manager, network)


async def test_nobody_gets_a_new_block_until_all_have_said_what_they_hold() -> None:
    async with lab() as here:
        with pytest.raises(Unavailable, match="Missing: host0, host1, host2. Nodes that never"):
            await here.lease(A.id)
        with pytest.raises(Unavailable, match="addresses are handed out when"):
            await here.lease(A.id, "10.9.0.77")
        await here.settle(A.id)
        await here.settle(B.id, era=ERA - 1)
        await here.settle(B.id, era=0)
        with pytest.raises(Unavailable, match="Missing: host1, host2. Nodes that never"):
            await here.lease(A.id)
        await here.settle(B.id)
        await here.settle(C.id)
        await here.manager.feed.until(lambda state: state.settling is None)
        assert (await here.lease(A.id)).node == A.id
        assert not here.fake.keys(codec.SETTLED_PREFIX)


async def test_a_network_that_was_made_since_is_not_waited_for() -> None:
    async with lab() as here:
        pools = (PoolRequest("10.8.0.0/24"),)
        later = await here.manager.networks.create(CreateNetwork("later", driver="overlay", pools=pools))
        assert (await here.links[A.id].lease_block(later.id, "10.8.0.0/24")).node == A.id
        with pytest.raises(Unavailable, match="Missing"):
            await here.lease(A.id)


async def test_no_service_gets_an_address_that_a_node_may_hold() -> None:
    async with lab() as here:
        services, net = here.manager.services, here.network.id
        made = await services.create(CreateService("web", mode="dnsrr", networks=(net,)))
        with pytest.raises(Unavailable, match="Missing: host0, host1, host2"):
            await services.update(made.id, UpdateService(mode="vip"))
        with pytest.raises(Unavailable, match="Missing: host0, host1, host2"):
            await services.create(CreateService("more", networks=(net,)))
        held = here.block("10.9.0.254/32", A.id)
        assert await here.links[A.id].claim_block(held) == held
        for each in (A, B, C):
            await here.settle(each.id)
        await here.manager.feed.until(lambda state: state.settling is None)
        await services.update(made.id, UpdateService(mode="vip"))


async def test_what_a_node_holds_by_a_later_lease_is_its_own() -> None:
    """B gave the first block back after the backup, C leased it; C also leased one that the backup has not."""
    async with lab(Block("", SUBNET, "10.9.0.0/28", B.id, 5)) as here:
        late = here.block("10.9.0.0/28", C.id, 9)
        assert await here.links[C.id].claim_block(late) == late
        assert await here.links[C.id].claim_block(late) == late, "asked twice it is the same"
        other = here.block("10.9.0.16/28", C.id, 7)
        assert await here.links[C.id].claim_block(other) == other
        assert await here.links[C.id].blocks() == [late, other]
        assert await here.links[B.id].blocks() == []
        with pytest.raises(Conflict, match="is node .* by now"):
            await here.links[B.id].claim_block(here.block("10.9.0.0/28", B.id, 5))
        for each in (A, B, C):
            await here.settle(each.id)
        await here.manager.feed.until(lambda state: state.settling is None)
        fresh = await here.lease(A.id)
        assert fresh.prefix not in ("10.9.0.0/28", "10.9.0.16/28")
        assert fresh.epoch > 1 << 32, "higher than of any lease before, though etcd counts anew"


async def test_the_later_lease_wins_whoever_comes_first() -> None:
    async with lab() as here:
        early, late = here.block("10.9.0.0/28", B.id, 5), here.block("10.9.0.0/29", C.id, 9)
        assert await here.links[B.id].claim_block(early) == early
        stale = peer(B, here.network.id, 1, "10.9.0.3/24")
        await here.links[B.id].publish(here.network.id, [stale], [])
        assert await here.links[C.id].claim_block(late) == late
        assert await here.links[B.id].published() == []
        assert await here.links[B.id].blocks() == []
        await here.links[C.id].publish(here.network.id, [peer(C, here.network.id, 2, "10.9.0.3/24")], [])


async def test_claims_at_once_leave_one_owner() -> None:
    async with lab() as here:
        claims = [here.block("10.9.0.0/28", each.id, 5 + at) for at, each in enumerate((A, B, C))]
        await asyncio.gather(*(here.links[c.node].claim_block(c) for c in claims), return_exceptions=True)
        assert [b.node for b in here.manager.state.blocks.of_network(here.network.id)] == [C.id]


async def test_otherwise_a_claim_takes_what_is_free_and_nothing_else() -> None:
    async with lab(Block("", SUBNET, "10.9.0.0/28", B.id, 5), settling=False) as here:
        with pytest.raises(Conflict, match="by now"):
            await here.links[C.id].claim_block(here.block("10.9.0.8/29", C.id, 1 << 40))
        free = await here.links[C.id].claim_block(here.block("10.9.0.16/28", C.id, 3))
        assert (free.prefix, free.node) == ("10.9.0.16/28", C.id)
        assert free.epoch > 3, "another might have had it meanwhile"


@pytest.mark.parametrize(
    ("prefix", "epoch"),
    [("10.9.0.0/23", 1), ("10.9.1.0/28", 1), ("10.9.0.1/28", 1), ("x", 1), ("fd00::/120", 1), ("10.9.0.0/28", 0)],
)
async def test_what_can_be_no_block_is_refused(prefix: str, epoch: int) -> None:
    async with lab() as here:
        with pytest.raises(InvalidParameter):
            await here.links[A.id].claim_block(here.block(prefix, A.id, epoch))
        with pytest.raises(NotFound):
            await here.links[A.id].claim_block(Block("gone", SUBNET, "10.9.0.0/28", A.id))


async def test_nothing_is_taken_back_while_it_settles_and_all_of_it_ends_by_itself() -> None:
    clock = Clock()
    async with lab(
        Block("", SUBNET, "10.9.0.0/28", B.id, 5), grace=30.0, monotonic=clock.monotonic, clock=clock.ns
    ) as here:
        here.fake.end_lease(here.manager.state.version(codec.alive_key(B.id)).lease)
        await here.manager.feed.until(lambda state: B.id not in state.alive)
        clock.now += 3600
        await here.settle(A.id)
        assert here.manager.state.blocks.of_node(B.id)
        here.fake.end_lease(here.manager.state.version(codec.SETTLING_KEY).lease)
        await here.manager.feed.until(lambda state: state.settling is None and not state.settled)
        clock.now += 3600
        await here.manager.feed.until(lambda state: not state.blocks.of_node(B.id))


async def test_a_manager_that_goes_on_alone_begins_an_era() -> None:
    async with lab(settling=False) as here:
        await here.manager.nodes.set_manager(B.id, "192.0.2.2:2377")
        etcd = here.fake.client()
        await here.manager.nodes.begin_era(ERA + 10**9, A.id, 45, etcd)
        assert here.manager.era == ERA + 10**9 + 1
        assert here.manager.state.settling == codec.Settling(here.manager.era)
        assert set(here.manager.state.managers) == {A.id}
        await here.manager.nodes.begin_era(0, A.id, 45, etcd)
        assert here.manager.era == ERA + 10**9 + 2, "it never goes back"
