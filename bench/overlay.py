"""A network over two hosts: traffic, joins, and how soon a new endpoint is reached from the other host."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence

from bench import load
from bench.boxes import Box
from bench.inside import LoadFailed, run_load, start_reacher, start_server
from bench.pairs import LOCAL, NETWORK, Pair
from bench.peers import OURS, Engine, dockerd, towlined
from bench.recorder import Recorder, progress

_CLIENT, _SERVER, _JOINER = "client", "server", "joiner"


class _Place:
    """client on the manager's host; server and joiner on the worker's, the joiner on a local network meanwhile."""

    def __init__(self, engine: Engine, stack: contextlib.ExitStack) -> None:
        make = towlined if engine.name == OURS else dockerd
        self.pair = Pair(make, engine.directory, stack)
        self.name = engine.name
        here, self.there = self.pair.hosts
        here.run([Box(_CLIENT, NETWORK)])
        self.there.run([Box(_SERVER, NETWORK), Box(_JOINER, LOCAL)])
        self.client = here.namespace(_CLIENT)
        for name in (_SERVER, _JOINER):
            stack.callback(_end, start_server(self.there.namespace(name)))
        self.address = self.there.address(_SERVER, NETWORK)
        self.reacher = start_reacher(self.client)
        stack.callback(_end, self.reacher)

    def traffic(self, recorder: Recorder, seconds: float) -> None:
        figure = run_load(self.client, "throughput", self.address, str(load.STREAM), str(seconds))[0]
        recorder.add("TCP, two hosts", 0, self.name, figure, "Gbit/s")
        figure = run_load(self.client, "transactions", self.address, str(load.ECHO), str(seconds))[0]
        recorder.add("TCP requests, two hosts", 0, self.name, figure, "1/s")

    def join(self, recorder: Recorder | None) -> None:
        """The joiner joins, is reached, and leaves. recorder: None while warming up."""
        started = time.perf_counter()
        seconds = self.there.connect(NETWORK, _JOINER)
        reached = self._when("reach") - started
        left = self.there.disconnect(NETWORK, _JOINER)
        self._when("gone")
        if recorder is not None:
            recorder.add("overlay connect", 0, self.name, seconds * 1e3)
            recorder.add("overlay connect, reached", 0, self.name, reached * 1e3)
            recorder.add("overlay disconnect", 0, self.name, left * 1e3)

    def _when(self, verb: str) -> float:
        """When, by `time.perf_counter`, the client on the other host has reached the joiner, or finds no name."""
        assert self.reacher.stdin is not None
        assert self.reacher.stdout is not None
        self.reacher.stdin.write(f"{verb} {_JOINER}\n")
        self.reacher.stdin.flush()
        said = self.reacher.stdout.readline()
        if not said:
            raise LoadFailed(f"{self.name}: {_JOINER} is not {verb} from the other host in time")
        return float(said)


def measure(engines: Sequence[Engine], recorder: Recorder, *, rounds: int, seconds: float) -> None:
    """rounds of everything, in turns. engines: which; their own daemons take no part."""
    with contextlib.ExitStack() as stack:
        places = []
        for engine in engines:
            progress(f"two hosts of {engine.name}")
            places.append(_Place(engine, stack))
        for number in range(rounds + 1):
            for place in places:
                place.join(recorder if number else None)
                if number:
                    place.traffic(recorder, seconds)
            places.reverse()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
