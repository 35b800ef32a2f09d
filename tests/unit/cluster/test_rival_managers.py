"""Managers create networks and lease blocks at once, and answers of etcd are lost: nothing is given twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.managers import managers
from tests.support.rivals import check_blocks, check_networks, compete, compete_for_blocks, rival_request
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.model.errors import TowlineError
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest

FAULTS = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([Fault.LOST_ANSWER, Fault.LOST_ANSWER, Fault.UNAVAILABLE])),
    max_size=10,
)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS)
def test_networks(seed: int, faults: list[tuple[int, Fault]]) -> None:
    async def run() -> None:
        random = Random(seed)
        fake = FakeCluster()
        clients = [fake.client() for _ in range(8)]
        requests = [rival_request(random, names=12) for _ in range(24)]
        async with managers(clients) as found:
            for at, fault in faults:
                clients[at].fail(fault)
            outcomes = await compete(found, requests)
        await check_networks(fake.client(), requests, outcomes)

    asyncio.run(run())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS)
def test_blocks(seed: int, faults: list[tuple[int, Fault]]) -> None:
    async def run() -> None:
        random = Random(seed)
        fake = FakeCluster()
        clients = [fake.client() for _ in range(4)]
        async with managers(clients, nodes=8) as found:
            length = random.choice([24, 27, 29])
            request = CreateNetwork("ov", driver="overlay", pools=(PoolRequest(f"10.9.0.0/{length}"),))
            network = await found[0].networks.create(request)
            for at, fault in faults:
                clients[at % 4].fail(fault)
            given_out = await compete_for_blocks(found, network, [random.randrange(8) for _ in range(24)])
            await check_blocks(fake.client(), network, given_out)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(2))
async def test_two_hundred_networks(seed: int) -> None:
    random = Random(seed)
    fake = FakeCluster()
    clients = [fake.client() for _ in range(8)]
    requests = [rival_request(random, names=120) for _ in range(200)]
    async with managers(clients) as found:
        for client in clients:
            client.fail(*([Fault.LOST_ANSWER] * 2))
        outcomes = await compete(found, requests)
    kept = await check_networks(fake.client(), requests, outcomes)
    assert len(kept) > 60


async def test_one_of_many_rivals_for_a_name_wins() -> None:
    fake = FakeCluster()
    async with managers([fake.client() for _ in range(8)]) as found:
        outcomes = await compete(found, [CreateNetwork("same", driver="overlay")] * 40)
        assert len(_won(outcomes)) == 1
        lost = {str(each) for each in outcomes if not isinstance(each, Network)}
        assert lost == {"network with name same already exists"}
        request = CreateNetwork("ing", driver="overlay", ingress=True)
        await found[0].networks.remove("i" * 25)
        assert len(_won(await compete(found, [request] * 16))) == 1


def _won(outcomes: Sequence[Network | TowlineError]) -> list[Network]:
    return [each for each in outcomes if isinstance(each, Network)]
