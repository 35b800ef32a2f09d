"""What a change costs a node, in records that are read: it does not grow with what the node has besides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scale.link import MeteredLink
from scale.node import SimulatedNode
from scale.recorder import Recorder

from tests.support.fake_cluster import FakeManagers
from towline.cluster.contract import Update
from towline.cluster.copy import ClusterCopy
from towline.model.cluster import Alive, Node, Peer
from towline.model.network import Network, Pool
from towline.plan.global_network import VNI_LIST

ME = "me"
MANY = 400
FEW = 80
"""Reads: a change may be looked at more than once, but never at all that there is."""


class Counting:
    """A view that counts its answers, and the records in them."""

    def __init__(self, view: object) -> None:
        self.count = 0
        self._view = view

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._view, name)

        def counted(*arguments: object) -> object:
            answer = found(*arguments)
            self.count += 1 + (len(answer) if isinstance(answer, (list, tuple)) else 0)
            return answer

        return counted if callable(found) else found


def network(at: int) -> Network:
    pool = Pool(f"10.{at >> 8}.{at & 255}.0/24", gateway=f"10.{at >> 8}.{at & 255}.1")
    return Network(f"n{at}", f"net{at}", 1, "overlay", scope="swarm", pools=(pool,), options={VNI_LIST: str(4096 + at)})


def elsewhere(at: int) -> Peer:
    mac = f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}"
    return Peer(f"{at:064x}", "n0", "other", "192.0.2.2", mac, ipv4=f"10.0.{at >> 8}.{at & 255}/16")


class _Link:
    """Of the fake managers, with what a simulated node asks besides."""

    def __init__(self, managers: FakeManagers) -> None:
        self._link = managers.link(ME)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def close(self) -> None: ...


@asynccontextmanager
async def running(networks: int, peers: int = 0) -> AsyncIterator[tuple[SimulatedNode, FakeManagers]]:
    managers = FakeManagers()
    managers.networks = {f"n{at}": network(at) for at in range(networks)}
    managers.peers = {one.id: one for one in map(elsewhere, range(1, peers + 1))}
    record = Node(ME, 1, data_path="192.0.2.1")
    node = SimulatedNode(0, record, cast(MeteredLink, _Link(managers)), Recorder())
    await node.start()
    try:
        assert await node.agent.known(20)
        await node.join(network(0))
        await until(lambda: len(managers.peers) == peers + 1 and len(node.replica.peers("n0")) == peers)
        yield node, managers
    finally:
        await node.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def effort_of_a_join(networks: int) -> int:
    async with running(networks) as (node, managers):
        counting = node.replica._view = Counting(node.view)  # type: ignore[assignment]
        await node.join(network(0))
        await until(lambda: len(managers.peers) == 2)
        return cast(Counting, counting).count


async def test_a_local_change_reads_as_little_on_many_networks_as_on_few() -> None:
    assert 0 < await effort_of_a_join(3) < FEW
    assert 0 < await effort_of_a_join(MANY) < FEW


async def effort_of_a_peer(peers: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("towline.control.replica.AGAIN", 0.01)
    async with running(1, peers) as (node, managers):
        counting = node.replica._view = Counting(node.view)  # type: ignore[assignment]
        await managers.put_peer(elsewhere(999))
        await until(lambda: node.view.peer(elsewhere(999).id) is not None and not node.replica._repeats)
        told = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, told.set)
        await told.wait()
        await asyncio.gather(*node.replica._repeats)
        return cast(Counting, counting).count


async def test_an_endpoint_elsewhere_reads_as_little_among_many_as_among_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < await effort_of_a_peer(2, monkeypatch) < FEW
    assert 0 < await effort_of_a_peer(MANY, monkeypatch) < FEW


IDS = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(
        st.builds(
            lambda nodes, alive, gone_nodes, gone_alive, snapshot: Update(
                1,
                snapshot=snapshot,
                nodes=tuple(Node(one, 1) for one in nodes),
                alive=tuple(map(Alive, alive)),
                gone_nodes=() if snapshot else tuple(gone_nodes - nodes),
                gone_alive=() if snapshot else tuple(gone_alive - alive),
            ),
            st.sets(IDS),
            st.sets(IDS),
            st.sets(IDS),
            st.sets(IDS),
            st.booleans(),
        )
    )
)
def test_nodes_that_are_down_are_those_that_are_not_alive(updates: list[Update]) -> None:
    copy = ClusterCopy()
    for update in updates:
        copy.apply(update)
        assert copy.down == copy.nodes.keys() - copy.alive.keys()
