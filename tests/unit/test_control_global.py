"""Global networks on one node, over a fake kernel and a fake cluster: made with the first endpoint, gone with the last,
addresses of the node's blocks, what the cluster says in store, kernel and names."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from tests.support.engine import World, running
from tests.support.engine_sandboxes import asking, plugs, sandbox, start, until
from tests.support.global_networks import NODE, UNDERLAY, FakeGlobals, clustered, elsewhere, overlay
from towline.control.controller import Controller
from towline.control.drift import Touched
from towline.firewall import OVERLAY
from towline.kernel.contract import VxlanState
from towline.model.cluster import Block, Peer
from towline.model.desired import Row
from towline.model.endpoint import EndpointConfig
from towline.model.errors import Conflict, Failure, Forbidden, KernelError, NotFound, Unavailable
from towline.model.info import PathStep
from towline.model.network import Pool
from towline.model.requests import CreateNetwork, PoolRequest
from towline.model.sandbox import PortBinding

BRIDGE, TUNNEL = "overlay/br-0zqk3v7n1mhx", "overlay/vx-0zqk3v7n1mhx"
OV = overlay()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[tuple[Controller, FakeGlobals]]:
    async with clustered(world, OV) as pair:
        yield pair


def made(world: World) -> set[str]:
    return {name for name in world.links.links if name in (BRIDGE, TUNNEL)}


def guarded(world: World) -> set[str]:
    """Ports that the firewall guards in the namespace for overlay networks."""
    return {key[:16].rstrip(b"\0").decode() for key in world.nft.tables[OVERLAY].elements["port_mac"]}


async def drained(world: World) -> None:
    """Until the reaper has unlinked what goes."""
    await until(lambda: not made(world))


# when it is there


async def test_the_first_endpoint_makes_it_and_the_last_takes_it_along(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    assert made(world) == set()
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    await start(engine, asking("aa", "ov"))
    assert made(world) == {BRIDGE, TUNNEL}
    link = world.links.links[TUNNEL]
    assert link.vxlan is not None
    assert (link.vxlan.vni, link.vxlan.local, link.mtu, link.alias) == (
        4097,
        "192.0.2.1",
        1450,
        f"towline:tunnel:{OV.id}",
    )
    assert world.tunnels.rows(TUNNEL) == [Row("02:00:00:00:01:01", "192.0.2.2", ("10.0.0.201",))]
    assert guarded(world) != set()
    await start(engine, asking("bb", "ov"))
    await engine.stop_sandbox("aa", grace=0)
    assert made(world) == {BRIDGE, TUNNEL}
    await engine.stop_sandbox("bb", grace=0)
    assert not world.links.links.get(TUNNEL) or not world.links.links[TUNNEL].up
    assert guarded(world) == set()
    await drained(world)
    assert await engine.diagnose() == []


async def test_a_sandbox_that_does_not_run_makes_nothing(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.create_sandbox(asking("aa", "ov"))
    assert engine.endpoints_in(sandbox(engine, "aa").id)[0].ipv4 == "10.0.0.2/24"
    assert made(world) == set()


async def test_connect_and_disconnect_make_and_take_it_too(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await engine.create_network(CreateNetwork("web", pools=(PoolRequest("10.9.0.0/24"),)))
    await start(engine, asking("aa", "web"))
    await engine.connect("ov", "aa")
    assert made(world) == {BRIDGE, TUNNEL}
    await engine.disconnect("ov", "aa", force=False)
    await drained(world)
    assert await engine.diagnose() == []


async def test_the_last_leaves_as_another_joins(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    """In one batch: the network stays as it is."""
    engine, _ = node
    await start(engine, asking("aa", "ov"))
    await engine.create_sandbox(asking("bb", "ov"))
    before = world.links.links[TUNNEL].index
    await asyncio.gather(engine.stop_sandbox("aa", grace=0), engine.start_sandbox("bb"))
    assert sandbox(engine, "bb").state == "running"
    assert world.links.links[TUNNEL].up
    assert await engine.diagnose() == []
    await engine.stop_sandbox("bb", grace=0)
    await drained(world)
    assert before


@pytest.mark.parametrize(
    ("fake", "step"),
    [
        ("links", "create_bridges"),
        ("links", "set_mtu"),
        ("tunnels", "create"),
        ("nft", "add_elements"),
        ("sandboxes", "make"),
        ("sandboxes", "join"),
    ],
)
async def test_a_first_join_that_is_refused_leaves_nothing(
    world: World, node: tuple[Controller, FakeGlobals], fake: str, step: str
) -> None:
    engine, _ = node
    await start(engine, asking("zz", "ov"))  # so that the way out is there
    await engine.stop_sandbox("zz", grace=0)
    await drained(world)
    await engine.create_sandbox(asking("aa", "ov"))
    getattr(world, fake).faults.fail(step, errno.ENOMEM)
    with pytest.raises(KernelError):
        await engine.start_sandbox("aa")
    await drained(world)
    assert (plugs(world), sandbox(engine, "aa").state) == (set(), "created")
    assert guarded(world) == set()
    assert await engine.diagnose() == []
    await engine.start_sandbox("aa")
    assert made(world) == {BRIDGE, TUNNEL}
    assert await engine.diagnose() == []


@pytest.mark.parametrize("step", ["make", "join"])
async def test_who_fails_does_not_take_it_from_the_others_of_its_batch(
    world: World, node: tuple[Controller, FakeGlobals], step: str
) -> None:
    engine, _ = node
    for name in ("aa", "bb"):
        await engine.create_sandbox(asking(name, "ov"))
    world.sandboxes.faults.fail(step, errno.ENOMEM)
    outcomes = await asyncio.gather(*map(engine.start_sandbox, ("aa", "bb")), return_exceptions=True)
    assert sorted(isinstance(outcome, KernelError) for outcome in outcomes) == [False, True]
    await engine.repair()
    assert await engine.diagnose() == []
    assert world.links.links[TUNNEL].up
    (runs,) = (box.name for box in engine.sandboxes() if box.state == "running")
    await engine.stop_sandbox(runs, grace=0)
    await drained(world)


async def test_both_of_a_batch_fail(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    for name in ("aa", "bb"):
        await engine.create_sandbox(asking(name, "ov"))
        world.sandboxes.faults.fail("join", errno.ENOMEM)
    await asyncio.gather(*map(engine.start_sandbox, ("aa", "bb")), return_exceptions=True)
    await drained(world)
    assert await engine.diagnose() == []


async def test_rows_that_are_refused_are_set_by_the_comparison(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    world.tunnels.faults.fail("put_row", errno.ENOMEM)
    await start(engine, asking("aa", "ov"))
    await until(lambda: len(world.tunnels.rows(TUNNEL)) == 1)
    assert await engine.diagnose() == []


async def test_a_vxlan_id_that_a_link_of_somebody_else_has(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    link = world.links.add_foreign("vxlan9", "vxlan")
    world.links.links["vxlan9"] = replace(link, vxlan=VxlanState(4097, 4789, ""))
    await engine.create_sandbox(asking("aa", "ov"))
    with pytest.raises(Failure, match="needs VXLAN id 4097 on UDP port 4789, which link vxlan9 of this host has"):
        await engine.start_sandbox("aa")
    await drained(world)
    assert "vxlan9" in world.links.links


async def test_its_vxlan_id_is_still_with_a_network_that_goes(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    """The reaper has not unlinked it yet, and the cluster has given the id to another one."""
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    await engine.stop_sandbox("aa", grace=0)
    assert TUNNEL in world.links.links
    other = overlay(1, "ow", options=OV.options)
    await cluster.replica.set_networks([other], [OV.id])
    await start(engine, asking("bb", "ow"))
    assert TUNNEL not in world.links.links
    assert "overlay/vx-1zqk3v7n1mhx" in world.links.links


# a daemon that comes back


async def test_a_restart_finds_all_as_it_was(world: World) -> None:
    """Cut off from the cluster: with what it knew."""
    async with clustered(world, OV) as (engine, cluster):
        await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
        await start(engine, asking("aa", "ov"))
        index = world.links.links[TUNNEL].index
    world.store.update(())
    async with running(world) as engine:
        assert await engine.diagnose() == []
        assert world.links.links[TUNNEL].index == index
        assert world.tunnels.rows(TUNNEL) == [Row("02:00:00:00:01:01", "192.0.2.2", ("10.0.0.201",))]
        await engine.create_sandbox(asking("bb", "ov"))  # out of the block that it has
        with pytest.raises(Unavailable, match="not part of a swarm"):
            await engine.create_sandbox(replace(asking("cc", "ov"), networks={"ov": EndpointConfig(ipv4="10.0.0.200")}))


async def test_a_restart_makes_what_a_reboot_has_taken(world: World) -> None:
    async with clustered(world, OV) as (engine, cluster):
        await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
        await start(engine, asking("aa", "ov"))
    world.links.remove(list(world.links.links))
    world.tunnels.tables.clear()
    async with running(world) as engine:
        assert await engine.diagnose() == []
        assert [row.vtep for row in world.tunnels.rows(TUNNEL)] == ["192.0.2.2"]


async def test_notes_are_written_a_little_later(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    _, cluster = node
    revision = world.store.view().revision
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    await until(lambda: world.store.view().revision > revision)


# what the cluster says


async def test_peers_come_move_and_go(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    one, two = elsewhere(1, OV), elsewhere(2, OV)
    await cluster.replica.set_peers(OV.id, [one, two], [])
    assert {row.addresses for row in world.tunnels.rows(TUNNEL)} == {("10.0.0.201",), ("10.0.0.202",)}
    moved = replace(one, vtep="192.0.2.3", epoch=2)
    await cluster.replica.set_peers(OV.id, [moved], [two.id])
    assert world.tunnels.rows(TUNNEL) == [Row(one.mac, "192.0.2.3", ("10.0.0.201",))]
    assert cluster.replica.peers(OV.id) == [moved]
    assert await engine.diagnose() == []
    assert world.dns.changes[-1] == OV.id


async def test_an_address_comes_back_elsewhere_before_it_has_gone(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    for first, second in ((1, 2), (4, 3)):  # whichever of two ids is the greater
        old, new = elsewhere(first, OV), elsewhere(second, OV, ipv4=elsewhere(first, OV).ipv4, vtep="192.0.2.3")
        await cluster.replica.set_peers(OV.id, [old], [])
        await cluster.replica.set_peers(OV.id, [new], [])
        assert await engine.diagnose() == []
        await cluster.replica.set_peers(OV.id, [], [old.id])
        assert await engine.diagnose() == []
        assert Row(new.mac, "192.0.2.3", (new.ipv4[:-3],)) in world.tunnels.rows(TUNNEL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mac": "no"},
        {"mac": "01:00:5e:00:00:01"},
        {"vtep": "everywhere"},
        {"vtep": "0.0.0.0"},
        {"ipv4": "10.0.0.300/24"},
        {"ipv6": "10.0.0.3/24"},
        {"id": "../../x"},
        {"network": "another"},
    ],
)
async def test_what_makes_no_sense_is_ignored(
    world: World, node: tuple[Controller, FakeGlobals], wrong: dict[str, str]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    await cluster.replica.set_peers(OV.id, [replace(elsewhere(1, OV), **wrong), elsewhere(2, OV)], [])
    assert [peer.name for peer in cluster.replica.peers(OV.id)] == ["far2"]
    assert len(world.tunnels.rows(TUNNEL)) == 1


async def test_what_the_others_are_told(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    told: list[str] = []
    cluster.replica.on_local_change = told.append
    made = await start(engine, asking("aa", "ov"))
    endpoint, _ = engine.endpoints_in(made.id)
    assert cluster.replica.own(OV.id) == [
        Peer(
            id=endpoint.id,
            network=OV.id,
            node=NODE,
            vtep="192.0.2.1",
            mac=endpoint.mac,
            sandbox=made.id,
            name="aa",
            ipv4="10.0.0.2/24",
            dns_names=endpoint.dns_names,
        )
    ]
    assert (set(told), cluster.replica.present()) == ({OV.id}, {OV.id})
    told.clear()
    await engine.stop_sandbox("aa", grace=0)
    assert (set(told), cluster.replica.present(), cluster.replica.own(OV.id)) == ({OV.id}, set(), [])


async def test_a_network_that_is_gone_takes_its_endpoints_along(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    await engine.create_sandbox(asking("bb", "ov"))
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    await cluster.replica.set_networks([], [OV.id])
    assert engine.network_named("ov") is None
    assert [engine.endpoints_in(sandbox(engine, name).id) for name in ("aa", "bb")] == [(), ()]
    assert (cluster.replica.networks(), cluster.replica.blocks(), cluster.replica.peers(OV.id)) == ([], [], [])
    await drained(world)
    assert await engine.diagnose() == []
    await cluster.replica.set_networks([OV], [])  # its pools are free again
    await start(engine, asking("cc", "ov"))


async def test_leaving_the_cluster_forgets_all(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await engine.create_sandbox(asking("aa", "ov"))
    await cluster.replica.forget()
    assert (cluster.replica.networks(), cluster.replica.blocks()) == ([], [])


# addresses


async def test_addresses_come_from_this_node_s_blocks(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    for number in range(15):
        await engine.create_sandbox(asking(f"n{number}", "ov"))
    found = [engine.endpoints_in(sandbox(engine, f"n{n}").id)[0].ipv4 for n in range(15)]
    assert found == [f"10.0.0.{n}/24" for n in (*range(2, 16), 16)]
    assert [asked for asked in cluster.asked if asked[0] == "block"] == [("block", "10.0.0.0/24", "")] * 2


async def test_a_static_address_needs_the_block_that_holds_it(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    cluster.taken.add("10.0.0.96/28")
    request = asking("aa", "ov")
    await engine.create_sandbox(replace(request, networks={"ov": EndpointConfig(ipv4="10.0.0.77")}))
    assert [block.prefix for block in cluster.replica.blocks()] == ["10.0.0.64/28"]
    with pytest.raises(Conflict, match="10.0.0.100 is in 10.0.0.96/28 of node far"):
        await engine.create_sandbox(replace(request, name="bb", networks={"ov": EndpointConfig(ipv4="10.0.0.100")}))
    with pytest.raises(Forbidden, match="Address already in use"):
        await engine.create_sandbox(replace(request, name="cc", networks={"ov": EndpointConfig(ipv4="10.0.0.1")}))
    await until(lambda: len(cluster.replica.blocks()) == 1)  # the one for cc went back


async def test_many_at_once_share_what_is_leased(world: World) -> None:
    async with clustered(world, OV, size=30) as (engine, cluster):
        names = [f"n{n}" for n in range(20)]
        await asyncio.gather(*(engine.create_sandbox(asking(name, "ov")) for name in names))
        found = {engine.endpoints_in(sandbox(engine, name).id)[0].ipv4 for name in names}
        assert len(found) == 20
        held = {block.prefix for block in cluster.replica.blocks()}
        used = {prefix for prefix in held for ip in found if ip_address(ip[:-3]) in ip_network(prefix)}
        await until(lambda: {block.prefix for block in cluster.replica.blocks()} == used)


async def test_exhaustion_says_who_holds_what(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    cluster.taken = {str(part) for part in ip_network("10.0.0.0/24").subnets(new_prefix=28)}
    with pytest.raises(Unavailable, match="16 of node far"):
        await engine.create_sandbox(asking("aa", "ov"))
    assert engine.sandboxes() == []


async def test_a_second_subnet_is_used_when_the_first_is_full(world: World) -> None:
    two = overlay(pools=(Pool("10.0.0.0/28"), Pool("10.5.0.0/24")))
    async with clustered(world, two, size=28) as (engine, cluster):
        cluster.taken.add("10.0.0.0/28")
        await engine.create_sandbox(asking("aa", "ov"))
        assert engine.endpoints_in(sandbox(engine, "aa").id)[0].ipv4 == "10.5.0.1/24"


async def test_a_block_goes_back_after_its_last_address(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await engine.create_sandbox(asking("aa", "ov"))
    await engine.create_sandbox(asking("bb", "ov"))
    await engine.remove_sandbox("aa")
    assert ("unused", "10.0.0.0/28") not in cluster.asked
    await engine.remove_sandbox("bb")
    await until(lambda: cluster.replica.blocks() == [])
    assert cluster.asked[-1] == ("unused", "10.0.0.0/28")


async def test_a_block_whose_first_join_was_cut_short_goes_back_at_the_next_start(world: World) -> None:
    async with clustered(world, OV) as (engine, cluster):
        await engine.create_sandbox(asking("aa", "ov"))
        (used,) = cluster.replica.blocks()
        unused = await cluster.need_block(OV.id, OV.pools[0].subnet, "10.0.0.77")
    async with clustered(world) as (engine, cluster):
        await until(lambda: cluster.replica.blocks() == [used])
        assert ("unused", unused.prefix) in cluster.asked


async def test_a_block_that_is_on_its_way_back_is_asked_for_again_only_then(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, cluster = node
    await engine.create_sandbox(asking("aa", "ov"))
    returned, give_back = asyncio.Event(), cluster.unused

    async def slowly(block: Block) -> None:
        await returned.wait()
        await give_back(block)

    cluster.unused = slowly  # type: ignore[method-assign]
    await engine.remove_sandbox("aa")
    creating = asyncio.ensure_future(engine.create_sandbox(asking("bb", "ov")))
    await engine.create_network(CreateNetwork("web"))
    assert not creating.done()
    returned.set()
    await creating
    assert [asked[0] for asked in cluster.asked] == ["block", "unused", "block"]


async def test_a_fenced_node_hands_out_nothing(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await engine.create_sandbox(asking("aa", "ov"))
    cluster.fenced = True
    with pytest.raises(Unavailable, match="have not heard of this node for so long"):
        await engine.create_sandbox(asking("bb", "ov"))
    await engine.start_sandbox("aa")  # what it has it keeps


# requests


async def test_creation_is_for_the_managers(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    request = CreateNetwork("ow", driver="overlay", attachable=True)
    assert (await engine.create_network(request)).id == "made-by-the-cluster"
    assert (await engine.create_network(CreateNetwork("bb", scope="swarm"))).id == "made-by-the-cluster"
    assert cluster.created == [request, CreateNetwork("bb", scope="swarm")]
    with pytest.raises(Conflict, match="^network with name ov already exists$"):
        await engine.create_network(CreateNetwork("ov"))
    cluster.manager = False
    with pytest.raises(Forbidden, match="^This node is not a swarm manager. Use "):
        await engine.create_network(request)
    with pytest.raises(Forbidden, match="^Cannot create a multi-host network from a worker node."):
        await engine.create_network(CreateNetwork("cc", scope="swarm"))


async def test_removal_is_for_the_managers(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await engine.remove_network("0zqk3")
    assert cluster.removed == ["ov"]
    with pytest.raises(NotFound):
        await engine.remove_network("ov")


async def test_prune_goes_through_the_managers(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_networks([overlay(1, "mesh", ingress=True)], [])
    await engine.create_network(CreateNetwork("web"))
    assert await engine.prune_networks(lambda _: False) == ["ov", "web"]
    assert cluster.removed == ["ov"]


async def test_not_attachable(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_networks([overlay(1, "ov1", attachable=False)], [])
    text = (
        "Could not attach to network ov1: rpc error: code = PermissionDenied desc = network ov1 not manually attachable"
    )
    await engine.create_sandbox(asking("aa", "ov"))
    with pytest.raises(Failure, match=f"^{text}$"):
        await engine.connect("ov1", "aa")
    with pytest.raises(Failure, match=f"^failed to set up container networking: {text}$"):
        await engine.create_sandbox(asking("bb", "ov1"))


# the way out


async def test_a_sandbox_on_a_global_network_alone_gets_out_by_the_gateway_network(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, _ = node
    made = await start(engine, asking("aa", "ov", ports=(PortBinding(80, host_port=8080),)))
    ov, out = engine.endpoints_in(made.id)
    gateway = engine.network_named("docker_gwbridge")
    assert gateway is not None
    assert (ov.ifname, ov.published, out.network, out.ifname, out.dns_names) == ("eth0", (), gateway.id, "eth1", ())
    assert (out.name, [port.host_port for port in out.published]) == (f"gateway_{made.id[:12]}", [8080])
    inside = world.sandboxes.look(made.netns)
    assert {(to, name) for to, _, name in inside.routes if to == "0.0.0.0/0"} == {("0.0.0.0/0", "eth1")}
    assert await engine.diagnose() == []
    await engine.stop_sandbox("aa", grace=0)
    assert [e.id for e in engine.endpoints_in(made.id)] == [ov.id]
    assert [lease.reason for lease in engine.leases(gateway.id) if lease.reason == "endpoint"] == []
    await engine.start_sandbox("aa")
    assert len(engine.endpoints_in(made.id)) == 2


async def test_the_way_out_goes_when_another_network_has_one(
    world: World, node: tuple[Controller, FakeGlobals]
) -> None:
    engine, _ = node
    await engine.create_network(CreateNetwork("web", pools=(PoolRequest("10.9.0.0/24"),)))
    made = await start(engine, asking("aa", "ov", ports=(PortBinding(80, host_port=8080),)))
    await engine.connect("web", "aa")
    assert [e.way_out for e in engine.endpoints_in(made.id)] == [False, False]
    assert [len(e.published) for e in engine.endpoints_in(made.id)] == [0, 1]
    await engine.disconnect("web", "aa", force=False)
    assert [e.way_out for e in engine.endpoints_in(made.id)] == [False, True]
    await engine.disconnect("ov", "aa", force=False)
    assert engine.endpoints_in(made.id) == ()
    assert await engine.diagnose() == []


async def test_an_internal_network_has_no_way_out(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_networks([overlay(1, "inner", internal=True)], [])
    made = await start(engine, asking("aa", "inner"))
    assert len(engine.endpoints_in(made.id)) == 1
    assert engine.network_named("docker_gwbridge") is None


async def test_a_refused_way_out_gives_its_address_back(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await start(engine, asking("aa", "ov"))
    gateway = engine.network_named("docker_gwbridge")
    assert gateway is not None
    held = engine.leases(gateway.id)
    await engine.create_sandbox(asking("bb", "ov"))
    world.sandboxes.faults.fail("join", errno.ENOMEM, nth=2)
    with pytest.raises(KernelError):
        await engine.start_sandbox("bb")
    assert engine.leases(gateway.id) == held
    await until(lambda: len(plugs(world)) == 2)


async def test_the_way_to_other_hosts_is_explained(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_peers(OV.id, [elsewhere(n, OV) for n in range(1, 11)], [])
    await start(engine, asking("aa", "ov"))

    async def steps() -> dict[str, PathStep]:
        path = next(path for path in await engine.explain("aa") if path.network == "ov")
        return {step.object: step for step in path.steps}

    found = await steps()
    assert found["tunnel"].text == f"{TUNNEL}, VXLAN id 4097, from 192.0.2.1 to UDP port 4789 of other hosts"
    assert found["other hosts"].text.startswith("far1 (10.0.0.201) at 192.0.2.2; far2 ")
    assert found["other hosts"].text.endswith("; 2 more")
    assert (found["tunnel"].problem, found["other hosts"].problem) == ("", "")
    far = [Row("02:00:00:00:01:01", "192.0.2.9", ("10.0.0.201",))]
    world.tunnels.set_rows(TUNNEL, far, [Row("02:00:00:00:01:02", "192.0.2.2", ("10.0.0.202",))])
    assert (await steps())["other hosts"].problem == "this host's kernel has no right row for far1, far2"
    world.links.remove([TUNNEL])
    found = await steps()
    assert found["tunnel"].problem == f"its tunnel {TUNNEL} does not exist"
    assert "no such device" in found["other hosts"].problem


# drift


async def test_what_others_change_is_set_right(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    await start(engine, asking("aa", "ov"))
    right = world.tunnels.rows(TUNNEL)
    world.tunnels.set_rows(TUNNEL, [Row("02:00:00:00:09:09", "192.0.2.9", ("10.0.0.9",))], right)
    touched = Touched()
    touched.rows.add(TUNNEL)
    await engine.on_drift(touched)
    assert world.tunnels.rows(TUNNEL) == right
    world.links.links[TUNNEL] = replace(world.links.links[TUNNEL], up=False)
    touched = Touched()
    touched.add_link(TUNNEL, None)
    await engine.on_drift(touched)
    assert world.links.links[TUNNEL].up
    world.links.remove([BRIDGE])
    for name, link in world.links.links.items():  # as the kernel leaves its ports
        world.links.links[name] = replace(link, master=0)
    assert [f.object for f in await engine.diagnose()]
    await engine.repair()
    assert await engine.diagnose() == []


async def test_a_changed_underlay_is_followed(world: World, node: tuple[Controller, FakeGlobals]) -> None:
    engine, cluster = node
    await start(engine, asking("aa", "ov"))
    await cluster.data_path.set(replace(UNDERLAY, mtu=1400), [])
    await until(lambda: world.links.links[TUNNEL].mtu == 1350)
    (host,) = (link for name, link in world.links.links.items() if name.startswith("overlay/veth"))
    inside = next(n.links["eth0"] for n in world.sandboxes.namespaces.values() if "eth0" in n.links)
    assert (host.mtu, inside.mtu) == (1350, 1350)


async def test_new_endpoints_elsewhere_are_announced_here_twice(
    world: World, node: tuple[Controller, FakeGlobals], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had the address before may be remembered by its MAC."""
    engine, cluster = node
    monkeypatch.setattr("towline.control.replica.AGAIN", 0.01)
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV)], [])
    assert world.tunnels.announced == []  # nobody is here
    await start(engine, asking("aa", "ov"))
    await cluster.replica.set_peers(OV.id, [elsewhere(1, OV), elsewhere(2, OV)], [])
    news = (BRIDGE, Row("02:00:00:00:01:02", "192.0.2.2", ("10.0.0.202",)))
    await until(lambda: world.tunnels.announced == [news, news])
    heir = elsewhere(3, OV, ipv4="10.0.0.202/24")
    await cluster.replica.set_peers(OV.id, [heir], [elsewhere(2, OV).id])
    assert world.tunnels.announced[2:] == [(BRIDGE, Row(heir.mac, "192.0.2.2", ("10.0.0.202",)))]


# addresses that are taken


async def test_who_has_an_address_of_this_node(node: tuple[Controller, FakeGlobals]) -> None:
    engine, _ = node
    await start(engine, asking("aa", "ov"))
    await start(engine, asking("bb", "bridge"))
    owner = r"aa \([0-9a-f]{12}\) on this node has it"
    with pytest.raises(Conflict, match=f"Address already in use: 10.0.0.2 of network ov: {owner}; choose another"):
        await engine.connect("ov", "bb", EndpointConfig(ipv4="10.0.0.2"))
