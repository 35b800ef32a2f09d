"""Which service a client means, and which ones a filter shows (moby daemon/cluster/{helpers,filters}.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from towline.model.errors import Failure, Forbidden, InvalidParameter, NotFound
from towline.model.service import Service
from towline.policy.filters import Filters, check_keys
from towline.policy.resolve import Lookup, for_get
from towline.policy.service import check_network_for_service

_KEYS = frozenset({"name", "id", "label", "mode", "runtime"})


class Known(Protocol):
    """`model.view.View` is one; `Listed` makes one of records at hand."""

    def service(self, service_id: str, /) -> Service | None: ...
    def service_named(self, name: str, /) -> Service | None: ...
    def services(self) -> Iterable[Service]: ...


class Listed:
    """Lookups are O(n)."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = tuple(services)

    def service(self, service_id: str, /) -> Service | None:
        return next((service for service in self._services if service.id == service_id), None)

    def service_named(self, name: str, /) -> Service | None:
        return next((service for service in self._services if service.name.lower() == name.lower()), None)

    def services(self) -> Iterable[Service]:
        return self._services


def find_service(known: Known, term: str) -> Service:
    """By full id, name, or unique prefix of an id, in this order. NotFound; InvalidParameter if it is ambiguous."""
    if (found := known.service(term) or known.service_named(term)) is not None:
        return found
    matches = [service for service in known.services() if term and service.id.startswith(term)]
    if len(matches) > 1:
        raise InvalidParameter(f"service {term[:100]} is ambiguous ({len(matches)} matches found)")
    if not matches:
        raise NotFound(f"service {term[:100]} not found")
    return matches[0]


def network_ids(networks: Lookup, terms: Iterable[str]) -> tuple[str, ...]:
    """Of the networks that a client names for a service. Docker answers 500 for one that is not there, and refuses
    those that services cannot be on."""
    found = []
    for term in terms:
        try:
            network = for_get(networks, term)
        except NotFound as refusal:
            raise Failure(str(refusal)) from None
        check_network_for_service(network)
        found.append(network.id)
    return tuple(found)


class ServiceFilter:
    """GET /services. InvalidParameter for an unknown key. Names and ids are prefixes; labels must all match."""

    def __init__(self, filters: Filters) -> None:
        check_keys(filters, _KEYS)
        self._names = [name.lower() for name in filters.get("name", {})]
        self._ids = list(filters.get("id", {}))
        self._labels = list(filters.get("label", {}))
        self._modes = list(filters.get("mode", {}))
        if wrong := [mode for mode in self._modes if mode not in ("replicated", "global")]:
            raise Forbidden(f"unknown mode: {wrong[0][:64]}")

    def matches(self, service: Service) -> bool:
        return (
            _begins(service.name.lower(), self._names)
            and _begins(service.id, self._ids)
            and (not self._modes or "replicated" in self._modes)
            and all(_labelled(service.labels, label) for label in self._labels)
        )


def _begins(text: str, prefixes: list[str]) -> bool:
    return not prefixes or any(text.startswith(prefix) for prefix in prefixes)


def _labelled(labels: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
