"""Eight managers on a real etcd: names, VXLAN ids, subnets and blocks are given once each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from tests.support.etcd_process import EtcdProcess
from tests.support.managers import managers, node, peer
from tests.support.rivals import check_blocks, check_networks, compete, compete_for_blocks, rival_request
from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, Etcd, PutKey, Report
from towline.cluster.etcd import EtcdClient
from towline.cluster.state import State
from towline.model.errors import InvalidParameter, Unavailable
from towline.model.requests import CreateNetwork, PoolRequest


class Forgetful(EtcdClient):
    """Every fifth answer to a transaction is lost."""

    transactions = 0

    async def transact(self, when: list[Compare], then: list[PutKey | DeleteKey]) -> int | None:  # type: ignore[override]
        revision = await super().transact(when, then)
        Forgetful.transactions += 1
        if Forgetful.transactions % 5 == 0:
            raise Unavailable("etcd: the answer was lost")
        return revision


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    yield process
    process.kill()


@pytest.fixture
async def clients(process: EtcdProcess) -> AsyncIterator[list[Etcd]]:
    async with AsyncExitStack() as stack:
        found: list[Etcd] = []
        for at in range(8):
            client = Forgetful(process.gateway()) if at % 2 else process.client()
            stack.push_async_callback(client.close)
            found.append(client)
        yield found


async def test_two_hundred_networks_and_their_blocks(process: EtcdProcess, clients: list[Etcd]) -> None:
    random = Random(7)
    requests = [rival_request(random, names=120) for _ in range(200)]
    async with managers(clients, nodes=8, patience=60.0) as found:
        outcomes = await compete(found, requests)
        kept = await check_networks(clients[0], requests, outcomes)
        assert len(kept) > 60
        for manager in found:
            await manager.feed.until(lambda state: len(state.networks) == len(kept))
            assert {n.id for n in manager.state.networks.all()} == {n.id for n in kept}
        request = CreateNetwork("blocks", driver="overlay", pools=(PoolRequest("192.168.0.0/26"),))
        network = await found[0].networks.create(request)
        given = await compete_for_blocks(found, network, [random.randrange(8) for _ in range(40)])
        await check_blocks(clients[0], network, given)
        assert given


async def test_copies_are_equal_after_etcd_was_killed(process: EtcdProcess, clients: list[Etcd]) -> None:
    owner = node(1)
    async with managers(clients[:3], nodes=2) as found:
        network = await found[0].networks.create(CreateNetwork("ov", driver="overlay"))
        await found[1].beat(owner.id, Report(1, 0))
        await found[1].lease_block(owner.id, network.id, "10.0.1.0/24")
        process.kill()
        process.start()
        await found[2].feed.until(lambda state: network.id in {n.id for n in state.networks.all()}, 30)
        endpoint = peer(owner, network.id, 1, "10.0.1.5/24")
        await found[2].publish(owner.id, network.id, [endpoint], [])
        with pytest.raises(InvalidParameter, match="is in use by task"):
            await found[0].networks.remove(network.id)
        everything = await clients[0].range(codec.PREFIX)
        truth = State(everything.revision, everything.items)
        for manager in found:
            await manager.feed.until(lambda state: state.peers.get(network.id, endpoint.id) == endpoint, 30)
            for scope in ("base", network.id):
                mine, theirs = manager.state.snapshot(scope), truth.snapshot(scope)
                assert sorted(map(repr, mine.peers)) == sorted(map(repr, theirs.peers))
                assert sorted(map(repr, mine.networks)) == sorted(map(repr, theirs.networks))
                assert {n.id for n in mine.nodes} == {n.id for n in theirs.nodes}
