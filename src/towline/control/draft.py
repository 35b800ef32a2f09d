"""The state as it will be once the requests planned before in the same batch are committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.view import View
from towline.store.contract import Change, Delete, Put


class Draft:
    """A View over a View: the base, with the networks of earlier plans laid over it."""

    def __init__(self, base: View) -> None:
        self._base = base
        self._added: dict[str, Network] = {}
        self._removed: set[str] = set()

    def stage(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Put) and isinstance(change.record, Network):
                self._added[change.record.id] = change.record
            elif isinstance(change, Delete) and change.kind is Network:
                self._added.pop(change.id, None)
                self._removed.add(change.id)

    @property
    def revision(self) -> int:
        return self._base.revision

    def network(self, network_id: str) -> Network | None:
        return self._added.get(network_id) or self._still(self._base.network(network_id))

    def network_named(self, name: str) -> Network | None:
        return self._new(lambda n: n.name == name) or self._still(self._base.network_named(name))

    def network_with_link(self, link: str) -> Network | None:
        return self._new(lambda n: n.link == link) or self._still(self._base.network_with_link(link))

    def networks(self) -> Iterable[Network]:
        yield from (n for n in self._base.networks() if n.id not in self._removed)
        yield from self._added.values()

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return self._base.endpoints_of(network_id)

    def dependants_of(self, config_name: str) -> tuple[Network, ...]:
        added = tuple(n for n in self._added.values() if n.config_from == config_name)
        return added + tuple(n for n in self._base.dependants_of(config_name) if n.id not in self._removed)

    def _still(self, network: Network | None) -> Network | None:
        return None if network is None or network.id in self._removed else network

    def _new(self, wanted: Callable[[Network], bool]) -> Network | None:
        return next((n for n in self._added.values() if wanted(n)), None)
