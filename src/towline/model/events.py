"""Events as Docker's /events shows them (docker-api facts, part 8)."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True):
    """time: nanoseconds since the epoch."""

    type: str
    action: str
    actor: str
    attributes: dict[str, str]
    scope: str
    time: int
