"""Services on a manager: who may have which name, port and address, and what etcd's faults do."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.managers import managers, node, peer
from towline.cluster import codec
from towline.cluster.contract import PutKey
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.cluster.manager import Manager
from towline.ipam.prefix import format_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Block
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound, TowlineError, Unavailable
from towline.model.network import Network, Pool
from towline.model.requests import CreateNetwork, CreateService, PoolRequest, UpdateService
from towline.model.service import Service, ServicePort
from towline.plan.service import plan_vips

INGRESS = "i" * 25
RPC = "rpc error: code = InvalidArgument desc = "


async def overlay(manager: Manager, name: str = "ov", *subnets: str, ipv6: bool = False) -> Network:
    pools = tuple(PoolRequest(subnet) for subnet in subnets)
    return await manager.networks.create(CreateNetwork(name, driver="overlay", pools=pools, enable_ipv6=ipv6))


def blocks(manager: Manager, network: str) -> dict[str, Block]:
    return {block.prefix: block for block in manager.state.blocks.of_network(network)}


async def test_what_a_service_gets() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net, six = await overlay(manager), await overlay(manager, "six", ipv6=True)
        ports = (ServicePort(80, 8080), ServicePort(53, protocol="udp", name="dns"), ServicePort(9, mode="host"))
        made = await manager.services.create(
            CreateService("web", networks=(net.id, six.id), ports=ports, labels={"a": "b"})
        )
        assert made == manager.state.services.named("WEB")
        assert (made.mode, made.networks, made.labels) == ("vip", (net.id, six.id), {"a": "b"})
        assert [(p.target, p.published) for p in made.ports] == [(80, 8080), (53, 30000), (9, 0)]
        assert made.index
        assert [vip.network for vip in made.vips] == [net.id, six.id, INGRESS]
        assert made.ingress == INGRESS
        for vip in made.vips:
            assert vip.ipv4.endswith("/24")
            assert vip.ipv6.endswith("/64") == (vip.network == six.id)
            held = blocks(manager, vip.network)[f"{vip.ipv4.partition('/')[0]}/32"]
            assert (held.service, held.node) == (made.id, "")
        assert [status.used for status in manager.networks.statuses(six.id).values()] == [4, 3]
        with pytest.raises(NotFound, match="service nope not found"):
            await manager.services.remove("nope", force=True)
        await manager.services.remove(made.id, force=False)
        assert manager.state.services.all() == []
        assert not (blocks(manager, net.id))
        assert not (blocks(manager, six.id))
        assert not (blocks(manager, INGRESS))


async def test_dnsrr_has_no_address() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net = await overlay(manager)
        host = ServicePort(80, 8080, mode="host")
        made = await manager.services.create(CreateService("web", mode="dnsrr", networks=(net.id,), ports=(host,)))
        assert (made.vips, made.ingress, blocks(manager, net.id)) == ((), "", {})


async def test_refusals_change_nothing() -> None:
    fake = FakeCluster()
    async with managers([fake.client()]) as (manager,):
        net = await overlay(manager)
        bridge = await manager.networks.create(CreateNetwork("swb", driver="bridge", scope="swarm", config_from="c"))
        web = await manager.services.create(
            CreateService("web", networks=(net.id,), ports=(ServicePort(80, 8080), ServicePort(90, 9090, mode="host")))
        )
        before = fake.keys()
        not_usable = "The network swb cannot be used with services. Only networks scoped to the swarm can be used, such"
        taken = f"{RPC}port '8080' is already in use by service 'web' ({web.id}) as an ingress port"
        on_hosts = f"{RPC}port '9090' is already in use by service 'web' ({web.id}) as a host-published port"
        two = (ServicePort(1, 7000), ServicePort(2, 7000))
        refused: list[tuple[CreateService, type[TowlineError], str]] = [
            (CreateService(""), InvalidParameter, f"{RPC}meta: name must be provided"),
            (CreateService("a.b"), InvalidParameter, f"{RPC}name must be valid as a DNS name component"),
            (CreateService("y" * 64), InvalidParameter, f"{RPC}name must be 63 characters or fewer"),
            (CreateService("x", mode="lb"), InvalidParameter, "invalid endpoint mode 'lb': it is vip or dnsrr"),
            (CreateService("x", networks=("nope",)), Failure, "network nope not found"),
            (CreateService("x", networks=(bridge.id,)), Forbidden, not_usable),
            (
                CreateService("x", networks=(INGRESS,)),
                InvalidParameter,
                f'{RPC}Service cannot be explicitly attached to the ingress network "ingress"',
            ),
            (CreateService("x", networks=(net.id, net.id)), InvalidParameter, "network ov is named twice"),
            (CreateService("x", networks=("n",) * 17), InvalidParameter, "17 networks for one service, at most 16"),
            (CreateService("x", ports=(ServicePort(80),) * 257), InvalidParameter, "257 ports, at most 256"),
            (CreateService("x", labels={"a": "b" * 65536}), InvalidParameter, "labels are 65537 bytes long"),
            (CreateService("x", ports=(ServicePort(0, 1),)), InvalidParameter, "invalid target port 0"),
            (CreateService("x", ports=(ServicePort(1, 65536),)), InvalidParameter, "invalid published port 65536"),
            (CreateService("x", ports=(ServicePort(1, name="a b"),)), InvalidParameter, "invalid name of a port"),
            (
                CreateService("x", mode="dnsrr", ports=(ServicePort(80, 81),)),
                InvalidParameter,
                f"{RPC}EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
            ),
            (CreateService("x", ports=two), InvalidParameter, f"{RPC}EndpointSpec: duplicate published ports provided"),
            (CreateService("x", ports=(ServicePort(1, 8080),)), InvalidParameter, taken),
            (CreateService("x", ports=(ServicePort(1, 8080, mode="host"),)), InvalidParameter, taken),
            (CreateService("x", ports=(ServicePort(1, 9090),)), InvalidParameter, on_hosts),
            (
                CreateService("WEB"),
                Conflict,
                "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service WEB already",
            ),
        ]
        for request, kind, text in refused:
            with pytest.raises(kind) as found:
                await manager.services.create(request)
            assert text in str(found.value), request
        assert fake.keys() == before
        beside = (ServicePort(1, 8080, "udp"), ServicePort(1, 9090, mode="host"))
        await manager.services.create(CreateService("beside", ports=beside))
        await manager.services.remove(web.id, force=False)
        await manager.services.create(CreateService("x", ports=(ServicePort(1, 8080),)))


async def test_a_port_on_hosts_may_be_several_services_and_none_of_them_gets_it_everywhere() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        ports = (ServicePort(80, 30000, mode="host"),)
        web = await manager.services.create(CreateService("web", ports=ports))
        other = await manager.services.create(CreateService("other", ports=ports))
        for one, rival in ((web, other), (other, web)):
            with pytest.raises(InvalidParameter, match=f"'30000' is already in use by service '{rival.name}'"):
                await manager.services.update(one.id, UpdateService(ports=(ServicePort(80, 30000),)))
            open_port = await manager.services.update(one.id, UpdateService(ports=(*ports, ServicePort(81))))
            assert open_port.ports[1].published > 30000
            await manager.services.update(one.id, UpdateService(ports=(ServicePort(81),)))
            await manager.services.update(one.id, UpdateService(ports=ports))


async def test_networks_in_use_by_services_stay() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net = await overlay(manager)
        web = await manager.services.create(CreateService("web", mode="dnsrr", networks=(net.id,)))
        with pytest.raises(InvalidParameter) as refused:
            await manager.networks.remove(net.id)
        text = f"rpc error: code = FailedPrecondition desc = network {net.id} is in use by service {web.id}"
        assert str(refused.value) == text
        ported = await manager.services.create(CreateService("ported", ports=(ServicePort(80),)))
        with pytest.raises(InvalidParameter, match=f"cannot be removed because service {ported.id} depends on it"):
            await manager.networks.remove(INGRESS)
        for service in (web, ported):
            await manager.services.remove(service.id, force=False)
        await manager.networks.remove(net.id)
        await manager.networks.remove(INGRESS)
        with pytest.raises(InvalidParameter, match="service needs ingress network, but no ingress network is present"):
            await manager.services.create(CreateService("ported", ports=(ServicePort(80),)))


async def test_an_address_of_a_service_is_given_to_nobody_else() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net = await overlay(manager, "ov", "10.9.0.0/29")
        web = await manager.services.create(CreateService("web", networks=(net.id,)))
        vip = web.vips[0].ipv4.partition("/")[0]
        me = node(0)
        with pytest.raises(Conflict, match=f"address {vip} of network ov is the virtual address of service web"):
            await manager.lease_block(me.id, net.id, "10.9.0.0/29", vip)
        given = [(await manager.lease_block(me.id, net.id, "10.9.0.0/29")).prefix for _ in range(4)]
        assert sorted([vip, *(prefix.partition("/")[0] for prefix in given)]) == [f"10.9.0.{at}" for at in range(2, 7)]
        with pytest.raises(Unavailable, match="host0 has 4 and uses 0, virtual addresses of services have 1"):
            await manager.lease_block(me.id, net.id, "10.9.0.0/29")
        with pytest.raises(Unavailable, match="could not find an available IP while allocating VIP"):
            await manager.services.create(CreateService("more", networks=(net.id,)))
        with pytest.raises(Conflict, match="is not node"):
            await manager.publish(me.id, net.id, [peer(me, net.id, 1, f"{vip}/29")], [])


async def test_an_update_keeps_what_stays() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        one, two = await overlay(manager, "one"), await overlay(manager, "two")
        made = await manager.services.create(CreateService("web", networks=(one.id,), ports=(ServicePort(80, 8080),)))
        update = UpdateService(made.index, networks=(one.id, two.id), ports=(ServicePort(80, 8080), ServicePort(81)))
        wider = await manager.services.update(made.id, update)
        assert (wider.vip_on(one.id), wider.vip_on(INGRESS)) == (made.vip_on(one.id), made.vip_on(INGRESS))
        assert [port.published for port in wider.ports] == [8080, 30000]
        with pytest.raises(Failure, match="update out of sequence"):
            await manager.services.update(made.id, update)
        narrow = await manager.services.update(made.id, UpdateService(networks=(two.id,), ports=(), labels={"a": ""}))
        assert (narrow.vips, narrow.ingress, narrow.labels) == ((wider.vip_on(two.id),), "", {"a": ""})
        assert not (blocks(manager, one.id))
        assert not (blocks(manager, INGRESS))
        robin = await manager.services.update(made.id, UpdateService(mode="dnsrr"))
        assert (robin.mode, robin.vips, blocks(manager, two.id)) == ("dnsrr", (), {})
        assert robin.created == made.created < robin.updated
        other = await manager.services.create(CreateService("other", ports=(ServicePort(1, 99),)))
        with pytest.raises(InvalidParameter, match="port '99' is already in use by service 'other'"):
            await manager.services.update(made.id, UpdateService(mode="vip", ports=(ServicePort(1, 99),)))
        assert await manager.services.update(other.id, UpdateService(ports=other.ports))


async def test_members_hold_a_service_until_it_is_forced() -> None:
    async with managers([FakeCluster().client()]) as (manager,):
        net, me = await overlay(manager), node(0)
        web = await manager.services.create(CreateService("web", networks=(net.id,)))
        assert (await manager.lease_block(me.id, net.id, "10.0.1.0/24")).prefix == "10.0.1.0/29"
        one = peer(me, net.id, 1, "10.0.1.5/24", service=web.id, sandbox="s1", name="w1")
        await manager.publish(me.id, net.id, [one], [])
        (status,) = manager.services.statuses()
        (member,) = status.members
        assert (member.sandbox, member.name, member.hostname) == ("s1", "w1", "host0")
        assert member.addresses == {net.id: ("10.0.1.5/24",)}
        with pytest.raises(Conflict, match="service web has running members: w1"):
            await manager.services.remove(web.id, force=False)
        await manager.services.remove(web.id, force=True)
        again = await manager.services.create(CreateService("web", networks=(net.id,)))
        assert manager.services.statuses()[0].members == ()
        await manager.publish(me.id, net.id, [replace(one, service=again.id)], [])
        await manager.publish(me.id, net.id, [], [one.id])
        await manager.services.remove(again.id, force=False)
        with pytest.raises(InvalidParameter, match="its service's id is not one"):
            await manager.publish(me.id, net.id, [replace(one, service="x" * 65)], [])


async def test_lost_answers_are_read_back() -> None:
    fake = FakeCluster()
    client = fake.client()
    async with managers([client]) as (manager,):
        net = await overlay(manager)
        client.fail(Fault.LOST_ANSWER)
        made = await manager.services.create(CreateService("web", networks=(net.id,), ports=(ServicePort(80),)))
        assert manager.state.services.all() == [made]
        client.fail(Fault.LOST_ANSWER)
        wider = await manager.services.update(made.id, UpdateService(made.index, labels={"a": "b"}))
        assert manager.state.services.all() == [wider]
        client.fail(Fault.UNAVAILABLE)
        await manager.services.update(made.id, UpdateService(labels={}))
        assert len(blocks(manager, net.id)) == len(blocks(manager, INGRESS)) == 1
        client.fail(Fault.LOST_ANSWER)
        await manager.services.remove(made.id, force=False)
        assert not (manager.state.services.all())
        assert not (blocks(manager, net.id))
        assert not (blocks(manager, INGRESS))


async def test_without_etcd_the_answer_is_503() -> None:
    client = FakeCluster().client()
    async with managers([client], patience=0.2) as (manager,):
        client.away = True
        with pytest.raises(Unavailable, match=r"The swarm does not have a leader.*service web cannot be created"):
            await manager.services.create(CreateService("web"))


async def test_a_service_of_another_release_stops_changes_of_services() -> None:
    fake = FakeCluster()
    async with managers([fake.client()]) as (manager,):
        key = codec.service_key("zzz")
        assert fake.transact([], [PutKey(key, b'{"v": 99, "record": {}}')])
        await manager.feed.until(lambda state: key in state.unreadable)
        with pytest.raises(Unavailable, match="cannot read all services of the cluster"):
            await manager.services.create(CreateService("web"))
        await overlay(manager)


async def test_rival_managers_give_names_ports_and_addresses_once() -> None:
    """Each name and each port is asked of all of them, while etcd loses answers; a network is removed meanwhile."""
    fake = FakeCluster()
    clients = [fake.client() for _ in range(4)]
    async with managers(clients) as found:
        net, doomed = await overlay(found[0], "ov", "10.9.0.0/26"), await overlay(found[0], "doomed")
        for manager in found:
            await manager.feed.until(lambda state: state.networks.get(doomed.id) is not None)
        for client in clients:
            client.fail(Fault.LOST_ANSWER, Fault.UNAVAILABLE)

        async def attempt(manager: Manager, request: CreateService) -> Service | None:
            try:
                return await manager.services.create(request)
            except (Conflict, InvalidParameter, Failure):
                return None

        async def remove() -> bool:
            try:
                await found[3].networks.remove(doomed.id)
            except InvalidParameter:
                return False
            return True

        requests = [
            CreateService(f"n{at % 6}", networks=(net.id,), ports=(ServicePort(80, 8000 + at % 4), ServicePort(81)))
            for at in range(12)
        ]
        tries = [attempt(manager, request) for request in requests for manager in found]
        racing = [attempt(found[at], CreateService(f"d{at}", networks=(doomed.id,))) for at in range(3)]
        made, removed = await asyncio.gather(asyncio.gather(*tries, *racing), remove())
        services = [service for service in made if service is not None]
        assert len([service for service in services if net.id in service.networks]) == 4
        assert len({service.name for service in services}) == len(services)
        vips = [(vip.network, vip.ipv4) for service in services for vip in service.vips]
        assert len(set(vips)) == len(vips)
        ports = [port.published for service in services for port in service.ports]
        assert len(set(ports)) == len(ports)
        state = found[0].state
        assert (state.networks.get(doomed.id) is None) == removed
        assert (not [s for s in services if doomed.id in s.networks]) or not removed
        assert {s.id for s in state.services.all()} == {s.id for s in services}


# addresses, as a plan


@given(
    subnet=st.sampled_from(["10.0.0.0/24", "10.0.0.0/29", "10.0.0.0/31", "10.0.0.8/32", "fd00::/64", "fd00::/126"]),
    names=st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=12),
    taken=st.sets(st.integers(0, 255), max_size=200),
)
def test_addresses_are_free_ones_until_there_is_none(subnet: str, names: list[str], taken: set[int]) -> None:
    whole = parse_prefix(subnet)
    leased = PrefixSet(format_address(whole.start + at, whole.v6) for at in taken if at < whole.size)
    network = Network("n", "n", 1, "overlay", pools=(Pool(subnet),))
    for name in names:
        service = Service(name, name, 1, networks=("n",))
        try:
            planned, (block,) = plan_vips(service, [network], lambda _: leased)
        except Unavailable:
            assert whole.size <= len(leased) + 2
            continue
        assert not leased.overlaps(block.prefix)
        assert parse_prefix(planned.vips[0].ipv6 if whole.v6 else planned.vips[0].ipv4) == whole
        assert parse_prefix(block.prefix).size == 1
        assert plan_vips(planned, [network], lambda _: leased) == (planned, ())
        leased.add(block.prefix)
