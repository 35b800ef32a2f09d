"""Ends of sandboxes: processes that die, restart policies, attached namespaces, and what a restarted daemon finds."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from tests.support.engine import World, running
from tests.support.engine_sandboxes import WEB, asking, plugs, sandbox, start, until
from towline.control.controller import Controller
from towline.control.drift import Touched
from towline.model.errors import Conflict, NotFound
from towline.model.sandbox import PortBinding, Process


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def engine(world: World) -> AsyncIterator[Controller]:
    async with running(world) as engine:
        await engine.create_network(WEB)
        yield engine


async def test_a_process_that_dies_is_noticed(world: World, engine: Controller) -> None:
    made = await start(engine, asking(restart="no"))
    assert made.process is not None
    world.runtime.end(made.process, 3)
    await until(lambda: sandbox(engine).state == "exited")
    assert sandbox(engine).exit_code == 3
    assert plugs(world) == set()


async def test_auto_remove(world: World, engine: Controller) -> None:
    made = await start(engine, asking(auto_remove=True))
    assert made.process is not None
    world.runtime.end(made.process, 0)
    await until(lambda: engine.sandbox("c1") is None)


async def test_restart_policy(world: World, engine: Controller) -> None:
    made = await start(engine, asking(restart="on-failure"))
    assert made.process is not None
    world.runtime.end(made.process, 1)
    await until(lambda: sandbox(engine).process != made.process and sandbox(engine).process in world.runtime.alive)
    second = sandbox(engine).process
    assert second is not None
    world.runtime.end(second, 0)
    await until(lambda: sandbox(engine).state == "exited")
    await asyncio.sleep(0.15)
    assert sandbox(engine).state == "exited"


async def test_attached_sandboxes(world: World, engine: Controller) -> None:
    world.sandboxes.make("/run/netns/x")
    await engine.create_sandbox(asking("xx", netns="/run/netns/x"))
    made = sandbox(engine, "xx")
    assert (made.state, made.origin, made.netns) == ("running", "attach", "/run/netns/x")
    assert len(plugs(world)) == 1
    assert await engine.stop_sandbox("xx")
    assert plugs(world) == set()
    world.sandboxes.look("/run/netns/x")
    with pytest.raises(NotFound):
        await engine.create_sandbox(asking("yy", netns="/run/netns/nope"))


async def test_recovery_follows_what_lives_and_ends_what_does_not(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        lives = await start(engine, asking("lives", ports=(PortBinding(80, host_port=8080),)))
        dies = await start(engine, asking("dies"))
        again = await start(engine, asking("again", restart="always"))
        foreign = await start(engine, asking("foreground"))
    assert dies.process is not None
    assert again.process is not None
    for process in (dies.process, again.process):
        del world.runtime.alive[process]
    world.ports.held.clear()
    async with running(world) as engine:
        assert sandbox(engine, "lives").state == sandbox(engine, "foreground").state == "running"
        assert sandbox(engine, "dies").state == "exited"
        assert world.ports.held == {("tcp", "0.0.0.0", 8080)}
        assert {lives.id, foreign.id} <= set(world.dns.open_in)
        await until(lambda: sandbox(engine, "again").state == "running")
        assert list(await engine.diagnose()) == []


async def test_a_foreground_client_is_watched(world: World, engine: Controller) -> None:
    await engine.create_sandbox(asking())
    client = Process(77, 5)
    world.runtime.alive[client] = None
    files = await engine.start_sandbox("c1", process=client)
    assert files.netns == sandbox(engine).netns
    assert sandbox(engine).process == client
    world.runtime.end(client, 9)
    await until(lambda: sandbox(engine).state == "exited")
    assert sandbox(engine).exit_code == 9


async def test_an_old_end_does_not_end_a_new_run(world: World, engine: Controller) -> None:
    """start waits for the lock while stop waits for the process; its end is noticed when the second run has begun."""
    made = await start(engine, asking())
    stopping = asyncio.ensure_future(engine.stop_sandbox("c1"))
    starting = asyncio.ensure_future(engine.start_sandbox("c1"))
    await asyncio.gather(stopping, starting)
    await asyncio.sleep(0.05)
    again = sandbox(engine)
    assert again.state == "running"
    assert again.process not in (None, made.process)
    assert len(plugs(world)) == 1


async def test_stop_ends_a_pause_of_the_restart_policy(world: World, engine: Controller) -> None:
    made = await start(engine, asking(restart="always"))
    assert made.process is not None
    world.runtime.end(made.process, 1)
    await until(lambda: sandbox(engine).state == "exited")
    assert await engine.stop_sandbox("c1")
    assert sandbox(engine).stopped
    await asyncio.sleep(0.15)
    assert sandbox(engine).state == "exited"
    assert not await engine.stop_sandbox("c1")


async def test_restarts_are_counted_in_the_record(world: World, engine: Controller) -> None:
    made = await start(engine, asking(restart="on-failure:1"))
    first = made.process
    assert first is not None
    world.runtime.end(first, 1)
    await until(lambda: sandbox(engine).process not in (None, first) and sandbox(engine).process in world.runtime.alive)
    second = sandbox(engine).process
    assert second is not None
    assert sandbox(engine).restarts == 1
    world.runtime.end(second, 1)
    await until(lambda: sandbox(engine).state == "exited")
    await asyncio.sleep(0.25)
    assert sandbox(engine).state == "exited"
    await engine.start_sandbox("c1")
    assert sandbox(engine).restarts == 0


async def test_a_namespace_has_one_sandbox(world: World, engine: Controller) -> None:
    world.sandboxes.make("/run/netns/x")
    await engine.create_sandbox(asking("xx", netns="/run/netns/x"))
    with pytest.raises(Conflict, match=r"^/run/netns/x is the namespace of sandbox xx already: use `towline network"):
        await engine.create_sandbox(asking("yy", netns="/run/netns/x"))
    await engine.remove_sandbox("xx", force=True)
    await engine.create_sandbox(asking("yy", netns="/run/netns/x"))


@pytest.mark.parametrize("finder", ["doctor", "explain", "drift"])
async def test_an_attached_namespace_that_went_ends_its_sandbox(world: World, engine: Controller, finder: str) -> None:
    world.sandboxes.make("/run/netns/x")
    await engine.create_sandbox(asking("xx", netns="/run/netns/x"))
    link = engine.endpoints_in(sandbox(engine, "xx").id)[0].host_link
    del world.sandboxes.namespaces["/run/netns/x"]
    if finder == "doctor":
        await engine.diagnose()
    elif finder == "explain":
        await engine.explain("xx")
    else:
        del world.links.links[link]
        touched = Touched()
        touched.add_link(link, None)
        await engine.on_drift(touched)
    await until(lambda: sandbox(engine, "xx").state == "exited")


async def test_a_process_is_joined_by_a_pin_of_its_namespace(world: World, engine: Controller) -> None:
    process = Process(4711, 9)
    world.sandboxes.make("/proc/4711/ns/net")
    world.runtime.alive[process] = None
    await engine.create_sandbox(asking("xx", process=process))
    made = sandbox(engine, "xx")
    assert made.netns.endswith(f"/netns/{made.id[:12]}")
    assert world.sandboxes.identity(made.netns) == world.sandboxes.identity("/proc/4711/ns/net")
    world.runtime.end(process, 0)
    await until(lambda: sandbox(engine, "xx").state == "exited")
    await until(lambda: made.netns not in world.sandboxes.namespaces)
    assert plugs(world) == set()
    with pytest.raises(NotFound, match="has ended, or another one has its number now"):
        await engine.create_sandbox(asking("yy", process=process))


async def test_what_was_attached_and_is_gone_does_not_keep_the_daemon_from_starting(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        world.sandboxes.make("/run/netns/x")
        await engine.create_sandbox(asking("xx", netns="/run/netns/x"))
        await start(engine, asking("c1"))
    world.sandboxes.end("/run/netns/x")
    async with running(world) as engine:
        assert (sandbox(engine, "xx").state, sandbox(engine, "c1").state) == ("exited", "running")
        assert list(await engine.diagnose()) == []


async def test_names_that_cannot_be_served_again_keep_nobody_from_starting(world: World) -> None:
    async with running(world) as engine:
        await engine.create_network(WEB)
        await start(engine, asking("c1"))
        await start(engine, asking("c2"))
    world.dns.refuse = OSError(errno.EADDRNOTAVAIL, "no")
    async with running(world) as engine:
        assert {s.state for s in engine.sandboxes()} == {"running"}
        assert len(world.dns.open_in) == 1


async def test_a_dead_process_is_found_before_anything_is_plugged_in(world: World) -> None:
    """Its number may be somebody else's now."""
    async with running(world) as engine:
        await engine.create_network(WEB)
        made = await start(engine, asking("c1"))
    world.runtime.alive.clear()
    for name in plugs(world):
        del world.links.links[name]
    joins = world.sandboxes.namespaces[made.netns].announced.copy()
    stranger = world.sandboxes.namespaces[made.netns]
    async with running(world) as engine:
        assert sandbox(engine).state == "exited"
        assert stranger.announced == joins
