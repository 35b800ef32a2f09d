"""Traffic: throughput and request/response over one TCP connection, between two containers and from outside."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench import load
from bench.boxes import FIRST_PORT, Box, Boxes
from bench.inside import run_load, start_server
from bench.peers import Engine
from bench.recorder import Recorder

_CLIENT, _SERVER, _NETWORK = "client", "server", "traffic"
_ROUTER, _OUTSIDE = "198.51.100.1", "198.51.100.2"


@dataclass(frozen=True)
class _Place:
    """One engine's two ways to the same server: from a container beside it, and from outside by a published port."""

    engine: str
    beside: str
    outside: str
    address: str


def measure(engines: Sequence[Engine], recorder: Recorder, *, rounds: int, seconds: float) -> None:
    """rounds of `seconds` each, in turns."""
    with contextlib.ExitStack() as stack:
        places = [_place(engine, stack) for engine in engines]
        for _ in range(rounds):
            for place in places:
                _one_round(place, recorder, seconds)
            places.reverse()


def _one_round(place: _Place, recorder: Recorder, seconds: float) -> None:
    stream, echo = str(load.STREAM), str(load.ECHO)
    published = (str(FIRST_PORT), str(FIRST_PORT + 1))
    for way, namespace, address, ports in (
        ("between two", place.beside, place.address, (stream, echo)),
        ("published port", place.outside, _ROUTER, published),
    ):
        figure = run_load(namespace, "throughput", address, ports[0], str(seconds))[0]
        recorder.add(f"TCP, {way}", 0, place.engine, figure, "Gbit/s")
        figure = run_load(namespace, "transactions", address, ports[1], str(seconds))[0]
        recorder.add(f"TCP requests, {way}", 0, place.engine, figure, "1/s")


def _place(engine: Engine, stack: contextlib.ExitStack) -> _Place:
    boxes = Boxes(engine)
    boxes.network(_NETWORK)
    boxes.run([Box(_CLIENT, _NETWORK), Box(_SERVER, _NETWORK, targets=(load.STREAM, load.ECHO))])
    stack.callback(boxes.close)
    stack.callback(boxes.remove, [_CLIENT, _SERVER])
    server = start_server(boxes.namespace(_SERVER))
    stack.callback(_end, server)
    return _Place(engine.name, boxes.namespace(_CLIENT), _outside(engine, stack), boxes.address(_SERVER, _NETWORK))


def _outside(engine: Engine, stack: contextlib.ExitStack) -> str:
    """A host on a cable to the engine's namespace; answers the path of its namespace."""
    host = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "-n", "sh", "-c", "echo ready; exec sleep infinity"],
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(_end, host)
    assert host.stdout is not None
    host.stdout.readline()
    engine.sandbox.ip(
        f"link add wan type veth peer name eth0 netns {host.pid}",
        f"address add {_ROUTER}/24 dev wan",
        "link set wan up",
    )
    namespace = f"/proc/{host.pid}/ns/net"
    lines = f"address add {_OUTSIDE}/24 dev eth0\nlink set eth0 up\n"
    subprocess.run(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], input=lines, text=True, check=True)
    return namespace


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
