"""What the daemon says about itself."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One difference between store and kernel.

    object: what it is about ("network web", "link br-0123456789ab", "table inet towline"). problem: what differs.
    repair: what `--fix` would do.
    """

    object: str
    problem: str
    repair: str


class Counters(msgspec.Struct):
    """Monotonic counts since start, written by control on its one thread."""

    created: int = 0
    removed: int = 0
    failed: int = 0
    batches: int = 0
    joins: int = 0
    leaves: int = 0
    drift_repairs: int = 0
    reconciles: int = 0


class PathStep(msgspec.Struct, frozen=True):
    """One thing on an endpoint's way. text: how it should be. problem: how the kernel differs, "" if it does not."""

    object: str
    text: str
    problem: str = ""


class EndpointPath(msgspec.Struct, frozen=True):
    """endpoint: its id. steps: from the process outwards."""

    endpoint: str
    network: str
    steps: tuple[PathStep, ...]
