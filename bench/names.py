"""Names: queries to the resolver that a container has at 127.0.0.11, from inside."""

from __future__ import annotations

from collections.abc import Sequence

from bench.boxes import Box, Boxes
from bench.inside import run_load
from bench.peers import Engine
from bench.recorder import Recorder

_ASKER, _KNOWN, _NETWORK = "asker", "known", "names"
_NEIGHBOURS = 20


def measure(engines: Sequence[Engine], recorder: Recorder, *, rounds: int, seconds: float) -> None:
    """rounds of `seconds` each, in turns; the name asked for is that of a neighbour on the same network."""
    everyone = [Boxes(engine) for engine in engines]
    for boxes in everyone:
        boxes.network(_NETWORK)
        boxes.run([Box(name, _NETWORK) for name in _names()])
    for _ in range(rounds):
        for boxes in everyone:
            inside, engine = boxes.namespace(_ASKER), boxes.engine.name
            for figure in run_load(inside, "latency", _KNOWN, str(seconds)):
                recorder.add("names, latency", 0, engine, figure, "us")
            recorder.add("names, answers", 0, engine, run_load(inside, "rate", _KNOWN, str(seconds))[0], "1/s")
        everyone.reverse()
    for boxes in everyone:
        boxes.remove(_names())
        boxes.close()


def _names() -> list[str]:
    return [_ASKER, _KNOWN, *(f"neighbour-{n}" for n in range(_NEIGHBOURS - 2))]
