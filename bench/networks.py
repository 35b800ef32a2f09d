"""Networks, op by op in turns: every engine does one operation, then every engine does the next."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from bench.client import BadReply, Client, create_request, request_bytes, send_all
from bench.peers import Engine, TooSlow
from bench.recorder import Recorder

CLIENTS = 16
_CHUNK = 100
_WARM_UP = 2
_LIST = request_bytes("GET", "/networks")


@dataclass(frozen=True)
class Limits:
    """rounds and seconds: whichever ends first, but never fewer than 5 rounds. fill_seconds: per engine and level.
    starts: rounds of start-up with no networks. start_seconds: after which an engine counts as too slow."""

    rounds: int
    seconds: float
    fill_seconds: float
    starts: int
    start_seconds: float


def start_up(engines: Sequence[Engine], recorder: Recorder, limits: Limits, *, level: int) -> list[Engine]:
    """Milliseconds from spawn to the first successful list, in turns. "start-up" includes what the daemon cannot work
    without (containerd), "restart" finds that running. Answers the engines that got ready in their time; they run."""
    running = list(engines)
    for case in ("start-up", "restart") * (limits.starts if level == 0 else 2):
        for engine in list(running):
            engine.stop(helpers=case == "start-up")
            try:
                recorder.add(case, level, engine.name, engine.start(limits.start_seconds) * 1000)
            except TooSlow:
                engine.kill()
                running.remove(engine)
                recorder.note(
                    f"{engine.name} was not ready {limits.start_seconds:g} s after its start with {level} networks; "
                    "it takes no part beyond"
                )
    return running


def memory(engines: Sequence[Engine], recorder: Recorder, *, level: int) -> None:
    for engine in engines:
        weight = engine.memory()
        recorder.add("memory, daemon rss", level, engine.name, weight.rss, "MiB")
        recorder.add("memory, daemon pss", level, engine.name, weight.pss, "MiB")
        recorder.add("memory, all pss", level, engine.name, weight.total_pss, "MiB")


def fill(engines: Sequence[Engine], level: int, recorder: Recorder, limits: Limits) -> list[Engine]:
    """Bring every engine to `level` networks with 16 clients, a hundred at a time in turns; creates a second are
    recorded per hundred. Answers the engines that got there in their time."""
    spent: dict[str, float] = defaultdict(float)
    filling = [engine for engine in engines if engine.networks < level]
    while filling:
        for engine in list(filling):
            count = min(_CHUNK, level - engine.networks)
            seconds = _create_many(engine, count)
            spent[engine.name] += seconds
            recorder.add(f"{CLIENTS} clients, filling to", level, engine.name, count / seconds, "1/s")
            if engine.networks >= level:
                filling.remove(engine)
            elif spent[engine.name] > limits.fill_seconds:
                filling.remove(engine)
                recorder.note(
                    f"{engine.name} was given {limits.fill_seconds:.0f} s to get to {level} networks and got to "
                    f"{engine.networks}; it takes no part beyond"
                )
    return [engine for engine in engines if engine.networks >= level]


def _create_many(engine: Engine, count: int) -> float:
    names = (f"fill-{engine.networks + index}" for index in range(count))
    started = time.perf_counter()
    replies = send_all(engine.socket, (create_request(name) for name in names), CLIENTS)
    seconds = time.perf_counter() - started
    for reply in replies:
        if reply.status != 201:
            raise BadReply(f"{engine.name}: {reply.status} {reply.body[:200].decode(errors='replace')}")
    engine.networks += count
    return seconds


class _Turn:
    """One engine's place in the rounds of one level."""

    def __init__(self, engine: Engine, level: int) -> None:
        self.engine = engine
        self.client = Client(engine.socket)
        self._prefix = f"probe-{level}"
        self._count = 0
        self._id = ""

    def create(self) -> float:
        self._count += 1
        reply = self.client.expect(201, create_request(f"{self._prefix}-{self._count}"))
        self._id = msgspec.json.decode(reply.body)["Id"]
        return reply.seconds

    def inspect(self) -> float:
        return self.client.expect(200, request_bytes("GET", f"/networks/{self._id}")).seconds

    def list(self) -> float:
        return self.client.expect(200, _LIST).seconds

    def remove(self) -> float:
        seconds = self.client.expect(204, request_bytes("DELETE", f"/networks/{self._id}")).seconds
        self.engine.sandbox.wait_gone(f"br-{self._id[:12]}")
        return seconds

    def remove_and_wait(self) -> float:
        return self.client.expect(204, request_bytes("DELETE", f"/networks/{self._id}?wait=1")).seconds


# create comes twice because both ways of removing need a network to remove.
_STEPS: tuple[tuple[str, Callable[[_Turn], float]], ...] = (
    ("create", _Turn.create),
    ("inspect", _Turn.inspect),
    ("list", _Turn.list),
    ("remove, answered", _Turn.remove),
    ("create", _Turn.create),
    ("remove, completed", _Turn.remove_and_wait),
)


def operations(engines: Sequence[Engine], level: int, recorder: Recorder, limits: Limits) -> None:
    """Milliseconds of each operation while `level` networks exist."""
    turns = [_Turn(engine, level) for engine in engines]
    deadline = time.monotonic() + limits.seconds
    for count in range(-_WARM_UP, limits.rounds):
        if count >= 5 and time.monotonic() > deadline:
            break
        for case, step in _STEPS:
            for turn in turns:
                milliseconds = step(turn) * 1000
                if count >= 0:
                    recorder.add(case, level, turn.engine.name, milliseconds)
        turns.reverse()
    for turn in turns:
        turn.client.close()
