"""A sandbox that forges without a pause, while it is plugged in and out: its neighbour never hears of it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support import boxes, frames
from tests.support.boxes import Stage, World
from tests.support.frames import BROADCAST
from tests.support.netns import Namespace

FORGED = "02:00:00:00:66:66"
GATEWAY, NOBODY, NEAR = "10.50.0.1", "10.50.0.77", "10.50.0.9"
ROUNDS, PAUSE = 10, 0.05
FRAMES = (
    frames.ether(FORGED, BROADCAST, frames.ARP, frames.arp(FORGED, GATEWAY, NEAR, reply=True)),
    frames.ether(FORGED, BROADCAST, frames.IPV4, frames.udp(NOBODY, NEAR)),
)
FLOOD = f"""
import socket
frames = {FRAMES!r}
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
while True:
    try:
        for frame in frames:
            sock.sendto(frame, ("eth0", 0))
    except OSError:
        pass
"""


class Ear:
    """Counts the forged frames that come in on an interface."""

    def __init__(self, ns: Namespace, link: str) -> None:
        self._socket = ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        ns.call(self._socket.bind, (link, 3))
        self._socket.setblocking(False)

    def heard(self) -> int:
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(2048)
                count += data[6:12] == bytes.fromhex(FORGED.replace(":", ""))
        return count

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with boxes.world() as made:
        yield made


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    with world.using() as made:
        made.network("web", "10.50.0.0/24")
        yield made


def test_nothing_forged_gets_through_around_connect_and_disconnect(world: World, stage: Stage) -> None:
    daemon = world.daemon
    near = stage.box("near", {"network": "web", "ipv4": NEAR})
    bad = stage.box("bad", "web", command=["python3", "-c", FLOOD])
    with contextlib.closing(Ear(near.ns, "eth0")) as ear:
        for _ in range(ROUNDS):
            boxes.disconnect(daemon, "web", "bad")
            boxes.connect(daemon, "web", "bad")
            time.sleep(PAUSE)  # of flooding, not of waiting for anything
        boxes.stop(daemon, "bad")
        boxes.start(daemon, "bad")
        time.sleep(PAUSE)
        assert ear.heard() == 0
        port = bad.endpoint("web")["host_link"]
        daemon.run("nft", "delete", "element", "bridge", "towline", "guarded", f'{{ "{port}" }}')
        assert hears_soon(ear), "the flood would not have been heard: the test proves nothing"


def hears_soon(ear: Ear) -> bool:
    end = time.monotonic() + frames.PATIENCE
    while time.monotonic() < end:
        if ear.heard():
            return True
    return False
