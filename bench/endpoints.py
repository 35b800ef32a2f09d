"""Endpoints: connect and disconnect, with and without published ports, alone and many at once.

A container's ports are published where its way out is. So those with ports are made on an internal network, which
has none, and connecting them to another network publishes all their ports: the same for every engine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.boxes import FIRST_PORT, Box, Boxes, connect_request, disconnect_request, require
from bench.client import send_all
from bench.peers import Engine
from bench.plugins import Plugin, PluginHost
from bench.recorder import Recorder, progress
from bench.targets import AT_ONCE, IN_A_ROW

HOME, TARGET = "home", "target"
PORTS = (1, 10, 100)
PARALLEL = 50
_BLOCK = 5  # containers: each hundred joins, or nearly, has the same mix of containers on few and on many networks
_PROBE = "probe"
_WARM_UP = 2


@dataclass(frozen=True)
class Size:
    """rounds: of connect and disconnect. port_rounds: of connects with ports, each of a new container. boxes, networks:
    what is filled in, one endpoint for each pair; parallel_rounds: of all these boxes joining at once."""

    rounds: int
    port_rounds: int
    ports: Sequence[int]
    boxes: int
    networks: int
    parallel_rounds: int

    @property
    def endpoints(self) -> int:
        return self.boxes * self.networks


FULL = Size(rounds=30, port_rounds=5, ports=PORTS, boxes=PARALLEL, networks=20, parallel_rounds=3)
QUICK = Size(rounds=10, port_rounds=2, ports=(1, 10), boxes=8, networks=3, parallel_rounds=2)


def measure(engines: Sequence[Engine], plugins: Sequence[Plugin], recorder: Recorder, size: Size) -> None:
    """The plugins take part while nothing else exists: what keeps many containers apart is not theirs to know."""
    with contextlib.ExitStack() as stack:
        everyone = [Boxes(engine) for engine in engines]
        for boxes in everyone:
            stack.callback(boxes.close)
            boxes.network(HOME, internal=True)
            boxes.network(TARGET)
            boxes.run([Box(_PROBE, HOME)])
        hosts = [stack.enter_context(contextlib.closing(PluginHost(plugin))) for plugin in plugins]
        _turns(everyone, hosts, recorder, size, 0)
        _fill(everyone, recorder, size)
        _turns(everyone, [], recorder, size, size.endpoints)
        for boxes in everyone:
            boxes.remove([_PROBE, *(f"fill-{n}" for n in range(size.boxes))])


def _turns(everyone: Sequence[Boxes], hosts: Sequence[PluginHost], recorder: Recorder, size: Size, level: int) -> None:
    progress(f"connect and disconnect with {level} endpoints")
    order = list(everyone)
    for count in range(-_WARM_UP, size.rounds):
        for boxes in order:
            joined, answered, completed = _there_and_back(boxes)
            if count >= 0:
                recorder.add("connect", level, boxes.engine.name, joined)
                recorder.add("disconnect, answered", level, boxes.engine.name, answered)
                recorder.add("disconnect, completed", level, boxes.engine.name, completed)
        for host in hosts:
            joined, left = host.join(0), host.leave(0)
            if count >= 0:
                recorder.add("connect", level, host.name, joined * 1000)
                recorder.add("disconnect, answered", level, host.name, left * 1000)
        order.reverse()
    progress(f"connect with published ports and {level} endpoints")
    for ports in size.ports:
        case = f"connect, {ports} port{'s' * (ports > 1)}"
        for _ in range(size.port_rounds):
            for boxes in order:
                recorder.add(case, level, boxes.engine.name, _with_ports(boxes, ports))
            for host in hosts:
                recorder.add(case, level, host.name, host.join(ports) * 1000)
                host.leave(ports)
            order.reverse()


def _there_and_back(boxes: Boxes) -> tuple[float, float, float]:
    """Milliseconds: connect, disconnect until the answer, disconnect until the kernel has taken the link apart."""
    sandbox = boxes.engine.sandbox
    before = sandbox.links()
    sandbox.settle()
    joined = boxes.connect(TARGET, _PROBE)
    (link,) = sandbox.links() - before
    started = time.perf_counter()
    answered = boxes.disconnect(TARGET, _PROBE)
    sandbox.wait_gone(link)
    return joined * 1000, answered * 1000, (time.perf_counter() - started) * 1000


def _with_ports(boxes: Boxes, ports: int) -> float:
    """Milliseconds of the first connect of a new container: an engine may keep its ports from then on."""
    name = f"with-{ports}"
    boxes.run([Box(name, HOME, tuple(range(FIRST_PORT, FIRST_PORT + ports)))])
    boxes.engine.sandbox.settle()
    seconds = boxes.connect(TARGET, name)
    boxes.remove([name])
    return seconds * 1000


def _fill(everyone: Sequence[Boxes], recorder: Recorder, size: Size) -> None:
    """All boxes run on the first network; they join another and leave it all at once; then one after the other joins
    all the rest."""
    progress(f"making {size.boxes} containers; then all at once")
    names = [f"fill-{n}" for n in range(size.boxes)]
    for boxes in everyone:
        for n in range(size.networks):
            boxes.network(f"net-{n}")
        boxes.run([Box(name, "net-0") for name in names])
    for _ in range(size.parallel_rounds):
        for boxes in everyone:
            _at_once(boxes, names, recorder)
    progress(f"filling to {size.endpoints} endpoints, one after another")
    joins = [(f"net-{n}", name) for name in names for n in range(1, size.networks)]
    block = _BLOCK * (size.networks - 1)
    for at in range(0, len(joins), block):
        existing = len(names) + min(at + block, len(joins))
        for boxes in everyone:
            for network, name in joins[at : at + block]:
                recorder.add(IN_A_ROW, existing, boxes.engine.name, boxes.connect(network, name) * 1000)


def _at_once(boxes: Boxes, names: Sequence[str], recorder: Recorder) -> None:
    """Milliseconds until the last of them is answered."""
    engine = boxes.engine
    for case, request in ((AT_ONCE, connect_request), ("disconnects at once", disconnect_request)):
        started = time.perf_counter()
        require(200, send_all(engine.socket, (request(TARGET, name) for name in names), len(names)))
        recorder.add(f"{len(names)} {case}", len(names), engine.name, (time.perf_counter() - started) * 1000)
