"""Sandboxes and endpoints in the engine, over fakes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.engine import World, running
from tests.support.engine_sandboxes import WEB, asking, plugs, sandbox, start, until
from towline.control.controller import Controller
from towline.kernel.contract import Drift
from towline.model.endpoint import EndpointConfig
from towline.model.errors import Conflict, Failure, Forbidden, KernelError, NotFound, StoreError, TowlineError
from towline.model.requests import CreateNetwork, PoolRequest
from towline.model.sandbox import PortBinding, Sandbox
from towline.store.contract import Change, Delete, Put


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def engine(world: World) -> AsyncIterator[Controller]:
    async with running(world) as engine:
        await engine.create_network(WEB)
        yield engine


async def test_a_sandbox_from_birth_to_death(world: World, engine: Controller) -> None:
    await engine.create_sandbox(asking())
    made = sandbox(engine)
    (endpoint,) = engine.endpoints_in(made.id)
    assert (made.state, endpoint.ipv4, endpoint.ifname) == ("created", "10.9.0.2/24", "")
    assert plugs(world) == set()
    await engine.start_sandbox("c1")
    running_ = sandbox(engine)
    (joined,) = engine.endpoints_in(made.id)
    assert (running_.state, joined.ifname, joined.ipv4, joined.mac) == ("running", "eth0", endpoint.ipv4, endpoint.mac)
    assert plugs(world) == {joined.host_link}
    assert world.dns.open_in == {made.id: running_.netns}
    assert world.runtime.launches[0].netns == running_.netns
    assert await engine.stop_sandbox("c1")
    stopped = sandbox(engine)
    assert (stopped.state, stopped.exit_code, stopped.netns) == ("exited", 143, "")
    assert engine.endpoints_in(made.id)[0].ipv4 == endpoint.ipv4
    assert plugs(world) == set()
    assert world.dns.open_in == {}
    await engine.remove_sandbox("c1")
    assert engine.sandbox("c1") is None
    assert [lease.reason for lease in engine.leases(joined.network)] == ["network", "gateway", "broadcast"]
    assert world.runtime.forgotten == [made.id]
    assert list(await engine.diagnose()) == []
    actions = [e.action for e in engine.events.past(0, None) if "container" in e.attributes]
    assert actions == ["connect", "disconnect"]


async def test_identity_survives_stop_and_start(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    (before,) = engine.endpoints_in(made.id)
    await engine.stop_sandbox("c1")
    await start(engine, asking("c2"))
    await engine.start_sandbox("c1")
    (after,) = engine.endpoints_in(made.id)
    assert (after.ipv4, after.mac, after.id) == (before.ipv4, before.mac, before.id)


async def test_connect_and_disconnect(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    await engine.create_network(CreateNetwork("more", enable_ipv6=True))
    await engine.connect("more", "c1", EndpointConfig(aliases=("al",)))
    first, second = engine.endpoints_in(made.id)
    assert second.ifname == "eth1"
    assert second.dns_names == ("c1", "al", made.id[:12])
    assert second.ipv6
    assert plugs(world) == {first.host_link, second.host_link}
    with pytest.raises(Forbidden, match="^endpoint with name c1 already exists in network more$"):
        await engine.connect("more", "c1")
    await engine.disconnect("more", "c1", force=False)
    assert plugs(world) == {first.host_link}
    with pytest.raises(Failure, match="is not connected to network more"):
        await engine.disconnect("more", "c1", force=False)
    assert list(await engine.diagnose()) == []


async def test_a_default_route_that_goes_with_its_interface_is_not_set(world: World, engine: Controller) -> None:
    """One that moves is, before the interface goes."""
    made = await start(engine, asking())
    await engine.create_network(CreateNetwork("also", enable_ipv6=True))

    def default_routes() -> list[str]:
        return [link for prefix, _, link in world.sandboxes.look(made.netns).routes if prefix == "0.0.0.0/0"]

    await engine.connect("also", "c1", EndpointConfig(gw_priority=1))
    world.sandboxes.faults.fail("set_defaults", errno.ENOBUFS)
    await engine.disconnect("also", "c1", force=False)
    await until(lambda: default_routes() == ["eth0"])
    assert engine.counters.drift_repairs > 0
    world.sandboxes.faults.fail("set_defaults", errno.ENOBUFS)
    await engine.disconnect("web", "c1", force=False)
    assert world.sandboxes.faults.check("set_defaults", made.netns, "not asked for before") is not None
    assert default_routes() == []
    assert list(await engine.diagnose()) == []


async def test_a_change_commits_what_it_changes(
    world: World, engine: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was noted before; not the sandbox, nor its other endpoints."""
    made = await start(engine, asking())
    await engine.create_network(CreateNetwork("more"))
    await engine.create_network(CreateNetwork("last"))
    changes: list[Change] = []
    update = world.store.update

    def recording(found: Sequence[Change]) -> int:
        changes.extend(found)
        return update(found)

    monkeypatch.setattr(world.store, "update", recording)
    await engine.connect("more", "c1")
    _, joined = engine.endpoints_in(made.id)
    await engine.disconnect("more", "c1", force=False)
    assert [change.record.id for change in changes if isinstance(change, Put)] == [joined.id] * 2
    assert [change.id for change in changes if isinstance(change, Delete)] == [joined.id]


async def test_a_network_in_use_stays_one_of_stopped_sandboxes_goes(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    with pytest.raises(Forbidden, match=r"network web has active endpoints \(name:\"c1\" id:"):
        await engine.remove_network("web")
    await engine.stop_sandbox("c1")
    await engine.remove_network("web")
    assert engine.endpoints_in(made.id) == ()
    await engine.create_network(WEB)


@pytest.mark.parametrize("verb", ["make", "join", "configure", "set_defaults"])
async def test_a_start_that_the_kernel_refuses_leaves_nothing(world: World, engine: Controller, verb: str) -> None:
    await engine.create_sandbox(asking(ports=(PortBinding(80, host_port=8080),)))
    world.sandboxes.faults.fail(verb, errno.ENOBUFS)
    with pytest.raises(KernelError):
        await engine.start_sandbox("c1")
    assert sandbox(engine).state == "created"
    assert plugs(world) == set()
    assert world.ports.held == set()
    assert list(await engine.diagnose()) == []
    await engine.start_sandbox("c1")
    assert sandbox(engine).state == "running"


async def test_refused_rules_undo_the_join(world: World, engine: Controller) -> None:
    await engine.create_sandbox(asking())
    world.nft.faults.fail("commit", errno.ENOSPC)
    with pytest.raises(KernelError):
        await engine.start_sandbox("c1")
    assert plugs(world) == set()
    await engine.start_sandbox("c1")
    assert list(await engine.diagnose()) == []


@pytest.mark.parametrize("seam", ["refuse_prepare", "refuse_go"])
async def test_a_command_that_cannot_be_started_leaves_the_sandbox_stopped(
    world: World, engine: Controller, seam: str
) -> None:
    await engine.create_sandbox(asking())
    setattr(world.runtime, seam, Failure("no such file"))
    with pytest.raises(Failure, match="no such file"):
        await engine.start_sandbox("c1")
    assert sandbox(engine).state == "exited"
    assert plugs(world) == set()
    assert list(await engine.diagnose()) == []


async def test_a_full_disk_leaves_a_connect_undone(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    await engine.create_network(CreateNetwork("more"))
    world.store.fail_until_healed("disk-full")
    with pytest.raises(StoreError):
        await engine.connect("more", "c1")
    assert len(engine.endpoints_in(made.id)) == 1
    world.store.heal()
    await engine.connect("more", "c1")
    assert engine.endpoints_in(made.id)[1].ipv4 == "10.0.1.2/24"


async def test_published_ports_follow_the_gateway(world: World, engine: Controller) -> None:
    await engine.create_network(CreateNetwork("aa", pools=(PoolRequest("10.10.0.0/24"),)))
    made = await start(engine, asking(ports=(PortBinding(80, host_port=8080),)))
    (web,) = engine.endpoints_in(made.id)
    assert [(p.host_ip, p.host_port, p.port) for p in web.published] == [("0.0.0.0", 8080, 80)]
    assert world.ports.held == {("tcp", "0.0.0.0", 8080)}
    await engine.connect("aa", "c1", EndpointConfig(gw_priority=1))
    web, aa = engine.endpoints_in(made.id)
    assert (web.published, len(aa.published)) == ((), 1)
    assert world.sandboxes.look(made.netns).routes
    await engine.disconnect("aa", "c1", force=False)
    assert len(engine.endpoints_in(made.id)[0].published) == 1
    assert list(await engine.diagnose()) == []
    await engine.stop_sandbox("c1")
    assert world.ports.held == set()


async def test_a_port_that_is_taken_is_named(world: World, engine: Controller) -> None:
    await start(engine, asking("p1", ports=(PortBinding(80, host_port=8080),)))
    await engine.create_sandbox(asking("p2", ports=(PortBinding(80, host_port=8080),)))
    with pytest.raises(Failure) as caught:
        await engine.start_sandbox("p2")
    endpoint = engine.endpoints_in(sandbox(engine, "p2").id)[0]
    assert str(caught.value) == (
        "failed to set up container networking: driver failed programming external connectivity on endpoint "
        f"p2 ({endpoint.id}): Bind for 0.0.0.0:8080 failed: port is already allocated"
    )


async def test_an_unplugged_endpoint_is_plugged_in_again(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    (endpoint,) = engine.endpoints_in(made.id)
    world.sandboxes.leave(made.netns, [endpoint.host_link])
    world.monitor.push(Drift("links", endpoint.host_link))
    await until(lambda: endpoint.host_link in world.links.links)
    assert list(await engine.diagnose()) == []


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        (lambda e: e.start_sandbox("nope"), NotFound, "No such container: nope"),
        (lambda e: e.connect("web", "nope"), NotFound, "No such container: nope"),
        (lambda e: e.disconnect("web", "nope", force=True), NotFound, "endpoint nope not found"),
        (lambda e: e.connect("nope", "c1"), NotFound, "network nope not found"),
        (lambda e: e.start_sandbox("c1"), Conflict, "container c1 is already running"),
        (lambda e: e.remove_sandbox("c1"), Conflict, 'cannot remove container "c1": container is running'),
        (lambda e: e.create_sandbox(asking("c1")), Conflict, 'Conflict. The container name "/c1" is already in use'),
    ],
)
async def test_refusals(
    world: World, engine: Controller, act: Callable[[Controller], object], kind: type[TowlineError], text: str
) -> None:
    await start(engine, asking())
    before = world.store.view().revision
    with pytest.raises(kind) as caught:
        await act(engine)  # type: ignore[misc]
    assert str(caught.value).startswith(text)
    assert world.store.view().revision == before


async def test_twenty_starts_at_once(world: World, engine: Controller) -> None:
    for i in range(20):
        await engine.create_sandbox(asking(f"s{i}"))
    await asyncio.gather(*(engine.start_sandbox(f"s{i}") for i in range(20)))
    assert len(plugs(world)) == 20
    await asyncio.gather(*(engine.remove_sandbox(f"s{i}", force=True) for i in range(20)))
    assert plugs(world) == set()
    assert engine.sandboxes() == []
    assert list(await engine.diagnose()) == []


async def test_a_client_that_goes_away_during_a_start_leaves_it_running(world: World, engine: Controller) -> None:
    await engine.create_sandbox(asking())
    task = asyncio.ensure_future(engine.start_sandbox("c1"))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: sandbox(engine).process is not None)
    assert await engine.stop_sandbox("c1")
    assert list(await engine.diagnose()) == []


async def test_a_join_is_announced_again(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        made = await start(engine, asking())
        announced = world.sandboxes.namespaces[made.netns].announced
        assert len(announced) == 1
        await until(lambda: len(announced) == 3)
        await engine.stop_sandbox("c1")


async def test_explain_follows_the_path_and_checks_it(world: World, engine: Controller) -> None:
    made = await start(engine, asking(ports=(PortBinding(80, host_port=8080),)))
    (path,) = await engine.explain("c1")
    assert (path.network, {step.problem for step in path.steps}) == ("web", {""})
    texts = {step.object: step.text for step in path.steps}
    assert texts["published port"] == "0.0.0.0:8080/tcp leads to port 80"
    assert texts["default route"] == "IPv4 by 10.9.0.1"
    inside = world.sandboxes.namespaces[made.netns]
    inside.links["eth0"] = replace(inside.links["eth0"], addresses=())
    inside.routes.clear()
    world.nft.flush()
    world.ports.held.clear()
    world.dns.broken.add(made.id)
    problems = {step.object: step.problem for step in (await engine.explain("c1"))[0].steps if step.problem}
    assert problems["interface"] == "address 10.9.0.2/24 is missing"
    assert problems["default route"] == "the IPv4 route is missing"
    assert problems["rules"].endswith("elements are missing")
    assert problems["names"] == "port 53 of 127.0.0.11 does not lead to its name server any more"
    assert problems["published port"] == (
        "the port is not held on this host: another process may take it; 1 of its set elements are missing"
    )


@pytest.mark.parametrize("lost", ["table", "server"])
async def test_doctor_reports_and_restores_lost_names(world: World, engine: Controller, lost: str) -> None:
    made = await start(engine, asking())
    await start(engine, asking("c2", "bridge"))
    assert list(await engine.diagnose()) == []
    if lost == "table":
        world.dns.broken.add(made.id)
    else:
        await world.dns.close(made.id)
    found = await engine.diagnose()
    assert [(finding.object, finding.repair) for finding in found] == [("sandbox c1", "serve them again")]
    assert list(await engine.repair()) == list(found)
    assert (world.dns.open_in[made.id], list(await engine.diagnose())) == (made.netns, [])
    await engine.stop_sandbox("c1")
    assert list(await engine.diagnose()) == []


@pytest.mark.parametrize("attached", [True, False])
async def test_names_that_cannot_be_served_undo_the_join(world: World, engine: Controller, attached: bool) -> None:
    world.sandboxes.make("/run/netns/x")
    world.dns.refuse = OSError(errno.EADDRNOTAVAIL, "cannot assign requested address")
    act = engine.create_sandbox(asking("xx", netns="/run/netns/x")) if attached else start(engine, asking("xx"))
    with pytest.raises(Failure, match=r"^sandbox xx: its name server at 127\.0\.0\.11 cannot be opened"):
        await act
    assert plugs(world) == set()
    assert (engine.sandbox("xx") is None) == attached
    assert list(await engine.diagnose()) == []


async def test_interfaces_that_the_command_made_are_named_around(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    inside = world.sandboxes.namespaces[made.netns]
    inside.links["eth1"] = replace(inside.links["eth0"], name="eth1", alias="", index=77)
    await engine.create_network(CreateNetwork("more"))
    await engine.connect("more", "c1")
    assert [e.ifname for e in engine.endpoints_in(made.id)] == ["eth0", "eth2"]
    assert list(await engine.diagnose()) == []


async def test_a_resolv_conf_that_was_edited_inside_is_left_alone(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    path = world.roots / "run" / "sandboxes" / made.id / "resolv.conf"
    assert "nameserver 127.0.0.11" in path.read_text()
    await engine.create_network(CreateNetwork("more"))
    await engine.connect("more", "c1")
    inode = path.stat().st_ino
    path.write_text("nameserver 192.0.2.1\n")
    await engine.stop_sandbox("c1")
    await engine.start_sandbox("c1")
    assert (path.read_text(), path.stat().st_ino) == ("nameserver 192.0.2.1\n", inode)
    hosts = (path.parent / "hosts").read_text().splitlines()
    assert [line for line in hosts if made.hostname in line] == [
        f"10.9.0.2\t{made.hostname}",
        f"10.0.1.2\t{made.hostname}",
    ]


@pytest.mark.parametrize("again", ["connect", "daemon", "daemon and connect"])
async def test_a_resolv_conf_of_the_users_survives_a_change_of_what_we_would_write(world: World, again: str) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        made = await start(engine, asking("c1", "bridge"))
        path = files_of(world, made) / "resolv.conf"
        assert "127.0.0.11" not in path.read_text()
        path.write_text("nameserver 192.0.2.1\n")
        if again == "connect":
            await engine.connect("web", "c1")
    async with running(world) as engine:
        if again == "daemon and connect":
            await engine.connect("web", "c1")
        assert path.read_text() == "nameserver 192.0.2.1\n"


async def test_files_and_names_follow_the_networks(world: World, engine: Controller) -> None:
    made = await start(engine, asking("c1", "bridge"))
    hosts, resolv_conf = files_of(world, made) / "hosts", files_of(world, made) / "resolv.conf"
    before = (hosts.read_text(), resolv_conf.read_text())
    assert made.id not in world.dns.open_in
    await engine.connect("web", "c1")
    assert hosts.read_text() == before[0] + f"10.9.0.2\t{made.hostname}\n"
    assert "nameserver 127.0.0.11\n" in resolv_conf.read_text()
    assert world.dns.open_in[made.id] == made.netns
    await engine.disconnect("web", "c1", force=False)
    assert (hosts.read_text(), resolv_conf.read_text()) == before
    assert made.id not in world.dns.open_in


async def test_hosts_keep_what_was_written_inside_until_the_end(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        made = await start(engine, asking())
        hosts = files_of(world, made) / "hosts"
        fresh, inode = hosts.read_text(), hosts.stat().st_ino
        with hosts.open("a") as file:
            file.write("192.0.2.1\tmine\n")
        await engine.create_network(CreateNetwork("more"))
        await engine.connect("more", "c1")
        both = f"{fresh}192.0.2.1\tmine\n10.0.1.2\t{made.hostname}\n"
        assert (hosts.read_text(), hosts.stat().st_ino) == (both, inode)
    async with running(world) as engine:
        assert hosts.read_text() == both
        await engine.disconnect("more", "c1", force=False)
        assert (hosts.read_text(), hosts.stat().st_ino) == (f"{fresh}192.0.2.1\tmine\n", inode)
        await engine.stop_sandbox("c1")
        await engine.start_sandbox("c1")
        assert hosts.read_text() == fresh


def files_of(world: World, made: Sandbox) -> Path:
    return world.roots / "run" / "sandboxes" / made.id


async def test_a_refresh_that_fails_does_not_undo_a_connect(world: World, engine: Controller) -> None:
    made = await start(engine, asking())
    await engine.create_network(CreateNetwork("more"))
    world.dns.refuse = OSError(errno.EMFILE, "too many open files")
    await engine.connect("more", "c1")
    assert len(engine.endpoints_in(made.id)) == 2
    assert len(plugs(world)) == 2


async def test_a_refused_connect_gives_its_ports_back(world: World, engine: Controller) -> None:
    await start(engine, asking(ports=(PortBinding(80, host_port=8080),)))
    await engine.create_network(CreateNetwork("six", enable_ipv6=True))
    world.sandboxes.faults.fail("join", errno.ENOBUFS)
    with pytest.raises(KernelError):
        await engine.connect("six", "c1")
    assert world.ports.held == {("tcp", "0.0.0.0", 8080)}
    await engine.connect("six", "c1")
    assert ("tcp", "::", 8080) in world.ports.held
