"""Nodes as operators and managers see them: alive or down, changed, promoted; the cluster's spec; the leader."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from tests.support.managers import SECRETS, Clock, cluster, managers, node
from towline.cluster import codec
from towline.cluster.bootstrap import bootstrap
from towline.cluster.contract import Report
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.cluster.liveness import period_of
from towline.cluster.manager import LocalLink, Manager
from towline.cluster.scopes import Scopes
from towline.model.cluster import Description, NodeSpec, NodeStatus
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound, Unavailable
from towline.model.requests import UpdateSwarm

A, B, C = node(0), node(1), node(2)


def status(manager: Manager, node_id: str) -> NodeStatus:
    return {each.node.id: each for each in manager.nodes.statuses()}[node_id]


# a new cluster


async def test_a_new_cluster_is_written_once() -> None:
    fake = FakeCluster()
    client = fake.client()
    client.fail(Fault.LOST_ANSWER)
    revision = await bootstrap(client, cluster(), SECRETS, A, ingress_id="i" * 25, now=1)
    assert revision == fake.revision
    assert await bootstrap(client, cluster(), SECRETS, A, ingress_id="i" * 25, now=1) == revision
    assert fake.revision == revision
    with pytest.raises(Conflict, match=f"etcd holds the cluster {'c' * 25} already"):
        await bootstrap(client, cluster(id="d" * 25), SECRETS, A, ingress_id="i" * 25, now=1)
    assert set(fake.keys(codec.PREFIX)) == {
        codec.CLUSTER_KEY,
        codec.SECRETS_KEY,
        codec.node_key(A.id),
        codec.network_key("i" * 25),
        codec.NETWORKS_GUARD,
    }
    client.away = True
    with pytest.raises(Unavailable):
        await bootstrap(client, cluster(), SECRETS, A, ingress_id="i" * 25, now=1)


# life


async def test_reports_keep_a_node_alive_and_silence_takes_it_down() -> None:
    fake, clock = FakeCluster(), Clock()
    async with managers([fake.client()], nodes=3, clock=clock.ns) as (manager,):
        assert status(manager, C.id).state == "down"
        beat = await manager.beat(B.id, Report(7, clock.ns() + 2 * 10**9, repairs=3, problem="x"), "198.51.100.7")
        assert (beat.period, beat.ttl, beat.role, beat.managers) == (5.0, 15.0, "worker", (A.manager_address,))
        seen = status(manager, B.id)
        assert seen.state == "ready"
        assert seen.alive is not None
        assert (seen.alive.revision, seen.alive.skew, seen.alive.repairs, seen.alive.problem) == (7, 2.0, 3, "x")
        assert seen.node.address == "198.51.100.7"
        for _ in range(5):
            fake.advance(5)
            await manager.beat(B.id, Report(8, clock.ns()))
            assert B.id in manager.state.alive
        fake.advance(15)
        await manager.feed.until(lambda state: B.id not in state.alive)
        assert status(manager, B.id).state == "down"
        await manager.beat(B.id, Report(9, clock.ns()))
        assert status(manager, B.id).state == "ready"


async def test_a_report_without_news_is_rarely_written() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        await manager.beat(B.id, Report(1, 0))
        for at in range(30):
            fake.advance(5)
            await manager.beat(B.id, Report(at, 0))
        assert B.id in manager.state.alive
        assert len(fake.since(0, codec.alive_key(B.id))) <= 11
        await manager.beat(B.id, Report(1, 0, problem="no kernel"))
        assert manager.state.alive[B.id].problem == "no kernel"


async def test_a_node_may_report_to_another_manager_each_time() -> None:
    fake = FakeCluster()
    async with managers([fake.client(), fake.client()], nodes=2) as found:
        for at in range(8):
            fake.advance(10)
            await found[at % 2].beat(B.id, Report(at, 0))
            for manager in found:
                await manager.feed.wait(fake.revision)
                assert B.id in manager.state.alive
        guard = fake.read(codec.node_guard(B.id))
        assert guard.created == guard.modified  # it was never down


async def test_what_a_node_says_of_itself_is_kept_and_bounded() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        described = Description(hostname="web1", architecture="x86_64", nano_cpus=2 * 10**9)
        link = LocalLink(manager, B.id)
        await link.beat(Report(1, 0, description=described, data_path="198.51.100.9"))
        kept = manager.state.nodes[B.id]
        assert (kept.description, kept.data_path) == (described, "198.51.100.9")
        revision = kept.index
        await link.beat(Report(1, 0, description=described, data_path="198.51.100.9"))
        assert manager.state.nodes[B.id].index == revision
        with pytest.raises(InvalidParameter, match="description is longer"):
            await link.beat(Report(1, 0, description=Description(hostname="x" * 20_000)))
        for nonsense in ("nonsense", "fe80::1%" + "x" * 100_000):
            with pytest.raises(InvalidParameter, match="not an address"):
                await link.beat(Report(1, 0, data_path=nonsense))
        await link.beat(Report(1, 0, problem="x" * 5000))
        assert len(manager.state.alive[B.id].problem) == 1024


async def test_without_etcd_a_report_is_unavailable() -> None:
    client = FakeCluster().client()
    async with managers([client], nodes=2, patience=0.1) as (manager,):
        client.away = True
        with pytest.raises(Unavailable):
            await manager.beat(B.id, Report(1, 0))


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 5.0),
        ({"Dispatcher": {"HeartbeatPeriod": 10**10}}, 10.0),
        ({"Dispatcher": {"HeartbeatPeriod": 0}}, 5.0),
        ({"Dispatcher": {"HeartbeatPeriod": 1}}, 0.5),
        ({"Dispatcher": {"HeartbeatPeriod": "x"}}, 5.0),
        ({"Dispatcher": 3}, 5.0),
        ({"Dispatcher": {"HeartbeatPeriod": 10**30}}, 300.0),
    ],
)
def test_the_period_is_the_specs(spec: dict[str, object], seconds: float) -> None:
    assert period_of(spec) == seconds


async def test_a_longer_period_makes_longer_leases() -> None:
    fake = FakeCluster()
    async with managers([fake.client()], nodes=2) as (manager,):
        await manager.beat(B.id, Report(1, 0))
        assert manager.state.cluster is not None
        spec: dict[str, object] = {"Dispatcher": {"HeartbeatPeriod": 60 * 10**9}}
        await manager.nodes.update_cluster(UpdateSwarm(manager.state.cluster.index, spec))
        assert (await manager.beat(B.id, Report(1, 0))).ttl == 180.0
        fake.advance(100)
        await manager.feed.wait(fake.revision)
        assert B.id in manager.state.alive


# changes


async def test_joining() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client]) as (manager,):
        client.fail(Fault.LOST_ANSWER)
        joined = await manager.nodes.admit(B)
        assert replace(joined, index=0) == B
        assert await manager.nodes.admit(B) == joined
        with pytest.raises(Conflict, match=f"there is a node {B.id}"):
            await manager.nodes.admit(replace(B, created=99))
        assert manager.role_of(SECRETS.worker_token) == "worker"
        assert manager.role_of(SECRETS.manager_token) == "manager"
        for wrong in ("", "x", SECRETS.worker_token + "x", "é\udcff", SECRETS.ca_key):
            with pytest.raises(InvalidParameter, match="A valid join token is necessary to join this cluster"):
                manager.role_of(wrong)


async def test_updating_a_node() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client], nodes=2) as (manager,):
        index = manager.state.nodes[B.id].index
        spec = NodeSpec(role="manager", availability="drain", labels={"a": "b"})
        client.fail(Fault.LOST_ANSWER)
        await manager.nodes.update(B.id, index, spec)
        changed = manager.state.nodes[B.id]
        assert (changed.spec, changed.index > index, changed.updated > 0) == (spec, True, True)
        with pytest.raises(Failure) as refused:
            await manager.nodes.update(B.id, index, NodeSpec())
        assert str(refused.value) == "rpc error: code = Unknown desc = update out of sequence"
        with pytest.raises(NotFound, match="node nosuch not found"):
            await manager.nodes.update("nosuch", 1, spec)
        await manager.nodes.update(B.id, changed.index, NodeSpec())
        with pytest.raises(InvalidParameter, match="attempting to demote the last manager of the swarm"):
            await manager.nodes.update(A.id, manager.state.nodes[A.id].index, NodeSpec())
        assert (await manager.beat(B.id, Report(1, 0))).role == "worker"


async def test_concurrent_updates_of_one_version_have_one_winner() -> None:
    fake = FakeCluster()
    async with managers([fake.client() for _ in range(5)], nodes=2) as found:
        index = found[0].state.nodes[B.id].index
        for manager in found:
            await manager.feed.wait(index)
        specs = [NodeSpec(labels={"by": str(at)}) for at in range(5)]
        done = await asyncio.gather(
            *(manager.nodes.update(B.id, index, spec) for manager, spec in zip(found, specs, strict=True)),
            return_exceptions=True,
        )
        assert done.count(None) == 1
        assert found[done.index(None)].state.nodes[B.id].spec == specs[done.index(None)]
        assert all(isinstance(each, Failure) for each in done if each is not None)


async def test_managers_are_told_to_nodes_and_one_of_them_is_the_leader() -> None:
    async with managers([FakeCluster().client()], nodes=3) as (manager,):
        await manager.nodes.set_manager(C.id, "192.0.2.3:2377")
        await manager.beat(C.id, Report(1, 0))
        assert (await manager.beat(B.id, Report(1, 0))).managers == ("192.0.2.3:2377", A.manager_address)
        await manager.feed.until(lambda state: bool(state.leader))
        assert [each.node.id for each in manager.nodes.statuses() if each.leader] == [A.id]
        assert [each.node.id for each in manager.nodes.statuses() if each.reachable] == [C.id]
        with pytest.raises(InvalidParameter, match="is a cluster manager and is a member of the raft cluster"):
            await manager.nodes.remove(C.id, force=True)
        await manager.leave(C.id)
        assert manager.state.managers.keys() == {A.id}


async def test_updating_the_cluster() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client]) as (manager,):
        first = manager.state.cluster
        assert first is not None
        client.fail(Fault.LOST_ANSWER)
        await manager.nodes.update_cluster(UpdateSwarm(first.index, {"Labels": {"a": "b"}}, rotate_worker_token=True))
        now, kept = manager.state.cluster, manager.state.secrets
        assert now is not None
        assert kept is not None
        assert now.spec["Labels"] == {"a": "b"}
        assert now.index > first.index
        assert (kept.manager_token, kept.ca_key) == (SECRETS.manager_token, SECRETS.ca_key)
        assert kept.worker_token.startswith("SWMTKN-1-")
        with pytest.raises(InvalidParameter):
            manager.role_of(SECRETS.worker_token)
        with pytest.raises(Failure, match="update out of sequence"):
            await manager.nodes.update_cluster(UpdateSwarm(first.index, {}))


async def test_secrets_are_told_to_no_watcher() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        update = await anext(manager.watch(B.id, Scopes("base")))
        assert SECRETS.worker_token not in repr(update)
        assert SECRETS.ca_key not in [update.cluster.ca if update.cluster else ""]


async def test_certificates_are_signed_for_the_role_that_is_wanted_now() -> None:
    async def sign(request: bytes, node_id: str, role: str) -> bytes:
        return request + f" {node_id} {role}".encode()

    async with managers([FakeCluster().client()], nodes=2, sign=sign) as (manager,):
        assert await LocalLink(manager, B.id).renew(b"please") == f"please {B.id} worker".encode()
        await manager.nodes.update(B.id, manager.state.nodes[B.id].index, NodeSpec(role="manager"))
        assert await manager.renew(B.id, b"please") == f"please {B.id} manager".encode()
        with pytest.raises(Forbidden):
            await manager.renew("stranger", b"please")


# the leader


async def test_one_leader_and_another_after_it() -> None:
    fake = FakeCluster()
    async with managers([fake.client() for _ in range(3)]) as found:
        await asyncio.wait_for(_leader(found), 20)
        first = next(manager for manager in found if manager.leader.leading)
        assert [manager.leader.leading for manager in found].count(True) == 1
        await first.leader.close()
        await asyncio.wait_for(_leader(found), 20)
        second = next(manager for manager in found if manager.leader.leading)
        assert second is not first
        assert [manager.leader.leading for manager in found].count(True) == 1


async def _leader(found: list[Manager]) -> None:
    waits = [asyncio.ensure_future(manager.leader.wait()) for manager in found]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@pytest.mark.parametrize("clock", [-1, 1 << 63, 10**400])
async def test_a_clock_that_is_none_is_refused(clock: int) -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        with pytest.raises(InvalidParameter, match="clock is no number of nanoseconds"):
            await manager.beat(B.id, Report(1, clock))
        assert B.id not in manager.state.alive
