"""Which network a client means: full id, name, or unique id prefix (moby findUniqueNetwork and daemon/network.go).

A name wins over another network's id prefix. The texts differ between GET, DELETE and everything else, as in Docker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from towline.model.errors import InvalidParameter, NotFound
from towline.model.network import Network


class Lookup(Protocol):
    """`model.view.View` and `control.contract.Engine` are such; `Listing` makes one of a plain sequence."""

    def network(self, network_id: str, /) -> Network | None: ...
    def network_named(self, name: str, /) -> Network | None: ...
    def networks(self) -> Iterable[Network]: ...


class Listing:
    """A `Lookup` over networks that are at hand already. Lookups are O(n)."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def network(self, network_id: str, /) -> Network | None:
        return next((n for n in self._networks if n.id == network_id), None)

    def network_named(self, name: str, /) -> Network | None:
        return next((n for n in self._networks if n.name == name), None)

    def networks(self) -> Sequence[Network]:
        return self._networks


def for_get(networks: Lookup, term: str, scope: str = "") -> Network:
    """GET /networks/{id}. With `scope`, networks of another scope do not exist.

    NotFound; InvalidParameter if several ids begin with `term`.
    """
    return _resolve(networks, term, scope, _ambiguous_get)


def for_delete(networks: Lookup, term: str) -> Network:
    """DELETE /networks/{id}. An empty term is a prefix of every id, as in Docker. Errors as `for_get`."""
    return _resolve(networks, term, "", _ambiguous)


def for_connect(networks: Lookup, term: str) -> Network:
    """Connect, disconnect and container start (moby daemon/network.go:60-94). Errors as `for_get`."""
    return _resolve(networks, term, "", _ambiguous)


def _resolve(networks: Lookup, term: str, scope: str, ambiguous: Callable[[str, int], InvalidParameter]) -> Network:
    for found in (networks.network(term), networks.network_named(term)):
        if found is not None and scope in ("", found.scope):
            return found
    matches = _with_prefix(networks, term, scope)
    if len(matches) > 1:
        raise ambiguous(term, len(matches))
    if not matches:
        raise NotFound(f"network {term} not found")
    return matches[0]


def _with_prefix(networks: Lookup, term: str, scope: str) -> list[Network]:
    if term and not term.isalnum():
        return []
    return [n for n in networks.networks() if n.id.startswith(term) and scope in ("", n.scope)]


def _ambiguous_get(term: str, count: int) -> InvalidParameter:
    return InvalidParameter(f"{count} matches found based on ID prefix: network {term} is ambiguous")


def _ambiguous(term: str, count: int) -> InvalidParameter:
    return InvalidParameter(f"network {term} is ambiguous ({count} matches found based on ID prefix)")
