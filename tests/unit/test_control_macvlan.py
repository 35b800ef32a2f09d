"""macvlan networks in an engine over a fake kernel: parents, joins and refusals, comparison."""

from __future__ import annotations

import errno

import pytest

from tests.support.engine import World, running
from tests.support.engine_sandboxes import asking, sandbox, start, until
from towline.control.host import host_interfaces
from towline.model.errors import Failure, KernelError
from towline.model.requests import CreateNetwork, PoolRequest
from towline.model.sandbox import PortBinding


@pytest.fixture
def world() -> World:
    made = World()
    made.links.add_foreign("eth0", "", ("192.0.2.1/24",))
    return made


def macvlan(name: str, number: int = 1, **options: str) -> CreateNetwork:
    pools = (PoolRequest(f"10.7{number}.0.0/24", gateway=f"10.7{number}.0.1"),)
    return CreateNetwork(name, driver="macvlan", pools=pools, options=options)


async def test_an_interface_is_in_the_sandbox_alone(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(macvlan("lan", parent="eth0"))
        before = set(world.links.links)
        made = await start(engine, asking("aa", "lan", ports=(PortBinding(port=80, host_port=8080),)))
        inside = world.sandboxes.namespaces[made.netns]
        assert inside.parents == {"eth0": "eth0"}
        assert [(r.destination, r.gateway) for r in inside.routes] == [("0.0.0.0/0", "10.71.0.1")]
        assert set(world.links.links) == before
        assert engine.endpoints_in(made.id)[0].published == ()
        assert await engine.diagnose() == []
        await engine.disconnect("lan", "aa", force=False)
        assert (inside.parents, inside.routes) == ({}, [])
        assert await engine.diagnose() == []


async def test_a_parent_that_is_not_there_refuses_the_network(world: World) -> None:
    async with running(world) as engine:
        with pytest.raises(Failure, match="-o parent interface was not found on the host: nope"):
            await engine.create_network(macvlan("lan", parent="nope.10"))
        assert engine.network_named("lan") is None
        await engine.create_network(macvlan("lan", parent="eth0"))


async def test_a_vlan_goes_with_its_last_network(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(macvlan("one", 1, parent="eth0.10"))
        await engine.create_network(macvlan("two", 2, parent="eth0.10"))
        await engine.remove_network("one", wait=True)
        assert "eth0.10" in world.links.links
        await engine.remove_network("two", wait=True)
        assert "eth0.10" not in world.links.links
        world.links.faults.fail("ensure_parent", errno.EOPNOTSUPP)
        with pytest.raises(Failure, match="failed to create eth0.10 vlan link: operation not supported"):
            await engine.create_network(macvlan("one", parent="eth0.10"))


async def test_what_goes_with_its_parent_comes_back_with_it(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(macvlan("lan", parent="eth0"))
        made = await start(engine, asking("aa", "lan"))
        gone = world.links.links.pop("eth0")
        found = await engine.diagnose()
        assert "its parent interface eth0 does not exist on this host" in [f.problem for f in found]
        await engine.repair()
        world.links.links["eth0"] = gone
        assert [f.problem for f in await engine.repair()] == ["eth0 inside does not exist"]
        assert world.sandboxes.namespaces[made.netns].parents == {"eth0": "eth0"}
        assert await engine.diagnose() == []


async def test_a_refused_join_leaves_nothing(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(macvlan("lan"))
        await engine.create_sandbox(asking("aa", "lan"))
        world.sandboxes.faults.fail("add_address", errno.ENOMEM)
        with pytest.raises(KernelError):
            await engine.start_sandbox("aa")
        assert sandbox(engine, "aa").state != "running"
        assert await engine.diagnose() == []
        await engine.start_sandbox("aa")
        assert await engine.diagnose() == []


async def test_the_hosts_own_link_stays_the_hosts(world: World) -> None:
    """An address of it may be advertised still, and a bridge of ours that is a parent too is watched as before."""
    async with running(world) as engine:
        await engine.create_network(macvlan("lan", 1, parent="eth0"))
        await engine.create_network(macvlan("inner", 2, parent="docker0"))
        own = {each.name: each.own for each in host_interfaces(world.links, world.store.view())}
        assert (own["eth0"], own["docker0"]) == (False, True)
        world.links.silence(["docker0"])
        assert [f.problem for f in await engine.repair()] == ["bridge docker0: is down"]
        await engine.remove_network("lan", wait=True)
        await until(lambda: "eth0" in world.links.links and world.links.links["eth0"].up)
