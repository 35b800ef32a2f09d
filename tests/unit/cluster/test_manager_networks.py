"""Global networks on a manager: texts of docker-api facts 7.1 and 7.2, what is allocated, and what etcd's faults do."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from tests.support.managers import cluster, managers, node, peer
from towline.cluster import transactions
from towline.cluster.contract import PutKey
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.cluster.manager import Manager
from towline.model.errors import (
    Conflict,
    Failure,
    Forbidden,
    InvalidParameter,
    NotFound,
    TowlineError,
    Unavailable,
    Unsupported,
)
from towline.model.network import SubnetStatus
from towline.model.requests import CreateNetwork, PoolRequest
from towline.plan.global_network import VNI_LIST
from towline.policy.global_network import task_id

INGRESS = "i" * 25


def overlay(name: str, **fields: object) -> CreateNetwork:
    return CreateNetwork(**{"name": name, "driver": "overlay", **fields})  # type: ignore[arg-type]


def pools(*subnets: str, **fields: str) -> tuple[PoolRequest, ...]:
    return tuple(PoolRequest(subnet, **fields) for subnet in subnets)


REFUSED: list[tuple[CreateNetwork, type[TowlineError], str]] = [
    (overlay("ov1"), Conflict, "network with name ov1 already exists"),
    (overlay("OV1"), Failure, "rpc error: code = Unknown desc = name conflicts with an existing object"),
    (overlay(""), InvalidParameter, "rpc error: code = InvalidArgument desc = meta: name must be provided"),
    *(
        (
            overlay(name),
            InvalidParameter,
            "rpc error: code = InvalidArgument desc = name must be valid as a DNS name component",
        )
        for name in ("bad name", "-a", "a-", "a.b", "é", "a\n", "a" * 5000 + "!")
    ),
    (
        overlay("y" * 64),
        InvalidParameter,
        "rpc error: code = InvalidArgument desc = name must be 63 characters or fewer",
    ),
    (overlay("nov4", enable_ipv4=False), InvalidParameter, "IPv4 cannot be disabled in a Swarm scoped network"),
    (
        overlay("nov4", options={"com.docker.network.enable_ipv4": "false"}),
        InvalidParameter,
        "IPv4 cannot be disabled in a Swarm scoped network",
    ),
    (
        overlay("ing2", ingress=True),
        Conflict,
        f"rpc error: code = AlreadyExists desc = ingress network ({INGRESS}) is already present",
    ),
    (
        overlay("ing2", ingress=True, attachable=True),
        InvalidParameter,
        "rpc error: code = InvalidArgument desc = ingress network cannot be attachable",
    ),
    (
        overlay("ing2", ingress=True, driver="macvlan"),
        Unsupported,
        "rpc error: code = Unimplemented desc = only overlay driver is currently supported for ingress network",
    ),
    (
        overlay("lab", labels={"com.docker.swarm.predefined": "true"}),
        Forbidden,
        "rpc error: code = PermissionDenied desc = label com.docker.swarm.predefined is for internally created "
        "predefined networks and cannot be applied by users",
    ),
    (
        CreateNetwork("swb", scope="swarm"),
        InvalidParameter,
        "rpc error: code = InvalidArgument desc = driver name: if driver is specified name is required",
    ),
    (
        overlay("x", driver="nosuch"),
        InvalidParameter,
        "rpc error: code = InvalidArgument desc = error during lookup of plugin nosuch",
    ),
    (
        overlay("x", ipam_driver="nosuch"),
        InvalidParameter,
        "rpc error: code = InvalidArgument desc = error during lookup of plugin nosuch",
    ),
    *(
        (
            overlay("x", pools=wrong),
            InvalidParameter,
            f"rpc error: code = InvalidArgument desc = ipam configuration: {text}",
        )
        for wrong, text in (
            (pools("x"), "invalid subnet x"),
            (pools("10.5.0.0/24", ip_range="x"), "invalid range x"),
            (pools("10.5.0.0/24", ip_range="10.6.0.0/25"), "subnet 10.5.0.0/24 does not contain range 10.6.0.0/25"),
            (pools("10.5.0.0/24", gateway="x"), "invalid gateway x"),
            (pools("10.5.0.0/24", gateway="10.6.0.1"), "subnet 10.5.0.0/24 does not contain gateway 10.6.0.1"),
            (pools("10.5.0.0/24", gateway="fd00::1"), "subnet 10.5.0.0/24 does not contain gateway fd00::1"),
        )
    ),
    (
        overlay("x", pools=pools("10.5.0.0/24", gateway="10.5.0.0")),
        Failure,
        "failed to allocate gateway (10.5.0.0): Address already in use",
    ),
    (
        overlay("over", pools=pools("10.91.0.128/25")),
        Forbidden,
        "invalid pool request: Pool overlaps with other one on this address space: 10.91.0.128/25 overlaps "
        "10.91.0.0/24 of network two; choose another subnet, or leave it to the cluster",
    ),
    (
        overlay("over", pools=pools("10.5.0.0/24", "10.5.0.0/25")),
        Forbidden,
        "invalid pool request: Pool overlaps with other one on this address space: 10.5.0.0/25 overlaps "
        "10.5.0.0/24 of the same request",
    ),
    (
        overlay("vni", options={VNI_LIST: "5000"}),
        Conflict,
        "could not assign vxlan id 5000 to pool 10.0.2.0/24: network two has it",
    ),
    *(
        (
            overlay("vni", options={VNI_LIST: wrong}),
            InvalidParameter,
            f'invalid vxlan id value "{wrong}" passed: it must be from 1 to 16777215',
        )
        for wrong in ("x", "0", "-1", "16777216", " 5", "٥", "9" * 50)
    ),
]


async def prepared(manager: Manager) -> None:
    await manager.networks.create(overlay("ov1", attachable=True, labels={"a": "b"}))
    await manager.networks.create(overlay("two", pools=pools("10.91.0.0/24"), options={VNI_LIST: "5000"}))


@pytest.mark.parametrize(("request_", "kind", "text"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_a_manager_refuses(request_: CreateNetwork, kind: type[TowlineError], text: str) -> None:
    etcd = FakeCluster()
    async with managers([etcd.client()]) as (manager,):
        await prepared(manager)
        before = etcd.keys()
        with pytest.raises(kind) as refused:
            await manager.networks.create(request_)
        assert str(refused.value) == text
        assert type(refused.value) is kind
        assert etcd.keys() == before


async def test_what_a_network_gets() -> None:
    """The values of the recorded scenario "one node", pools 10.90.0.0/16."""
    async with managers([FakeCluster().client()], of=cluster(pools=("10.90.0.0/16",))) as (manager,):
        create = manager.networks.create
        ingress = manager.state.networks.ingress()
        assert ingress is not None
        assert (ingress.name, ingress.scope, ingress.phase) == ("ingress", "swarm", "ready")
        assert [(p.subnet, p.gateway) for p in ingress.pools] == [("10.90.0.0/24", "10.90.0.1")]
        assert ingress.options == {VNI_LIST: "4096"}
        ov1 = await create(overlay("ov1", attachable=True, labels={"a": "b"}))
        assert [(p.subnet, p.gateway) for p in ov1.pools] == [("10.90.1.0/24", "10.90.1.1")]
        assert (ov1.options, ov1.labels, ov1.attachable) == ({VNI_LIST: "4097"}, {"a": "b"}, True)
        lab2 = await create(overlay("lab2", labels={"com.docker.swarm.internal": "x"}))
        await manager.networks.remove(lab2.id)
        enc = await create(overlay("enc", options={"encrypted": ""}))
        assert enc.options == {VNI_LIST: "4099", "encrypted": ""}
        assert [p.subnet for p in enc.pools] == ["10.90.2.0/24"]
        vni = await create(overlay("vni", options={VNI_LIST: "5000"}))
        assert (vni.options, vni.pools[0].subnet) == ({VNI_LIST: "5000"}, "10.90.3.0/24")
        two = await create(overlay("two", pools=pools("10.91.0.0/24") + pools("10.92.0.0/24", gateway="10.92.0.9")))
        assert two.options == {VNI_LIST: "4100,4101"}
        assert [(p.subnet, p.gateway) for p in two.pools] == [
            ("10.91.0.0/24", "10.91.0.1"),
            ("10.92.0.0/24", "10.92.0.9"),
        ]
        six = await create(overlay("six", enable_ipv6=True))
        assert (six.enable_ipv6, six.options) == (True, {VNI_LIST: "4102"})
        assert six.pools[0].subnet == "10.90.4.0/24"
        assert six.pools[1].subnet.startswith("fd")
        assert six.pools[1].subnet.endswith("/64")
        more = await create(overlay("more", enable_ipv6=True))
        assert more.pools[1].subnet != six.pools[1].subnet
        given = await create(overlay("given", pools=pools("fd00:1::/64")))
        assert [p.subnet for p in given.pools] == ["10.90.6.0/24", "fd00:1::/64"]
        assert (given.enable_ipv6, given.pools[1].gateway) == (True, "fd00:1::1")
        assert manager.networks.statuses(ov1.id) == {"10.90.1.0/24": SubnetStatus(used=3, free=253)}


async def test_a_swarm_scoped_bridge_has_neither_pools_nor_a_vxlan_id() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        made = await manager.networks.create(CreateNetwork("swb", driver="bridge", scope="swarm", config_from="conf"))
        assert (made.pools, made.options, made.ipam_driver, made.config_from) == ((), {}, "", "conf")
        after = await manager.networks.create(overlay("after"))
        assert after.options == {VNI_LIST: "4097"}
        assert manager.networks.statuses(made.id) == {}


async def test_exhausted_pools_are_told() -> None:
    async with managers([FakeCluster().client()], of=cluster(pools=("10.1.0.0/24",), subnet_size=25)) as (manager,):
        await manager.networks.create(overlay("last"))
        with pytest.raises(InvalidParameter, match="all predefined address pools have been fully subnetted: no /25"):
            await manager.networks.create(overlay("more"))


async def test_a_network_in_use_stays() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net = await manager.networks.create(overlay("ov1"))
        worker = node(0)
        block = await manager.lease_block(worker.id, net.id, "10.0.1.0/24")
        one = peer(worker, net.id, 1, "10.0.1.5/24")
        assert block.prefix == "10.0.1.0/28"
        await manager.publish(worker.id, net.id, [one], [])
        assert manager.networks.statuses(net.id) == {"10.0.1.0/24": SubnetStatus(used=4, free=252)}
        with pytest.raises(InvalidParameter) as refused:
            await manager.networks.remove(net.id)
        text = f"rpc error: code = FailedPrecondition desc = network {net.id} is in use by task {task_id(one.id)}"
        assert str(refused.value) == text
        assert len(task_id(one.id)) == 25
        await manager.publish(worker.id, net.id, [], [one.id])
        await manager.networks.remove(net.id)
        assert manager.state.blocks.of_node(worker.id) == []
        with pytest.raises(NotFound, match="rpc error: code = NotFound desc = network"):
            await manager.networks.remove(net.id)


async def test_the_ingress_network_goes_and_comes_again() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        worker = node(0)
        await manager.lease_block(worker.id, INGRESS, "10.0.0.0/24")
        one = peer(worker, INGRESS, 1, "10.0.0.5/24")
        await manager.publish(worker.id, INGRESS, [one], [])
        with pytest.raises(
            InvalidParameter, match="ingress network cannot be removed because service [a-z0-9]{25} dep"
        ):
            await manager.networks.remove(INGRESS)
        await manager.publish(worker.id, INGRESS, [], [one.id])
        await manager.networks.remove(INGRESS)
        again = await manager.networks.create(overlay("web-in", ingress=True))
        assert again.ingress
        assert manager.state.networks.ingress() == again


async def test_a_predefined_network_stays() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        made = await manager.networks.create(overlay("ov1"))
        marked = replace(made, labels={"com.docker.swarm.predefined": "true"})
        manager.state.networks.put(marked)
        with pytest.raises(InvalidParameter, match=r"network ov1 \(.*\) is a swarm predefined network and cannot be"):
            await manager.networks.remove(made.id)


async def test_a_lost_answer_is_read_back() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client]) as (manager,):
        client.fail(Fault.LOST_ANSWER)
        made = await manager.networks.create(overlay("ov1"))
        assert manager.state.networks.named("ov1") == made
        client.fail(Fault.UNAVAILABLE)
        other = await manager.networks.create(overlay("ov2"))
        assert other.options == {VNI_LIST: "4098"}
        client.fail(Fault.LOST_ANSWER)
        await manager.networks.remove(made.id)
        assert [n.name for n in manager.state.networks.all()] == ["ingress", "ov2"]


async def test_a_change_that_waits_for_a_lost_leader_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "_ANSWER", (0.01, 0.02))
    client = FakeCluster().client()
    async with managers([client]) as (manager,):
        client.fail(Fault.SILENT, Fault.SILENT)
        await manager.networks.create(overlay("ov1"))
        assert [n.name for n in manager.state.networks.all()] == ["ingress", "ov1"]


async def test_what_nobody_hears_is_refused_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """patience: an hour, which this test does not wait for."""
    monkeypatch.setattr(transactions, "_DEAF", 0.05)
    client = FakeCluster().client()
    async with managers([client], patience=3600.0) as (manager,):
        client.away = True
        manager.feed.trouble = "etcd has no leader"
        with pytest.raises(Unavailable, match="does not have a leader.*ov1 cannot be created"):
            await manager.networks.create(overlay("ov1"))


async def test_without_etcd_the_answer_is_503() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client], patience=0.2) as (manager,):
        client.away = True
        with pytest.raises(Unavailable, match="The swarm does not have a leader") as refused:
            await manager.networks.create(overlay("ov1"))
        assert "network ov1 cannot be created" in str(refused.value)
        client.away = False
        made = await manager.networks.create(overlay("ov1"))
        assert made.options == {VNI_LIST: "4097"}


async def test_a_record_of_another_release_stops_planning_and_nothing_else() -> None:
    fake = FakeCluster()
    async with managers([fake.client()]) as (manager,):
        key = "/towline/v1/network/zzz"
        assert fake.transact([], [PutKey(key, b'{"v": 99, "record": {}}')])
        await manager.feed.until(lambda state: key in state.unreadable)
        with pytest.raises(Unavailable, match="version 99"):
            await manager.networks.create(overlay("ov1"))
        await manager.networks.remove(INGRESS)
        assert manager.state.networks.all() == []


async def test_concurrent_creators_get_different_things() -> None:
    fake = FakeCluster()
    async with managers([fake.client() for _ in range(8)]) as found:
        made = await asyncio.gather(
            *(manager.networks.create(overlay(f"n{at}-{m}")) for m, manager in enumerate(found) for at in range(5))
        )
        assert len({n.options[VNI_LIST] for n in made}) == 40
        assert len({n.pools[0].subnet for n in made}) == 40
