"""The agent between managers that come and go and a node that changes: both sides end equal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from tests.support.fake_cluster import FakeManagers, FakeReplica
from towline.cluster.agent import Agent
from towline.cluster.contract import Update
from towline.model.cluster import Alive, Block, Description, Node, Peer
from towline.model.errors import Unavailable
from towline.model.network import Network
from towline.model.service import Service

_ME, _OTHER, _THIRD = "me", "other", "third"


def _network(network_id: str) -> Network:
    return Network(id=network_id, name=network_id, created=0, driver="overlay", scope="swarm")


def _peer(peer_id: str, network: str = "net", node: str = _OTHER) -> Peer:
    return Peer(peer_id, network, node, "192.0.2.1", "02:00:00:00:00:01", ipv4="10.0.0.2/24")


class _Bench:
    def __init__(self) -> None:
        self.managers = FakeManagers()
        self.replica = FakeReplica()
        self.agent = Agent(
            _ME, self.managers.link(_ME), self.replica, data_path="192.0.2.9", describe=lambda: Description("me")
        )

    def join(self, peer: Peer) -> None:
        self.replica.mine[peer.id] = peer
        self.agent.local_change(peer.network)

    def leave(self, peer_id: str) -> None:
        self.agent.local_change(self.replica.mine.pop(peer_id).network)


@asynccontextmanager
async def _running(bench: _Bench | None = None) -> AsyncIterator[_Bench]:
    bench = bench or _Bench()
    if "net" not in bench.managers.networks:
        bench.managers.networks["net"] = _network("net")
    bench.agent.start()
    try:
        yield bench
    finally:
        await bench.agent.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_networks_arrive_and_go() -> None:
    async with _running() as bench:
        await _until(lambda: "net" in bench.replica.known)
        await bench.managers.put_network(_network("second"))
        await _until(lambda: "second" in bench.replica.known)
        await bench.managers.drop_network("net")
        await _until(lambda: "net" not in bench.replica.known)


async def test_endpoints_of_a_network_that_is_not_here_are_not_followed() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        await bench.managers.put_peer(_peer("a"))
        await bench.managers.put_network(_network("second"))
        await _until(lambda: "second" in bench.replica.known)
        assert bench.replica.others == {}


async def test_a_join_is_published_and_brings_the_others() -> None:
    async with _running() as bench:
        await bench.managers.put_peer(_peer("a"))
        await bench.agent.known(5)
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers and "a" in bench.replica.others)
        await bench.managers.put_peer(_peer("b"))
        await _until(lambda: "b" in bench.replica.others)
        await bench.managers.drop_peer("a")
        await _until(lambda: "a" not in bench.replica.others)
        assert "mine" not in bench.replica.others


async def test_the_last_leave_withdraws_and_forgets_the_others() -> None:
    async with _running() as bench:
        await bench.managers.put_peer(_peer("a"))
        await bench.agent.known(5)
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers and "a" in bench.replica.others)
        bench.leave("mine")
        await _until(lambda: "mine" not in bench.managers.peers and not bench.replica.others)


async def test_prepare_answers_when_the_others_are_known() -> None:
    async with _running() as bench:
        await bench.managers.put_peer(_peer("a"))
        await bench.agent.known(5)
        await bench.agent.prepare("net")
        assert "a" in bench.replica.others


async def test_what_changed_while_the_managers_were_away_is_made_good() -> None:
    async with _running() as bench:
        await bench.managers.put_peer(_peer("a"))
        await bench.managers.put_peer(_peer("b"))
        await bench.agent.known(5)
        bench.join(_peer("mine", node=_ME))
        bench.join(_peer("brief", node=_ME))
        await _until(lambda: {"mine", "brief"} <= bench.managers.peers.keys() and "b" in bench.replica.others)
        bench.managers.go_away()
        await _until(lambda: not bench.agent.connected)
        bench.leave("brief")
        bench.join(_peer("late", node=_ME))
        del bench.managers.peers["a"]
        bench.managers.peers["b"] = replace(_peer("b"), node=_THIRD, vtep="192.0.2.3")
        bench.managers.peers["c"] = _peer("c")
        bench.managers.networks["second"] = _network("second")
        bench.managers.come_back()
        await _until(lambda: bench.replica.others.keys() == {"b", "c"} and "second" in bench.replica.known)
        await _until(lambda: {"mine", "late"} <= bench.managers.peers.keys() and "brief" not in bench.managers.peers)
        assert bench.replica.others["b"].vtep == "192.0.2.3"


async def test_after_a_gap_only_what_changed_is_set() -> None:
    async with _running() as bench:
        await bench.managers.put_peer(_peer("a"))
        await bench.managers.put_peer(_peer("b"))
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: bench.replica.others.keys() == {"a", "b"})
        bench.managers.go_away()
        await _until(lambda: not bench.agent.connected)
        told = bench.replica.others["a"]
        bench.managers.peers["a"] = replace(told)
        bench.managers.peers["b"] = replace(_peer("b"), node=_THIRD)
        bench.managers.come_back()
        await _until(lambda: bench.replica.others["b"].node == _THIRD)
        assert bench.replica.others["a"] is told


async def test_what_a_crash_left_published_is_withdrawn() -> None:
    bench = _Bench()
    bench.managers.networks["net"] = _network("net")
    bench.managers.peers["ghost"] = _peer("ghost", node=_ME)
    async with _running(bench):
        await _until(lambda: "ghost" not in bench.managers.peers)


async def test_a_word_of_this_node_that_is_not_true_is_set_right() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers)
        await bench.managers.drop_peer("mine")
        await _until(lambda: "mine" in bench.managers.peers)


async def test_a_publication_whose_answer_was_lost_is_made_again() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        bench.managers.lose_answers = True
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers)
        bench.managers.lose_answers = False
        bench.leave("mine")
        await _until(lambda: "mine" not in bench.managers.peers)


async def test_blocks_only_one_side_knows() -> None:
    bench = _Bench()
    bench.managers.networks["net"] = _network("net")
    lost = Block("net", "10.0.0.0/24", "10.0.0.16/28", _ME)
    taken = Block("net", "10.0.0.0/24", "10.0.0.32/28", _ME)
    orphan = Block("net", "10.0.0.0/24", "10.0.0.48/28", _ME)
    bench.replica.held = {lost.id: lost, taken.id: taken}
    bench.managers.blocks = {taken.id: replace(taken, node=_OTHER), orphan.id: orphan}
    async with _running(bench):
        assert await bench.agent.known(5)
        assert bench.replica.held.keys() == {lost.id}
        assert bench.managers.blocks.keys() == {lost.id, taken.id}


async def test_lease_and_return() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        block = await bench.agent.lease("net", "10.0.0.0/24")
        assert bench.replica.held == {block.id: block} == bench.managers.blocks
        await bench.agent.give_back(block)
        assert not bench.replica.held
        assert not bench.managers.blocks
        bench.managers.go_away()
        with pytest.raises(Unavailable):
            await bench.agent.lease("net", "10.0.0.0/24")
        assert not bench.replica.held


async def test_a_block_goes_back_after_its_last_address_is_withdrawn() -> None:
    async with _running() as bench:
        block = await bench.agent.lease("net", "10.0.0.0/24")
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers)
        bench.leave("mine")
        await bench.agent.give_back(block)
        assert not bench.managers.peers
        assert not bench.managers.blocks


async def test_a_block_that_no_manager_took_goes_back_by_itself() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        block = await bench.agent.lease("net", "10.0.0.0/24")
        bench.managers.refuses_blocks = True
        await bench.agent.give_back(block)
        assert bench.managers.blocks
        bench.managers.refuses_blocks = False
        await _until(lambda: not bench.managers.blocks)


async def test_an_endpoint_that_is_refused_keeps_no_other_from_being_published() -> None:
    async with _running() as bench:
        bench.managers.refused = {"bad"}
        for peer in ("bad", "good", "fine"):
            bench.join(_peer(peer, node=_ME))
        await _until(lambda: bench.managers.peers.keys() == {"good", "fine"})
        bench.managers.refused = set()
        await _until(lambda: bench.managers.peers.keys() == {"bad", "good", "fine"})


async def test_a_node_that_is_not_heard_is_fenced_until_it_is() -> None:
    async with _running() as bench:
        await _until(lambda: len(bench.managers.beats) > 1)
        assert not bench.agent.fenced
        bench.managers.go_away()
        await _until(lambda: bench.agent.fenced)
        bench.managers.come_back()
        await _until(lambda: not bench.agent.fenced)


async def test_it_describes_itself_first_and_after_a_gap() -> None:
    async with _running() as bench:
        await _until(lambda: len(bench.managers.beats) > 2)
        described = [report.description is not None for _, report in bench.managers.beats]
        assert described[:3] == [True, False, False]
        bench.managers.go_away()
        await _until(lambda: bench.agent.fenced)
        seen = len(bench.managers.beats)
        bench.managers.come_back()
        await _until(lambda: len(bench.managers.beats) > seen)
        assert bench.managers.beats[seen][1].description is not None


async def test_a_network_that_goes_while_it_is_published() -> None:
    async with _running() as bench:
        await bench.agent.known(5)
        bench.join(_peer("mine", node=_ME))
        await _until(lambda: "mine" in bench.managers.peers)
        await bench.managers.drop_network("net")
        await _until(lambda: "net" not in bench.replica.known and not bench.replica.mine)
        bench.join(_peer("again", network="gone", node=_ME))
        await bench.managers.put_network(_network("third"))
        bench.join(_peer("more", network="third", node=_ME))
        await _until(lambda: "more" in bench.managers.peers)


async def test_services_and_who_is_down_are_known_here_also_after_a_gap() -> None:
    bench = _Bench()
    one, two = (Service(name, name, 1) for name in ("one", "two"))
    bench.managers.services = {"one": one}
    bench.managers.nodes = {name: Node(name, 1) for name in (_ME, _OTHER, _THIRD)}
    bench.managers.alive = {_OTHER: Alive(_OTHER)}
    async with _running(bench):
        await _until(lambda: bench.replica.offered == {"one": one} and bench.replica.down == {_THIRD})
        await bench.managers.tell("base", Update(0, services=(two,), gone_alive=(_OTHER,), alive=(Alive(_THIRD),)))
        await _until(lambda: bench.replica.offered == {"one": one, "two": two} and bench.replica.down == {_OTHER})
        await bench.managers.tell("base", Update(0, gone_services=("one",)))
        await _until(lambda: bench.replica.offered == {"two": two})
        bench.managers.go_away()
        await _until(lambda: not bench.agent.connected)
        bench.managers.services = {}
        bench.managers.come_back()
        await _until(lambda: not bench.replica.offered and bench.replica.down == {_THIRD})
