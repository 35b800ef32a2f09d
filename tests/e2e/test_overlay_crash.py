"""The daemon killed after every step of the first join and the last leave on a global network, and the kernel refusing
each of them, while the node is cut off from its cluster: store and kernel agree afterwards, rows included."""

from __future__ import annotations

import errno
import http.client
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import pytest

from tests.support import boxes
from tests.support.boxes import SANDBOXES
from tests.support.crashing_daemon import Refusal
from tests.support.daemon import Answer
from tests.support.faulty_daemon import FaultyDaemon, faulty_daemon
from tests.support.polling import eventually
from towline.control.data_path import META_DATA_PATH
from towline.model.cluster import Block, Peer, Underlay
from towline.model.network import Network, Pool
from towline.store.contract import Put, SetMeta
from towline.store.open import open_store

CUT = (http.client.HTTPException, ConnectionError)
ID = "0zqk3v7n1mhx2u9f8c6d5e4ab"
BRIDGE, TUNNEL = "br-0zqk3v7n1mhx", "vx-0zqk3v7n1mhx"
NETWORK = Network(
    id=ID,
    name="ov",
    created=1,
    driver="overlay",
    phase="ready",
    scope="swarm",
    attachable=True,
    pools=(Pool("10.60.0.0/24", gateway="10.60.0.1"),),
    options={"com.docker.network.driver.overlay.vxlanid_list": "4097"},
    link=BRIDGE,
)
BLOCK = Block(network=ID, subnet="10.60.0.0/24", prefix="10.60.0.0/28", node="n1")
PEERS = [
    Peer(
        id=f"{number:064x}",
        network=ID,
        node="n2",
        vtep=f"192.0.2.{number}",
        mac=f"02:00:00:00:00:{number:02x}",
        ipv4=f"10.60.0.{100 + number}/24",
    )
    for number in (2, 3)
]
DATA_PATH = {"underlay": Underlay("192.0.2.1"), "vteps": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}


class World:
    """`work` is on the global network alone; `back` is a network of this host."""

    def __init__(self, faulty: FaultyDaemon) -> None:
        self.faulty = faulty
        self.daemon = faulty.daemon
        self.daemon.stop()
        with closing(open_store(self.daemon.data_root).store) as store:
            store.update([Put(NETWORK), Put(BLOCK), *map(Put, PEERS)])
            store.update([SetMeta(META_DATA_PATH, msgspec.json.encode(DATA_PATH).decode())])
        self.daemon.start()
        boxes.make_network(self.daemon, "back", **boxes.pools("10.51.0.0/24", "fd00:51::/64"))

    def restore(self, networks: tuple[str, ...], *, running: bool) -> None:
        """`work` anew, on these networks."""
        self.daemon.http("DELETE", f"{SANDBOXES}/work?force=1")
        assert boxes.create(self.daemon, "work", *networks).status == 201
        if running:
            assert self.daemon.http("POST", f"{SANDBOXES}/work/start", {}).status == 200

    def come_back(self) -> None:
        self.faulty.order()
        self.daemon.wait()
        self.daemon.start()

    def check(self) -> None:
        assert self.daemon.http("GET", "/towline/v1/diagnose").json == []
        work = boxes.inspect(self.daemon, "work") if self._there() else None
        present = bool(work and any(e["network_name"] == "ov" and e["ifname"] for e in work["endpoints"]))
        links = {link["ifname"]: link for link in json.loads(self.daemon.run_apart("ip", "-j", "-d", "link") or "[]")}
        assert {BRIDGE, TUNNEL} & set(links) == ({BRIDGE, TUNNEL} if present else set())
        assert self.daemon.overlay_namespace.exists() is present
        if present:
            assert links[TUNNEL]["master"] == BRIDGE
            assert links[TUNNEL]["linkinfo"]["info_data"]["id"] == 4097
            assert self._rows() == {("02:00:00:00:00:02", "192.0.2.2"), ("02:00:00:00:00:03", "192.0.2.3")}

    def _there(self) -> bool:
        return self.daemon.http("GET", f"{SANDBOXES}/work").status == 200

    def index(self, name: str) -> int:
        (link,) = json.loads(self.daemon.run_apart("ip", "-j", "link", "show", name))
        return int(link["ifindex"])

    def _rows(self) -> set[tuple[str, str]]:
        shown = json.loads(self.daemon.run_apart("bridge", "-j", "fdb", "show", "dev", TUNNEL))
        return {(row["mac"], row["dst"]) for row in shown if "dst" in row}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with faulty_daemon("--default-address-pool", "base=10.0.0.0/8,size=24") as faulty:
        yield World(faulty)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    shared.faulty.order()
    if shared.daemon.process.poll() is not None:
        shared.daemon.start()


def start(world: World) -> Answer:
    return world.daemon.http("POST", f"{SANDBOXES}/work/start", {})


def connect(world: World) -> Answer:
    return world.daemon.http("POST", "/networks/ov/connect", {"Container": "work"})


def disconnect(world: World) -> Answer:
    return world.daemon.http("POST", "/networks/ov/disconnect", {"Container": "work"})


def stop(world: World) -> Answer:
    return world.daemon.http("POST", f"{SANDBOXES}/work/stop?t=5")


Change = Callable[[World], Answer]
BEFORE: dict[Change, tuple[tuple[str, ...], bool]] = {
    start: (("ov",), False),
    connect: (("back",), True),
    disconnect: (("ov", "back"), True),
    stop: (("ov",), True),
}


def name_of(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("change", BEFORE, ids=name_of)
def test_killed_after_every_step(world: World, change: Change) -> None:
    networks, running = BEFORE[change]
    reached = 0
    for step in range(2, 100, 2):
        world.restore(networks, running=running)
        eventually(world.check)
        world.faulty.order(kill_at=step)
        try:
            answered = change(world).status < 300
        except CUT:
            answered = False
        if answered and not dies(world):
            break
        reached = step
        world.come_back()
        eventually(world.check)
    else:
        pytest.fail("the change never ended")
    assert reached >= 8, "hardly a step was counted: are the seams still wrapped?"
    sys.stdout.write(f"{change.__name__}: killed at half-steps up to {reached}\n")


def dies(world: World) -> bool:
    """Of a step that comes after the answer."""

    def ended() -> None:
        assert world.daemon.process.poll() is not None

    try:
        eventually(ended, within=1.5)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("verb", ["create_bridges", "create", "commit", "join"])
@pytest.mark.parametrize("change", [start, connect], ids=name_of)
def test_what_the_kernel_refuses_is_taken_back(world: World, change: Change, verb: str) -> None:
    networks, running = BEFORE[change]
    world.restore(networks, running=running)
    world.faulty.order(Refusal(verb, errno.ENOMEM))
    refused = change(world)
    assert refused.status == 500
    assert "cannot allocate memory" in str(refused)
    eventually(world.check)
    assert change(world).status < 300
    eventually(world.check)


@pytest.mark.parametrize("verb", ["silence", "commit", "leave", "remove"])
@pytest.mark.parametrize("change", [disconnect, stop], ids=name_of)
def test_an_end_that_the_kernel_refuses_is_made_good(world: World, change: Change, verb: str) -> None:
    networks, running = BEFORE[change]
    world.restore(networks, running=running)
    world.faulty.order(Refusal(verb, errno.ENOMEM))
    assert change(world).status < 300
    eventually(world.check)


def test_after_a_reboot_all_is_made_again(world: World) -> None:
    world.restore(("ov",), running=True)
    world.daemon.kill()
    world.daemon.run("nft", "flush", "ruleset")
    world.daemon.run("umount", str(world.daemon.overlay_namespace))
    world.daemon.start()
    eventually(world.check)


def test_a_pin_that_somebody_takes_away_is_put_back_and_the_traffic_goes_on(world: World) -> None:
    world.restore(("ov",), running=True)
    eventually(world.check)
    index = world.index(BRIDGE)
    pin = str(world.daemon.overlay_namespace)
    world.daemon.run("umount", pin)
    assert world.daemon.http("POST", "/towline/v1/repair").status == 200
    assert world.index(BRIDGE) == index
    world.daemon.kill()
    world.daemon.start()
    eventually(world.check)
    assert world.index(BRIDGE) == index


def test_what_a_daemon_before_left_in_the_hosts_namespace_goes(world: World) -> None:
    """Bridge, tunnel and host end, as they were when overlay networks had no namespace of their own."""
    world.restore(("ov",), running=True)
    eventually(world.check)
    work = boxes.inspect(world.daemon, "work")
    netns = work["netns"]
    (endpoint,) = (e for e in work["endpoints"] if e["network_name"] == "ov")
    world.daemon.kill()
    world.daemon.run("umount", str(world.daemon.overlay_namespace))
    world.daemon.overlay_namespace.unlink()  # sandboxes have the mount too, and lose it with its file
    for command in (
        f"ip link add {BRIDGE} type bridge",
        f"ip link set {BRIDGE} alias towline:network:{ID}",
        f"ip link add {TUNNEL} type vxlan id 4097 dstport 4789 local 192.0.2.1 nolearning proxy",
        f"ip link set {TUNNEL} master {BRIDGE} alias towline:tunnel:{ID}",
        f"ip link add {endpoint['host_link']} type veth peer name eth0 netns {netns}",
        f"ip link set {endpoint['host_link']} master {BRIDGE} alias towline:endpoint:{endpoint['id']}",
    ):
        eventually(partial(world.daemon.run, *command.split()))  # until the namespace has ended
    world.daemon.start()
    eventually(world.check)
    names = {link["ifname"] for link in json.loads(world.daemon.run("ip", "-j", "link"))}
    assert not {BRIDGE, TUNNEL, endpoint["host_link"]} & names
