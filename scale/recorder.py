"""When endpoints were published, and when nodes had their rows: what one process of nodes saw of it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from scale.wire import Published, Tracks
from towline.model.cluster import Peer
from towline.model.desired import Row


class Recorder:
    """Follows the MACs of endpoints from `begin` to `end`. rows: how many were put since it was asked last."""

    def __init__(self) -> None:
        self.rows = 0
        self._wanted: set[str] = set()
        self._follows = False
        self._published: dict[str, Published] = {}
        self._rows: dict[str, tuple[int, float]] = {}

    def begin(self) -> None:
        self._follows = True

    def expect(self, mac: str) -> None:
        """One of an endpoint that is about to come to a node of this process."""
        self._wanted.add(mac)

    def published(self, peers: Iterable[Peer], asked: float, answered: float) -> None:
        for peer in peers:
            if peer.mac in self._wanted:
                self._published.setdefault(peer.mac, Published(asked, answered))

    def programmed(self, rows: Iterable[Row]) -> None:
        now = time.monotonic()
        for row in rows:
            self.rows += 1
            if self._follows:
                self._rows[row.mac] = self._rows.get(row.mac, (0, 0.0))[0] + 1, now

    def tracks(self) -> Tracks:
        return Tracks(dict(self._published), dict(self._rows))

    def end(self) -> None:
        self._follows = False
        self._wanted.clear()
        self._published.clear()
        self._rows.clear()
