"""When endpoints were published, and when the last of the nodes that must have them had their rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from towline.model.cluster import Peer
from towline.model.desired import Row


class Track:
    """One endpoint. Times: monotonic seconds. rows: of those nodes that have put its row."""

    def __init__(self, kind: str, nodes: int) -> None:
        self.kind = kind
        self.nodes = nodes
        self.asked = 0.0
        self.answered = 0.0
        self.rows: list[float] = []

    @property
    def complete(self) -> bool:
        return bool(self.answered) and len(self.rows) >= self.nodes


class Recorder:
    """Follows the endpoints that it is told to, by their MACs. `programmed` is called from any thread."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}

    def expect(self, mac: str, kind: str, nodes: int) -> None:
        self.tracks[mac] = Track(kind, nodes)

    def published(self, peers: Iterable[Peer], asked: float, answered: float) -> None:
        for peer in peers:
            track = self.tracks.get(peer.mac)
            if track is not None and not track.answered:
                track.asked, track.answered = asked, answered

    def programmed(self, rows: Iterable[Row]) -> None:
        now = time.monotonic()
        for row in rows:
            track = self.tracks.get(row.mac)
            if track is not None:
                track.rows.append(now)

    async def all_complete(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not all(track.complete for track in self.tracks.values()):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        return True
