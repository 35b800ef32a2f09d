"""What the process needs of the engine and of its HTTP front."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from towline.control.contract import WholeEngine
from towline.model.config import Config

if TYPE_CHECKING:
    from aiohttp import web


class Service(Protocol):
    """The engine with everything it owns (store, kernel, worker threads)."""

    @property
    def engine(self) -> WholeEngine: ...

    async def start(self) -> None:
        """Returns when store and kernel agree and requests can be served."""
        ...

    async def stop(self) -> None:
        """Finish what was accepted and close; networks and their traffic stay as they are. Also called after a failed
        start."""
        ...

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration (debug, labels)."""
        ...


Build = Callable[[Config], Service]
MakeRunner = Callable[[WholeEngine], "web.BaseRunner"]
