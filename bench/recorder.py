"""Where all figures of a run go."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field


def progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


@dataclass
class Recorder:
    """samples: (case, level) -> engine -> figures; level is how many networks, endpoints or ports exist meanwhile.

    units: case -> ms, us, MiB, 1/s or Gbit/s. notes: what a reader of the figures must know, in order.
    """

    samples: dict[tuple[str, int], dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    units: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, case: str, level: int, engine: str, figure: float, unit: str = "ms") -> None:
        self.units[case] = unit
        self.samples[case, level].setdefault(engine, []).append(figure)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"  note: {text}", flush=True)
