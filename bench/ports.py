"""Many published ports: what connecting costs beside 10,000 of them. Ours alone: dockerd needs two processes for each
port, and a rule in three chains, one command each.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.boxes import Box, Boxes
from bench.peers import OURS, Engine
from bench.recorder import Recorder, progress

HOME, TARGET = "ports-home", "ports-target"
_EACH = 100
_FIRST = 10_000  # below the ephemeral range
_PROBE = "ports-probe"


def measure(engines: Sequence[Engine], recorder: Recorder, *, ports: int, rounds: int) -> None:
    """Milliseconds of connecting a container without ports, and a new one with one port, before and beside `ports`."""
    for engine in engines:
        if engine.name == OURS:
            boxes = Boxes(engine)
            boxes.network(HOME, internal=True)
            boxes.network(TARGET)
            boxes.run([Box(_PROBE, HOME)])
            _turns(boxes, recorder, rounds, 0)
            progress(f"publishing {ports} ports")
            filled = [Box(f"ports-{n}", TARGET, tuple(range(1, _EACH + 1)), _FIRST + n) for n in range(0, ports, _EACH)]
            boxes.run(filled)
            _turns(boxes, recorder, rounds, ports)
            boxes.remove([_PROBE, *(box.name for box in filled)])
            boxes.close()


def _turns(boxes: Boxes, recorder: Recorder, rounds: int, level: int) -> None:
    progress(f"connect beside {level} published ports")
    for _ in range(rounds):
        recorder.add("connect, beside ports", level, OURS, boxes.connect(TARGET, _PROBE) * 1000)
        recorder.add("disconnect, beside ports", level, OURS, boxes.disconnect(TARGET, _PROBE) * 1000)
        boxes.run([Box("one-port", HOME, (1,), _FIRST - 1)])
        boxes.engine.sandbox.settle()
        recorder.add("connect, 1 port, beside ports", level, OURS, boxes.connect(TARGET, "one-port") * 1000)
        boxes.remove(["one-port"])
