"""What planners may see of the state: a read-only view, current at the moment it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from towline.model.endpoint import Endpoint
from towline.model.network import Network


class View(Protocol):
    """Lookups are O(1) unless said; an absent object is None (could-not-read never gets this far)."""

    @property
    def revision(self) -> int: ...
    def network(self, network_id: str) -> Network | None: ...
    def network_named(self, name: str) -> Network | None: ...
    def network_with_link(self, link: str) -> Network | None: ...
    def networks(self) -> Iterable[Network]: ...
    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]: ...
    def dependants_of(self, config_name: str) -> tuple[Network, ...]:
        """Networks made with config-from this one; O(n)."""
        ...
