"""The bus behind /events: the last events are kept for `since`, and every subscriber gets each new one in order."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator

from towline.model.events import Event

KEPT = 256  # moby daemon/events/events.go: eventsLimit
BACKLOG = 1024


class EventBus:
    """Implements `control.contract.Events`. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        # Weak: who drops a subscription without ever iterating it is gone from here.
        self._subscribers: weakref.WeakSet[asyncio.Queue[Event | None]] = weakref.WeakSet()

    def publish(self, event: Event) -> None:
        self._kept.append(event)
        for queue in tuple(self._subscribers):
            if queue.qsize() >= BACKLOG:
                self._subscribers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def past(self, since: int, until: int | None) -> list[Event]:
        return [e for e in self._kept if e.time >= since and (until is None or e.time <= until)]

    def subscribe(self) -> AsyncIterator[Event]:
        """Subscribed from this call on, not from the first iteration: no gap after `past`."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribers.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.discard(queue)

    @property
    def listeners(self) -> int:
        return len(self._subscribers)

    def close(self) -> None:
        """End every subscription."""
        for queue in self._subscribers:
            queue.put_nowait(None)
        self._subscribers.clear()
