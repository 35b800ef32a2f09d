"""Start, drift and repair over fakes."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.support.engine import CONFIG, World, running
from towline.kernel.contract import Drift
from towline.kernel.fake_nft import FakeTable
from towline.model.config import Config
from towline.model.network import Network, Pool
from towline.model.requests import CreateNetwork, CreateSandbox
from towline.model.ruleset import TableId
from towline.model.sandbox import PortBinding
from towline.store.contract import META_SWEEP, SWEEP_SUSPENDED, Put, SetMeta

ID = "0123456789ab" + "c" * 52


def intent(**fields: object) -> Network:
    base = Network(
        id=ID,
        name="web",
        created=1,
        driver="bridge",
        link="br-0123456789ab",
        pools=(Pool("10.5.0.0/24", gateway="10.5.0.1"),),
    )
    return replace(base, **fields)


async def until(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.002)

    await asyncio.wait_for(wait(), 5)


async def test_a_restart_changes_nothing_that_is_right() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web", enable_ipv6=True))
    before = dict(world.links.links), world.nft.commits
    async with running(world) as engine:
        assert (world.links.links, world.nft.commits) == before
        assert list(await engine.diagnose()) == []


async def test_an_intent_is_rolled_forward() -> None:
    world = World()
    world.store.update([Put(intent())])
    async with running(world) as engine:
        assert engine.network(ID).phase == "ready"  # type: ignore[union-attr]
        assert world.links.links["br-0123456789ab"].addresses == ("10.5.0.1/24",)
        assert "br-0123456789ab" in world.bridges()


async def test_an_intent_that_cannot_be_made_is_dropped_with_its_addresses() -> None:
    world = World()
    world.store.update([Put(intent())])
    world.links.add_foreign("br-0123456789ab", "dummy")
    async with running(world) as engine:
        assert engine.network(ID) is None
        assert "web" not in world.stored()
        assert "br-0123456789ab" not in world.bridges()
        assert world.links.links["br-0123456789ab"].kind == "dummy"
        from towline.model.requests import PoolRequest

        await engine.create_network(CreateNetwork("other", pools=(PoolRequest("10.5.0.0/24"),)))


async def test_an_acknowledged_network_is_kept_though_it_cannot_be_made() -> None:
    world = World()
    world.store.update([Put(intent(phase="ready"))])
    world.links.add_foreign("br-0123456789ab", "dummy")
    async with running(world) as engine:
        assert engine.network(ID) is not None
        findings = await engine.diagnose()
        assert [f.object for f in findings] == ["network web"]
        assert "a dummy link named br-0123456789ab, not ours" in findings[0].problem


async def test_what_the_store_does_not_know_is_swept() -> None:
    world = World()
    world.links._put(replace(world.links.add_foreign("br-old", "bridge"), alias=f"towline:network:{ID}"))
    bystander = world.links.add_foreign("eth0")
    async with running(world):
        assert "br-old" not in world.links.links
        assert world.links.links["eth0"] == bystander


async def test_after_a_lost_store_nothing_is_swept_until_asked() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
    fresh = World()
    fresh.store.update([SetMeta(META_SWEEP, SWEEP_SUSPENDED)])
    fresh.sysctl, fresh.links, fresh.nft = world.sysctl, world.links, world.nft
    async with running(fresh) as engine:
        assert link in fresh.links.links
        assert link in fresh.bridges()
        assert any(link in finding.object for finding in await engine.diagnose())
        fresh.nft.flush()
        fresh.monitor.push(Drift("rules"), Drift("overrun"))
        await until(lambda: bool(fresh.nft.tables) and engine.counters.reconciles > 0)
        assert link in fresh.links.links
        await engine.repair()
        assert link not in fresh.links.links
        assert fresh.store.meta(META_SWEEP) is None
        assert list(await engine.diagnose()) == []


async def test_a_deleted_link_comes_back() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        was = world.links.links.pop(link)
        world.monitor.push(Drift("links", link))
        await until(lambda: link in world.links.links)
        assert world.links.links[link].addresses == was.addresses
        assert engine.counters.drift_repairs == 1


@pytest.mark.parametrize(
    "change",
    [{"up": False}, {"mtu": 1300}, {"mac": "02:00:00:00:00:07"}, {"addresses": ()}, {"alias": ""}],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_link_is_corrected(change: dict[str, object]) -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web", options={"com.docker.network.driver.mtu": "1400"}))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        was = world.links.links[link]
        world.links._change(link, **change)
        world.monitor.push(Drift("links", link))
        await until(lambda: world.links.links[link] == was)


@pytest.mark.parametrize("setting", ["ipv6/{}/disable_ipv6", "ipv6/{}/accept_ra", "ipv4/{}/route_localnet"])
@pytest.mark.parametrize("ipv6", [True, False])
async def test_a_changed_setting_is_a_difference(setting: str, ipv6: bool) -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web", enable_ipv6=ipv6))
        assert list(await engine.diagnose()) == []
        path = "net/" + setting.format(f"conf/{engine.network_named('web').link}")  # type: ignore[union-attr]
        right = world.sysctl.values[path]
        world.sysctl.values[path] = str(1 - int(right))
        if not ipv6 and "accept_ra" in setting:
            assert list(await engine.diagnose()) == []
        else:
            assert len(await engine.diagnose()) == 1
            await engine.repair()
            assert world.sysctl.values[path] == right


async def test_a_link_that_is_shown_to_be_right_costs_the_writer_nothing() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        shown = replace(world.links.find(link), addresses=())  # type: ignore[type-var]
        world.monitor.push(Drift("links", link, shown))
        await asyncio.sleep(0.1)  # five times as long as notifications are gathered
        assert engine.counters.reconciles == 0
        world.links._change(link, up=False)
        world.monitor.push(Drift("links", link, replace(shown, up=False)))
        await until(lambda: world.links.links[link].up)
        assert engine.counters.drift_repairs == 1


async def test_a_link_that_nobody_needs_any_more_costs_the_writer_nothing() -> None:
    """Its network is removed while notifications are gathered."""
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        world.monitor.push(Drift("links", link))
        await asyncio.sleep(0)
        await engine.remove_network("web", wait=True)
        await asyncio.sleep(0.1)
        assert engine.counters.reconciles == 0


async def test_a_link_that_must_be_asked_for_is_asked_for() -> None:
    """It lost its address, which is not seen in what the next notification shows."""
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        was = world.links.links[link]
        world.links._change(link, addresses=())
        world.monitor.push(Drift("links", link), Drift("links", link, world.links.find(link)))
        await until(lambda: world.links.links[link] == was)


async def test_rules_that_are_right_are_compared_less_often_and_still_healed_soon() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        began = time.monotonic()
        while time.monotonic() < began + 1:
            world.monitor.push(Drift("rules"))
            await asyncio.sleep(0.01)
        assert 3 <= engine.counters.reconciles <= 8
        bridges = world.bridges()
        world.nft.flush()
        world.monitor.push(Drift("rules"))
        flushed = time.monotonic()
        await until(lambda: bool(world.nft.tables) and world.bridges() == bridges)
        assert time.monotonic() - flushed < 1


async def test_a_foreign_flush_is_healed() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        bridges = world.bridges()
        world.nft.flush()
        world.monitor.push(Drift("rules"))
        await until(lambda: bool(world.nft.tables) and world.bridges() == bridges)
        assert list(await engine.diagnose()) == []


def _drop(table: FakeTable) -> None:
    table.hooks["forward"] = replace(table.hooks["forward"], policy="drop")


def _retype(table: FakeTable) -> None:
    table.sets["bridges"] = replace(table.sets["bridges"], key_types=("ifname", "ifname"))


def _sleep(table: FakeTable) -> None:
    table.dormant = True


@pytest.mark.parametrize("change", [_drop, _retype, _sleep])
async def test_what_holds_the_rules_is_compared_too(change: Callable[[FakeTable], None]) -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        table = TableId("inet", "towline")
        before = world.nft.read(table)
        change(world.nft.tables[table])
        assert len(await engine.diagnose()) == 1
        world.monitor.push(Drift("rules"))
        await until(lambda: world.nft.read(table) == before)
        assert list(await engine.diagnose()) == []


async def test_lost_notifications_lead_to_a_full_comparison() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        del world.links.links[link]
        world.nft.flush()
        world.monitor.push(Drift("overrun"))
        await until(lambda: link in world.links.links and bool(world.nft.tables))
        assert list(await engine.diagnose()) == []


async def test_notifications_wait_for_a_moment_and_are_read_together() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        reads: list[list[Drift]] = []
        read = world.monitor.read
        world.monitor.read = lambda: reads.append(read()) or reads[-1]  # type: ignore[method-assign,func-returns-value]
        for kind in ("routes", "rules"):
            world.monitor.push(Drift(kind))
            for _ in range(5):
                await asyncio.sleep(0)
        assert reads == []
        del world.links.links[link]
        world.monitor.push(Drift("links", link))
        await until(lambda: link in world.links.links)
        assert [drift.kind for drift in reads[0]] == ["routes", "rules", "links"]


async def test_rules_missing_at_removal_are_no_obstacle() -> None:
    """The flush was not noticed yet: the removal's elements are not there any more."""
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        world.nft.flush()
        await engine.remove_network("web", wait=True)
        await until(lambda: bool(world.nft.tables) and world.bridges() == {"docker0"})
        assert list(await engine.diagnose()) == []


async def test_repair_reports_what_it_cannot_do() -> None:
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        link = engine.network_named("web").link  # type: ignore[union-attr]
        del world.links.links[link]
        world.links.faults.fail("create_bridges", errno.EPERM, name=link)
        assert [f.object for f in await engine.repair()] == ["network web"]
        assert [f.object for f in await engine.diagnose()] == ["network web"]
        await engine.repair()
        assert list(await engine.diagnose()) == []


async def test_foreign_forward_chains_get_one_admit_rule() -> None:
    world = World()
    world.nft.add_foreign(TableId("ip", "filter"), "FORWARD", policy="drop")
    async with running(world) as engine:
        assert len(world.nft.foreign[TableId("ip", "filter"), "FORWARD"].rules) == 1
        assert list(await engine.diagnose()) == []


async def test_a_changed_default_bridge_is_made_anew() -> None:
    world = World()
    async with running(world) as engine:
        first = engine.network_named("bridge")
    async with running(world, replace(CONFIG, bip="10.77.0.1/24", mtu=1400)) as engine:
        second = engine.network_named("bridge")
        assert first is not None
        assert second is not None
        assert second.id != first.id
        assert second.pools[0] == Pool("10.77.0.0/24", gateway="10.77.0.1")
        assert world.links.links["docker0"].mtu == 1400
        assert list(await engine.diagnose()) == []
    async with running(world, replace(CONFIG, bip="10.77.0.1/24", mtu=1400)) as engine:
        assert engine.network_named("bridge") == second


async def test_forwarding_is_switched_on_when_needed() -> None:
    world = World()
    async with running(world) as engine:
        assert world.sysctl.values["net/ipv4/ip_forward"] == "1"
        assert world.sysctl.values["net/ipv6/conf/all/forwarding"] == "0"
        await engine.create_network(CreateNetwork("web", enable_ipv6=True))
        assert world.sysctl.values["net/ipv6/conf/all/forwarding"] == "1"


async def test_forwarding_is_left_alone_when_told_so() -> None:
    world = World()
    async with running(world, Config(ip_forward=False)) as engine:
        await engine.create_network(CreateNetwork("web", enable_ipv6=True))
        assert world.sysctl.values["net/ipv4/ip_forward"] == "0"


@pytest.mark.parametrize("sweep", [True, False])
async def test_an_element_with_other_data_is_replaced_at_once(sweep: bool) -> None:
    """A published port that moved: a crash leaves the old target under the same key."""
    world = World()
    async with running(world) as engine:
        await engine.create_network(CreateNetwork("web"))
        await engine.create_sandbox(
            CreateSandbox("c1", command=("sleep", "1"), ports=(PortBinding(80, host_port=8080),))
        )
        await engine.start_sandbox("c1")
        if not sweep:
            world.store.update([SetMeta(META_SWEEP, SWEEP_SUSPENDED)])
        (table,) = (t for name, t in world.nft.tables.items() if name.family == "inet")
        (name,) = (n for n, members in table.elements.items() if n.startswith("dnat4") and members)
        right = dict(table.elements[name])
        for key in right:
            table.elements[name][key] = bytes(len(right[key]))
        world.monitor.push(Drift("rules", ""))
        await until(lambda: table.elements[name] == right)
        assert list(await engine.diagnose()) == []
