"""After hundreds of joins and leaves everything is where it was: descriptors, memory, links, rules, leases, namespaces,
threads, files. TOWLINE_LEAK_JOINS sets how many."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import boxes
from tests.support.boxes import SANDBOXES
from tests.support.daemon import Daemon, fresh_daemon
from tests.support.equality import assert_equal, networks
from tests.support.netns import Namespace, namespace
from tests.support.polling import eventually
from tests.support.snapshot import snapshot

JOINS = int(os.environ.get("TOWLINE_LEAK_JOINS") or 500)
WARM_UP = 50
GROWTH_KIB = 16 * 1024  # allocator's slack, not a share of the joins: 5,000 stay below it too
MOST_THREADS = 40  # of pools that fill when they are needed
CLIENTS = 4
LIMIT = pytest.mark.timeout(JOINS // 5 + 120)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/8,size=24") as made:
        made.start()
        boxes.make_network(made, "web", **boxes.pools("10.50.0.0/24", "fd00:50::/64"))
        boxes.make_network(made, "back", **boxes.pools("10.51.0.0/24", "fd00:51::/64"))
        yield made


def footprint(daemon: Daemon) -> dict[str, Any]:
    """All that a join could leave behind."""
    process = f"/proc/{daemon.pid}"
    kinds = sorted(kind for fd in os.listdir(f"{process}/fd") if (kind := kind_of(f"{process}/fd/{fd}")))
    roots = (daemon.exec_root, daemon.data_root)
    files = [sorted(str(path) for root in roots for path in (root / "sandboxes").glob("*/*")), snapshot(daemon)]
    leases = [daemon.http("GET", f"/towline/v1/networks/{n['Id']}/leases").json for n in networks(daemon).values()]
    return {"descriptors": kinds, "files": files, "leases": leases}


def kind_of(descriptor: str) -> str:
    """ "" if it was closed meanwhile."""
    try:
        return os.readlink(descriptor).partition(":")[0]
    except FileNotFoundError:
        return ""


def survives(daemon: Daemon, joins: Callable[[int], None]) -> None:
    """Pools of threads and sockets fill in the first joins; after them nothing may grow."""
    joins(WARM_UP)
    eventually(lambda: assert_equal(daemon), within=20)
    before, memory = footprint(daemon), daemon.rss_kib()
    began = time.monotonic()
    joins(JOINS)
    seconds = time.monotonic() - began
    eventually(lambda: same(footprint(daemon), before), within=20)
    assert_equal(daemon)
    assert len(os.listdir(f"/proc/{daemon.pid}/task")) <= MOST_THREADS
    growth = daemon.rss_kib() - memory
    sys.stdout.write(f"{JOINS} joins and leaves: {seconds:.1f} s, memory {growth:+d} KiB of {memory} KiB\n")
    assert growth < GROWTH_KIB


def same(found: dict[str, Any], before: dict[str, Any]) -> None:
    for what, value in before.items():
        assert found[what] == value, what


@LIMIT
def test_connects_and_disconnects(daemon: Daemon) -> None:
    boxes.run(daemon, "box", "web", ports=["8080:80", "5353:53/udp"])

    def joins(number: int) -> None:
        for _ in range(number):
            boxes.connect(daemon, "back", "box", GwPriority=1, Aliases=["db"])
            boxes.disconnect(daemon, "back", "box")

    survives(daemon, joins)


@LIMIT
def test_attached_namespaces(daemon: Daemon) -> None:
    """Several at once, two joins each, with ports and names; a question to the name server each."""
    with ExitStack() as stack:
        spaces = [stack.enter_context(namespace()) for _ in range(CLIENTS)]

        def one(space: Namespace, name: str, port: int) -> None:
            created = boxes.create(daemon, name, "web", "back", attach={"netns": space.path}, ports=[f"{port}:80"])
            assert created.status == 201, created
            assert space.call(boxes.ask_at, name) != []
            boxes.remove(daemon, name)

        def joins(number: int) -> None:
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(several, spaces, range(CLIENTS), [number // CLIENTS // 2] * CLIENTS))

        def several(space: Namespace, index: int, number: int) -> None:
            for _ in range(number):
                one(space, f"vm{index}", 9000 + index)

        survives(daemon, joins)


@LIMIT
def test_runs_stops_and_starts(daemon: Daemon) -> None:
    """Real processes, a twentieth as many: each round has two joins on two networks."""

    def joins(number: int) -> None:
        for _ in range(number // 20):
            boxes.run(daemon, "box", "web", "back", ports=["80"])
            boxes.stop(daemon, "box")
            boxes.start(daemon, "box")
            boxes.remove(daemon, "box")

    survives(daemon, joins)


@LIMIT
def test_refused_joins(daemon: Daemon) -> None:
    """What fails late gives back what it had taken: here the port is held by somebody else."""
    boxes.run(daemon, "holder", "web", ports=["8080:80"])
    assert boxes.create(daemon, "box", "web", "back", ports=["9090:80", "8080:80"]).status == 201

    def joins(number: int) -> None:
        for _ in range(number):
            assert daemon.http("POST", f"{SANDBOXES}/box/start", {}).status == 500

    survives(daemon, joins)
