"""Blocks of addresses and published endpoints: who may have what, and what is taken back from nodes that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.managers import Clock, managers, node, peer
from towline.cluster import codec
from towline.cluster.contract import Report, Watched
from towline.cluster.etcd_fake import FakeCluster, FakeEtcd, Fault
from towline.cluster.manager import LocalLink, Manager
from towline.cluster.scopes import Scopes
from towline.ipam.blocks import block_length, plan_block, plan_block_at, reserved_addresses
from towline.ipam.prefix import Prefix, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Block, Node, Peer
from towline.model.errors import Conflict, Forbidden, InvalidParameter, NotFound, TowlineError, Unavailable
from towline.model.network import Network, Pool
from towline.model.requests import CreateNetwork, PoolRequest

A, B, C = node(0), node(1), node(2)


async def overlay(manager: Manager, name: str = "ov", *subnets: str) -> Network:
    pools = tuple(PoolRequest(subnet) for subnet in subnets)
    return await manager.networks.create(CreateNetwork(name, driver="overlay", pools=pools))


# blocks, as a plan


SUBNETS = st.sampled_from(["10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/28", "10.0.0.0/30", "10.0.0.0/31", "fd00::/64"])


@given(subnet=SUBNETS, leases=st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=30))
def test_blocks_never_overlap_and_always_have_an_address_to_give(subnet: str, leases: list[int | None]) -> None:
    whole = parse_prefix(subnet)
    pool = Pool(subnet, gateway=str(Prefix(whole.v6, whole.start + 1, whole.bits)).partition("/")[0])
    taken, given_out = PrefixSet(), 0
    reserved = reserved_addresses(pool)
    for at in leases:
        if at is not None and at < whole.size:
            address = str(Prefix(whole.v6, whole.start + at, whole.bits)).partition("/")[0]
            block = plan_block_at(pool, taken, address)
            if block is None:
                assert taken.overlaps(address)
                continue
            assert (block.start, block.size) == (whole.start + at, 1)
        else:
            block = plan_block(pool, taken, given_out)
            if block is None:
                free = (
                    whole.size - given_out - sum(not taken.overlaps(Prefix(whole.v6, r, whole.bits)) for r in reserved)
                )
                assert free == 0
                continue
            assert block.size > sum(block.start <= address <= block.end for address in reserved)
        assert whole.holds(block)
        assert not taken.overlaps(block)
        assert block.size <= (256 if not whole.v6 else 65536)
        taken.add(block)
        given_out += block.size


@pytest.mark.parametrize(
    ("subnet", "given_out", "length"),
    [
        ("10.0.0.0/24", 0, 28),
        ("10.0.0.0/24", 128, 29),
        ("10.0.0.0/24", 250, 32),
        ("10.0.0.0/8", 0, 24),
        ("10.0.0.0/28", 0, 32),
        ("fd00::/64", 0, 112),
        ("fd00::/120", 0, 124),
    ],
)
def test_a_block_is_a_sixteenth_of_what_is_free(subnet: str, given_out: int, length: int) -> None:
    assert block_length(parse_prefix(subnet), given_out) == length


def test_blocks_come_from_the_range_where_there_is_one() -> None:
    pool = Pool("10.0.0.0/24", ip_range="10.0.0.64/29", gateway="10.0.0.64")
    taken = PrefixSet()
    found = []
    while (block := plan_block(pool, taken, sum(p.size for p in taken))) is not None:
        taken.add(block)
        found.append(block)
    assert sum(block.size for block in found) <= 8
    assert all(parse_prefix("10.0.0.64/29").holds(block) for block in found)
    assert plan_block_at(pool, taken, "10.0.0.5") == parse_prefix("10.0.0.5/32")
    assert plan_block_at(pool, taken, "10.0.0.16/28") == parse_prefix("10.0.0.16/28")
    assert plan_block_at(pool, taken, "10.0.0.64/28") is None


def test_the_low_addresses_of_a_large_ipv6_subnet_are_given_last() -> None:
    pool = Pool("fd00::/110", gateway="fd00::1")
    taken = PrefixSet()
    found = []
    while (block := plan_block(pool, taken, sum(p.size for p in taken))) is not None:
        taken.add(block)
        found.append(block)
    low = parse_prefix("fd00::/112")
    firsts = [low.holds(block) for block in found]
    assert str(found[0]) == "fd00::1:0/114"
    assert firsts == sorted(firsts)
    assert firsts[-1]


# leases


async def test_a_small_network_serves_many_nodes() -> None:
    async with managers([FakeCluster().client()], nodes=60) as (manager,):
        net = await overlay(manager)
        for at in range(60):
            await manager.lease_block(node(at).id, net.id, "10.0.1.0/24")
        blocks = manager.state.blocks.of_network(net.id)
        assert len({block.node for block in blocks}) == 60


async def test_a_lease_of_an_address_is_of_this_one_alone() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        lease = manager.lease_block
        mine = await lease(A.id, net.id, "10.0.1.0/24", "10.0.1.77")
        assert (mine.prefix, mine.node) == ("10.0.1.77/32", A.id)
        assert (await lease(B.id, net.id, "10.0.1.0/24", "10.0.1.78")).node == B.id
        block = await lease(A.id, net.id, "10.0.1.0/24")
        assert await lease(A.id, net.id, "10.0.1.0/24", "10.0.1.3") == block
        text = (
            "Address already in use: 10.0.1.3 of network ov: it is in block 10.0.1.0/29 of node host0; choose another"
        )
        with pytest.raises(Conflict) as refused:
            await lease(B.id, net.id, "10.0.1.0/24", "10.0.1.3")
        assert str(refused.value).startswith(text)
        await manager.publish(A.id, net.id, [peer(A, net.id, 3, "10.0.1.3/24", name="web")], [])
        with pytest.raises(Conflict, match=r"10.0.1.3 of network ov: web \([0-9a-f]+\) on node host0 has it"):
            await lease(B.id, net.id, "10.0.1.0/24", "10.0.1.3")


async def test_an_address_on_its_way_back_is_waited_for() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        theirs = await manager.lease_block(A.id, net.id, "10.0.1.0/24", "10.0.1.77")
        asking = asyncio.ensure_future(manager.lease_block(B.id, net.id, "10.0.1.0/24", "10.0.1.77"))
        await asyncio.sleep(0.05)
        assert not asking.done()
        await manager.return_block(A.id, theirs)
        assert (await asking).node == B.id


async def test_a_part_is_leased_whole_or_not_at_all() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        part = await manager.lease_block(A.id, net.id, "10.0.1.0/24", "10.0.1.32/28")
        assert part.prefix == "10.0.1.32/28"
        assert await manager.lease_block(A.id, net.id, "10.0.1.0/24", "10.0.1.32/28") == part
        for node_id in (A.id, B.id):
            with pytest.raises(Conflict, match=r"10.0.1.0/26 of network ov: it is in block 10.0.1.32/28 of node host0"):
                await manager.lease_block(node_id, net.id, "10.0.1.0/24", "10.0.1.0/26")
        with pytest.raises(InvalidParameter):
            await manager.lease_block(B.id, net.id, "10.0.1.0/24", "10.0.0.0/8")


async def test_leases_that_cannot_be() -> None:
    async with managers([FakeCluster().client()], nodes=1) as (manager,):
        net = await overlay(manager)
        wrong: list[tuple[tuple[str, str, str, str], type[TowlineError]]] = [
            ((A.id, "nosuch", "10.0.1.0/24", ""), NotFound),
            ((A.id, net.id, "10.0.2.0/24", ""), InvalidParameter),
            ((A.id, net.id, "10.0.1.0/24", "10.0.2.5"), InvalidParameter),
            ((A.id, net.id, "10.0.1.0/24", "x"), InvalidParameter),
            ((A.id, net.id, "10.0.1.0/24", "fd00::1"), InvalidParameter),
            ((B.id, net.id, "10.0.1.0/24", ""), Forbidden),
        ]
        for arguments, kind in wrong:
            with pytest.raises(kind):
                await manager.lease_block(*arguments)
        assert len(manager.state.blocks) == 0


async def test_exhaustion_says_who_has_what() -> None:
    async with managers([FakeCluster().client()], nodes=3) as (manager,):
        net = await overlay(manager, "tiny", "10.5.0.0/29")
        for at in (0, 0, 0, 1, 1):
            await manager.lease_block(node(at).id, net.id, "10.5.0.0/29")
        with pytest.raises(Unavailable) as refused:
            await manager.lease_block(C.id, net.id, "10.5.0.0/29")
        assert "all of 10.5.0.0/29 of network tiny is leased (host0 has 3 and uses 0, host1 has 2 and uses 0)" in str(
            refused.value
        )


async def test_a_lost_answer_leases_one_block() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client]) as (manager,):
        net = await overlay(manager)
        await manager.lease_block(A.id, net.id, "10.0.1.0/24")
        client.fail(Fault.LOST_ANSWER)
        block = await manager.lease_block(A.id, net.id, "10.0.1.0/24")
        assert {b.id for b in manager.state.blocks.of_node(A.id)} == {f"{net.id}/10.0.1.0/28", block.id}


async def test_a_block_goes_back_when_nothing_of_it_is_published() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        block = await manager.lease_block(A.id, net.id, "10.0.1.0/24")
        one = peer(A, net.id, 1, "10.0.1.5/24")
        await manager.publish(A.id, net.id, [one], [])
        with pytest.raises(Conflict, match=f"block 10.0.1.0/28 is in use: endpoint {one.id}"):
            await manager.return_block(A.id, block)
        await manager.return_block(B.id, block)  # not its own: nothing happens
        assert await manager.blocks(A.id) == [block]
        await manager.publish(A.id, net.id, [], [one.id])
        await manager.return_block(A.id, block)
        await manager.return_block(A.id, block)
        assert await manager.blocks(A.id) == []
        again = await manager.lease_block(B.id, net.id, "10.0.1.0/24")
        assert (again.prefix, again.node) == (block.prefix, B.id)
        assert again.epoch > block.epoch


# publishing


async def test_publishing_is_idempotent_and_seen_by_watchers() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        link = LocalLink(manager, A.id)
        await link.lease_block(net.id, "10.0.1.0/24")
        one = peer(A, net.id, 1, "10.0.1.5/24")
        revision = await link.publish(net.id, [one], [])
        assert await link.publish(net.id, [one], ["nosuch"]) == revision
        assert await link.published() == [one]
        update = await anext(link.watch(Scopes(net.id)))
        assert (update.snapshot, update.peers, update.revision >= revision) == (True, (one,), True)
        moved = replace(one, epoch=2, dns_names=("web",))
        await link.publish(net.id, [moved], [])
        assert await link.published() == [moved]


async def test_a_network_that_another_manager_just_made_is_found() -> None:
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()]) as (one, two):
        await two.publish(A.id, "i" * 25, [], [])
        for at in range(5):
            net = await overlay(one, f"n{at}")
            block = await two.lease_block(A.id, net.id, net.pools[0].subnet)
            endpoint = peer(A, net.id, at, block.prefix.replace(".0/28", ".5/24"))
            net = await overlay(one, f"m{at}")
            with pytest.raises(Forbidden):  # and not: no such network
                await two.publish(A.id, net.id, [endpoint], [])


class _Late(FakeEtcd):
    """Hears of changes only while `hears` is set."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster)
        self.hears = asyncio.Event()
        self.hears.set()

    async def watch(self, prefix: str, since: int) -> AsyncIterator[Watched]:
        async for watched in super().watch(prefix, since):
            await self.hears.wait()
            yield watched


async def test_what_another_manager_just_wrote_of_a_node_is_known() -> None:
    """A node that was killed right after publishing asks another manager what it had, to withdraw it."""
    fake = FakeCluster()
    late = _Late(fake)
    async with managers([fake.client(), late]) as (one, two):
        net = await overlay(one, "n", "10.8.0.0/16")
        late.hears.clear()
        block = await one.lease_block(A.id, net.id, "10.8.0.0/16", "10.8.7.5")
        endpoint = peer(A, net.id, 1, "10.8.7.5/16")
        await one.publish(A.id, net.id, [endpoint], [])
        asked = asyncio.gather(two.blocks(A.id), two.published(A.id))
        asyncio.get_running_loop().call_later(0.05, late.hears.set)
        assert await asked == [[block], [endpoint]]


async def test_many_endpoints_in_one_call() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net = await overlay(manager, "wide", "10.8.0.0/16")
        block = await manager.lease_block(A.id, net.id, "10.8.0.0/16")
        many = [peer(A, net.id, at, f"10.8.0.{at}/16") for at in range(2, 200)]
        assert block.prefix == "10.8.0.0/24"
        await manager.publish(A.id, net.id, many, [])
        assert sorted(p.id for p in manager.state.peers.of_network(net.id)) == sorted(p.id for p in many)
        others = [replace(p, id=f"{n:064x}") for n, p in enumerate(many, 1000)]
        await manager.publish(A.id, net.id, others, [p.id for p in many])
        assert sorted(p.id for p in manager.state.peers.of_network(net.id)) == sorted(p.id for p in others)
        with pytest.raises(InvalidParameter, match="at most"):
            await manager.publish(A.id, net.id, [], [str(n) for n in range(20_000)])


async def test_only_what_is_a_nodes_own_is_published() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        bridge = await manager.networks.create(CreateNetwork("swb", driver="bridge", scope="swarm"))
        await manager.lease_block(A.id, net.id, "10.0.1.0/24")  # .0 to .15
        await manager.lease_block(B.id, net.id, "10.0.1.0/24")  # .16 to .23
        theirs = peer(B, net.id, 9, "10.0.1.17/24")
        await manager.publish(B.id, net.id, [theirs], [])
        one = peer(A, net.id, 1, "10.0.1.5/24")
        await manager.publish(A.id, net.id, [one], [])
        two = peer(A, net.id, 2, "10.0.1.6/24")
        wrong: list[tuple[str, Peer, type[TowlineError], str]] = [
            ("nosuch", replace(two, network="nosuch"), NotFound, "network nosuch not found"),
            (bridge.id, replace(two, network=bridge.id, node=B.id), Forbidden, "its own endpoints"),
            (bridge.id, replace(two, network=bridge.id, ipv4="0.0.0.0/24"), InvalidParameter, "no address of a host"),
            (bridge.id, replace(two, network=bridge.id, ipv4="fd00::1/64"), InvalidParameter, "in none of its"),
            (net.id, replace(two, node=B.id), Forbidden, "its own endpoints"),
            (net.id, replace(two, network="other"), Forbidden, "its own endpoints"),
            (net.id, replace(two, id=theirs.id), Forbidden, f"belongs to node {B.id}"),
            (net.id, replace(two, id="a/b"), InvalidParameter, "id is not one"),
            (net.id, replace(two, ipv4="10.0.1.17/24"), Conflict, f"it is in a block of node {B.id}"),
            (net.id, replace(two, ipv4="10.0.1.99/24"), Conflict, "no node has leased it"),
            (net.id, replace(two, ipv4="10.0.1.5/24"), Conflict, f"is endpoint {one.id}'s already"),
            (net.id, replace(two, mac=theirs.mac), Conflict, f"on network ov already, on node {B.id}"),
            (net.id, replace(two, ipv4="10.0.2.5/24"), InvalidParameter, "in none of its subnets"),
            (net.id, replace(two, ipv4="10.0.1.6/16"), InvalidParameter, "in none of its subnets"),
            (net.id, replace(two, ipv4="10.0.1.6"), InvalidParameter, "in none of its subnets"),
            (net.id, replace(two, ipv4="x"), InvalidParameter, "is not an address"),
            (net.id, replace(two, ipv6="fd00::5/64"), InvalidParameter, "in none of its subnets"),
            (net.id, replace(two, ipv4="", ipv6="10.0.1.6/24"), InvalidParameter, "in none of its subnets"),
            (net.id, replace(two, ipv4=""), InvalidParameter, "it has no address"),
            (net.id, replace(two, ipv4="10.0.1.0/24"), InvalidParameter, "is reserved"),
            (net.id, replace(two, ipv4="10.0.1.1/24"), InvalidParameter, "is reserved"),
            (net.id, replace(two, ipv4="10.0.1.255/24"), InvalidParameter, "is reserved"),
            (net.id, replace(two, mac="01:00:5e:00:00:01"), InvalidParameter, "not a unicast MAC"),
            (net.id, replace(two, mac="00:00:00:00:00:00"), InvalidParameter, "not a unicast MAC"),
            (net.id, replace(two, mac="02:00:00:00:00:0G"), InvalidParameter, "not a unicast MAC"),
            (net.id, replace(two, vtep="192.0.2.99"), InvalidParameter, "not the node's data path"),
            (net.id, replace(two, vtep="224.0.0.1"), InvalidParameter, "cannot be the address of a data path"),
            (net.id, replace(two, vtep="x"), InvalidParameter, "not the address of a data path"),
            (net.id, replace(two, name="x" * 300), InvalidParameter, "longer than 255 bytes"),
            (net.id, replace(two, dns_names=("a\nb",)), InvalidParameter, "cannot be shown"),
            (net.id, replace(two, dns_names=("a",) * 65), InvalidParameter, "65 names, at most 64"),
            (net.id, replace(two, epoch=0), InvalidParameter, "epoch 0"),
        ]
        for network_id, each, kind, text in wrong:
            with pytest.raises(kind, match=text):
                await manager.publish(A.id, network_id, [each], [])
        await manager.publish(A.id, net.id, [], [theirs.id])  # another's: not touched
        assert sorted(p.id for p in manager.state.peers.of_network(net.id)) == sorted([one.id, theirs.id])
        replaced = replace(two, ipv4=one.ipv4)
        await manager.publish(A.id, net.id, [replaced], [one.id])
        assert manager.state.peers.of_node(A.id) == [replaced]


async def test_a_node_of_another_cluster_gets_nothing() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        stranger = "stranger"
        with pytest.raises(Forbidden, match="is not of this cluster"):
            await manager.beat(stranger, Report(1, 0))
        with pytest.raises(Forbidden):
            await manager.publish(stranger, "i" * 25, [], [])
        with pytest.raises(Forbidden):
            await anext(manager.watch(stranger, Scopes("base")))
        with pytest.raises(Forbidden):
            await manager.leave(stranger)


async def test_publishing_and_removal_exclude_each_other() -> None:
    """Many rounds on two managers: either the endpoint is known and the network stays, or neither is there."""
    fake = FakeCluster()
    clients = [fake.client(), fake.client()]
    async with managers(clients) as (one, two):
        for at in range(30):
            net = await overlay(one, f"n{at}", f"10.77.{at}.0/24")
            await one.lease_block(A.id, net.id, f"10.77.{at}.0/24")
            endpoint = peer(A, net.id, 1, f"10.77.{at}.5/24")
            if at % 3 == 0:
                clients[at % 2].fail(Fault.LOST_ANSWER)
            jobs = [two.publish(A.id, net.id, [endpoint], []), one.networks.remove(net.id)]
            published, removed = await asyncio.gather(*jobs[:: 1 if at % 2 else -1], return_exceptions=True)
            if not at % 2:
                published, removed = removed, published
            keys = fake.keys(codec.network_key(net.id)) | fake.keys(codec.endpoints_prefix(net.id))
            if isinstance(removed, BaseException):
                assert isinstance(removed, InvalidParameter)
                assert isinstance(published, int)
                assert len(keys) == 2
            else:
                assert isinstance(published, NotFound)
                assert keys == {}
                assert fake.keys(codec.blocks_prefix(net.id)) == {}


# nodes that are gone


async def at_work(manager: Manager, owner: Node, net: Network) -> tuple[Block, Peer]:
    block = await manager.lease_block(owner.id, net.id, net.pools[0].subnet)
    first = parse_prefix(block.prefix).start + 2
    address = str(Prefix(False, first, 24)).partition("/")[0]
    endpoint = peer(owner, net.id, first & 255, f"{address.rpartition('.')[0]}.{first & 255}/24")
    await manager.publish(owner.id, net.id, [endpoint], [])
    return block, endpoint


async def test_what_a_silent_node_had_is_taken_back_after_the_grace_period_and_not_before() -> None:
    fake, clock = FakeCluster(), Clock()
    async with managers(
        [fake.client(), fake.client()], nodes=2, grace=30.0, term=1, monotonic=clock.monotonic, clock=clock.ns
    ) as (one, two):
        net = await overlay(one)
        await one.beat(B.id, Report(1, 0))
        block, _ = await at_work(one, B, net)
        await two.feed.until(lambda state: bool(state.leader))
        fake.advance(20)  # past B's lease of 15 s, and the leader's
        clock.now += 20
        await one.feed.until(lambda state: B.id not in state.alive)
        waits = [asyncio.ensure_future(manager.leader.wait()) for manager in (one, two)]
        await asyncio.wait(waits, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert one.leader.leading != two.leader.leading
        for wait in waits:
            wait.cancel()
        await passed(one, fake, 100)
        clock.now += 29
        await passed(one, fake, 100)
        assert await one.blocks(B.id) == [block]
        clock.now += 2
        async with asyncio.timeout(20):
            while B.id in one.state.nodes_with_remains():
                await passed(one, fake, 1)
        assert await one.published(B.id) == []
        assert one.state.peers.of_network(net.id) == []


async def passed(manager: Manager, fake: FakeCluster, rounds: int) -> None:
    """Others report meanwhile: that wakes whoever waits."""
    for _ in range(rounds):
        await manager.beat(A.id, Report(1, 0, problem=str(fake.revision)))
        await asyncio.sleep(0.001)


async def test_a_node_that_comes_back_is_not_robbed() -> None:
    """Taking back goes on while the node is back: whatever is left of it is whole."""
    for lost in range(12):
        fake = FakeCluster()
        clients = [fake.client(), fake.client()]
        async with managers(clients, nodes=2) as (one, two):
            net = await overlay(one)
            await one.beat(B.id, Report(1, 0))
            block, endpoint = await at_work(one, B, net)
            fake.advance(20)
            await one.feed.until(lambda state: B.id not in state.alive)
            await two.feed.until(lambda state: B.id not in state.alive)
            if lost % 3 == 1:
                clients[0].fail(Fault.LOST_ANSWER)
            if lost % 3 == 2:
                clients[1].fail(Fault.LOST_ANSWER)

            async def back(two: Manager = two, net: Network = net, endpoint: Peer = endpoint, lost: int = lost) -> None:
                for _ in range(lost):
                    await asyncio.sleep(0)
                await two.beat(B.id, Report(1, 0))
                fresh = replace(endpoint, id="f" * 64, mac="02:00:00:00:99:99")
                await two.publish(B.id, net.id, [fresh], [endpoint.id])

            _, published = await asyncio.gather(one._reclaim.take_back(B.id), back(), return_exceptions=True)
            endpoints, blocks = fake.keys(codec.endpoints_prefix(net.id)), fake.keys(codec.blocks_prefix(net.id))
            if published is None:
                assert list(blocks) == [codec.block_key(net.id, block.prefix)]
                assert list(endpoints) == [codec.endpoint_key(net.id, "f" * 64)]
            else:
                assert isinstance(published, Conflict), published
                assert endpoints.keys() <= {codec.endpoint_key(net.id, endpoint.id)}


async def stall(manager: Manager) -> None:
    """Its copy stays as it is from now on."""
    await manager.feed.close()


async def test_a_manager_with_an_old_copy_gives_nothing_away() -> None:
    """It believes that the node has the block, and is alive; both are over."""
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()], nodes=2, patience=0.3) as (one, two):
        net = await overlay(one)
        await one.beat(B.id, Report(1, 0))
        block, endpoint = await at_work(one, B, net)
        await two.feed.wait(fake.revision)
        await stall(two)
        await one.publish(B.id, net.id, [], [endpoint.id])
        await one.return_block(B.id, block)
        before = fake.keys(codec.PREFIX)
        another = peer(B, net.id, 9, "10.0.1.9/24")
        with pytest.raises(Unavailable, match="does not hear of changes in time"):
            await two.publish(B.id, net.id, [another], [])
        assert fake.keys(codec.PREFIX) == before
        fake.advance(20)
        await one.feed.until(lambda state: B.id not in state.alive)
        before = fake.keys(codec.PREFIX)
        for job in (two.publish(B.id, net.id, [], [endpoint.id]), two.lease_block(B.id, net.id, "10.0.1.0/24")):
            with pytest.raises(Unavailable, match="does not hear of changes in time"):
                await job
        assert fake.keys(codec.PREFIX) == before


async def test_a_manager_with_an_old_copy_publishes_nothing_of_a_node_that_is_down() -> None:
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()], nodes=2, patience=0.3) as (one, two):
        net = await overlay(one)
        await one.beat(B.id, Report(1, 0))
        await at_work(one, B, net)
        await two.feed.wait(fake.revision)
        await stall(two)
        fake.advance(20)
        before = fake.keys(codec.PREFIX)
        with pytest.raises(Unavailable, match="does not hear of changes in time"):
            await two.publish(B.id, net.id, [peer(B, net.id, 9, "10.0.1.9/24")], [])
        assert fake.keys(codec.PREFIX) == before


async def test_a_manager_with_an_old_copy_leases_no_block_around_another() -> None:
    """It would take 10.0.1.0/28, of which the other manager has given 10.0.1.0/29."""
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()], nodes=2, patience=0.3) as (one, two):
        net = await overlay(one)
        await one.beat(A.id, Report(1, 0))
        await two.beat(B.id, Report(1, 0))
        await two.feed.wait(fake.revision)
        await stall(two)
        await one.lease_block(A.id, net.id, "10.0.1.0/24", "10.0.1.200")
        assert (await one.lease_block(A.id, net.id, "10.0.1.0/24")).prefix == "10.0.1.0/29"
        with pytest.raises(Unavailable, match="does not hear of changes in time"):
            await two.lease_block(B.id, net.id, "10.0.1.0/24")
        assert [block.node for block in one.state.blocks.of_network(net.id)] == [A.id, A.id]


async def test_taking_back_on_an_old_copy_takes_nothing_of_a_node_that_was_back_meanwhile() -> None:
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()], nodes=2, patience=0.3) as (one, two):
        net = await overlay(one)
        await one.beat(B.id, Report(1, 0))
        _, endpoint = await at_work(one, B, net)
        fake.advance(20)
        await one.feed.until(lambda state: B.id not in state.alive)
        await stall(one)
        await two.feed.wait(fake.revision)
        fresh = replace(endpoint, id="f" * 64, mac="02:00:00:00:99:99")
        await two.publish(B.id, net.id, [fresh], [endpoint.id])
        kept = fake.keys(codec.endpoints_prefix(net.id)) | fake.keys(codec.blocks_prefix(net.id))
        with pytest.raises(Unavailable):
            await one._reclaim.take_back(B.id)  # it is back
        fake.advance(20)
        await two.feed.until(lambda state: B.id not in state.alive)
        with pytest.raises(Unavailable):
            await one._reclaim.take_back(B.id)  # it was back, and published what this copy does not know
        assert fake.keys(codec.endpoints_prefix(net.id)) | fake.keys(codec.blocks_prefix(net.id)) == kept


async def test_removing_a_node_takes_everything_back_at_once() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        net = await overlay(manager, "wide", "10.8.0.0/16")
        await manager.lease_block(B.id, net.id, "10.8.0.0/16")
        many = [peer(B, net.id, at, f"10.8.0.{at}/16") for at in range(2, 250)]
        await manager.publish(B.id, net.id, many, [])
        text = f"rpc error: code = FailedPrecondition desc = node {B.id} is not down and can't be removed"
        with pytest.raises(InvalidParameter) as refused:
            await manager.nodes.remove(B.id, force=False)
        assert str(refused.value) == text
        await manager.nodes.remove(B.id, force=True)
        assert not any(B.id in key for key in fake.keys(codec.PREFIX))
        assert fake.keys(codec.endpoints_prefix(net.id)) == {}
        assert fake.keys(codec.blocks_prefix(net.id)) == {}
        with pytest.raises(Forbidden):
            await manager.publish(B.id, net.id, many[:1], [])
        with pytest.raises(NotFound, match="node .* not found"):
            await manager.nodes.remove(B.id, force=True)


async def test_a_node_that_leaves_is_down_and_has_nothing() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        net = await overlay(manager)
        await at_work(manager, B, net)
        await manager.leave(B.id)
        await manager.leave(B.id)
        status = {each.node.id: each for each in manager.nodes.statuses()}[B.id]
        assert status.state == "down"
        assert manager.state.nodes_with_remains() == set()
        await manager.nodes.remove(B.id, force=False)
        assert B.id not in manager.state.nodes


async def test_a_copy_that_lags_refuses_nobody() -> None:
    """The block was leased through one manager, the endpoint is published through another that has not heard of it."""
    fake = FakeCluster()
    behind = fake.client()
    async with managers([fake.client(), behind], nodes=2) as (first, second):
        net = await overlay(first)
        await first.beat(B.id, Report(1, 0))
        await second.feed.until(lambda state: state.networks.get(net.id) is not None and B.id in state.alive)
        behind.cut_watches()
        await first.lease_block(B.id, net.id, "10.0.1.0/24", "10.0.1.5")
        assert second.state.blocks.of_network(net.id) == []
        await second.publish(B.id, net.id, [peer(B, net.id, 1, "10.0.1.5/24")], [])
        with pytest.raises(Conflict, match=r"no node has leased it"):
            await second.publish(B.id, net.id, [peer(B, net.id, 2, "10.0.1.99/24")], [])
