"""Which scopes a node's one stream carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Listener = Callable[[str, bool], None]
"""(scope, whether it is to be carried from now on)"""


class Scopes:
    """May change while a stream runs; whoever carries it out listens. For one event loop."""

    def __init__(self, *scopes: str) -> None:
        self._carried = dict.fromkeys(scopes)
        self._listeners: dict[object, Listener] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._carried))

    def __contains__(self, scope: str) -> bool:
        return scope in self._carried

    def __len__(self) -> int:
        return len(self._carried)

    def subscribe(self, scope: str) -> None:
        """Of one that is carried already: it begins anew, with a snapshot."""
        self._carried[scope] = None
        self._say(scope, True)

    def unsubscribe(self, scope: str) -> None:
        if scope in self._carried:
            del self._carried[scope]
            self._say(scope, False)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """From now on; the answer stops it."""
        key = object()
        self._listeners[key] = listener
        return lambda: self._forget(key)

    def _forget(self, key: object) -> None:
        self._listeners.pop(key, None)

    def _say(self, scope: str, carried: bool) -> None:
        for listener in tuple(self._listeners.values()):
            listener(scope, carried)
