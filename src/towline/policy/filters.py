"""The `filters` parameter: read once, checked by what it filters, matched without waiting.

Semantics: moby daemon/internal/filters/parse.go, daemon/network/filter.go, daemon/prune.go, daemon/events/filter.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from towline.model.errors import Failure, InvalidParameter
from towline.model.events import Event
from towline.model.network import RESERVED_NAMES, Network
from towline.model.sandbox import Sandbox
from towline.policy import patterns
from towline.policy.timestamps import parse_moment

Filters = Mapping[str, Mapping[str, bool]]
"""Key -> values. A value mapped to false fails exact matches and still serves as a pattern, as in Docker."""

_CURRENT = msgspec.json.Decoder(dict[str, dict[str, bool]] | None)
_LEGACY = msgspec.json.Decoder(dict[str, list[str]] | None)
_LIST_KEYS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_CONTAINER_KEYS = frozenset({"exited", "id", "label", "name", "network", "status"})
_STATUSES = frozenset({"created", "restarting", "running", "removing", "paused", "exited", "dead"})
_PRUNE_KEYS = frozenset({"label", "label!", "until"})
_ACTOR_KEYS = ("config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume")


def parse(text: str) -> Filters:
    """`{"key":{"value":true}}`, or the legacy `{"key":["value"]}`. InvalidParameter for anything else."""
    if not text:
        return {}
    try:
        return _CURRENT.decode(text) or {}
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    try:
        legacy = _LEGACY.decode(text) or {}
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise InvalidParameter("invalid filter") from None
    return {key: dict.fromkeys(values, True) for key, values in legacy.items()}


class NetworkFilter:
    """GET /networks. Raises when made: InvalidParameter, or Failure for an unknown `type` (Docker answers it 500)."""

    def __init__(self, filters: Filters) -> None:
        check_keys(filters, _LIST_KEYS)
        self._filters = filters
        self._dangling = _dangling(filters.get("dangling", {}))
        self._types = _types(filters.get("type", {}))
        self._id = _Pattern(filters.get("id", {}))
        self._name = _Pattern(filters.get("name", {}))

    def matches(self, network: Network, in_use: Callable[[str], bool]) -> bool:
        """in_use: whether the network of that id has endpoints; asked only when the filter needs it."""
        filters = self._filters
        return (
            _exact(filters, "driver", network.driver)
            and _exact(filters, "scope", network.scope)
            and self._id.matches(network.id)
            and self._name.matches(network.name)
            and _labels(filters.get("label", {}), network.labels)
            and (not self._types or ("builtin" if network.name in RESERVED_NAMES else "custom") in self._types)
            and (self._dangling is None or self._dangling == _is_dangling(network, in_use))
        )


class ContainerFilter:
    """GET /containers/json (moby daemon/list.go). InvalidParameter when made."""

    def __init__(self, filters: Filters) -> None:
        check_keys(filters, _CONTAINER_KEYS)
        for status in filters.get("status", {}):
            if status not in _STATUSES:
                raise InvalidParameter(f"invalid filter 'status={status}'")
        for code in filters.get("exited", {}):
            if not (code.isascii() and code.isdigit()):
                raise InvalidParameter(f"invalid filter 'exited={code}'")
        self._filters = filters
        self._id = _Pattern(filters.get("id", {}))
        self._name = _Pattern(filters.get("name", {}))

    @property
    def shows_ended(self) -> bool:
        """Whether it asks for more than what runs, without `all`."""
        return bool(self._filters.get("status") or self._filters.get("exited"))

    def matches(self, sandbox: Sandbox, networks: Iterable[Network]) -> bool:
        """networks: those it is connected to."""
        filters = self._filters
        on = filters.get("network", {})
        return (
            _exact(filters, "status", sandbox.state)
            and self._id.matches(sandbox.id)
            and (self._name.matches(sandbox.name) or self._name.matches(f"/{sandbox.name}"))
            and _labels(filters.get("label", {}), sandbox.labels)
            and (not on or any(on.get(n.id) or on.get(n.name) for n in networks))
            and (not filters.get("exited") or _has_exited(filters["exited"], sandbox))
        )


class PruneFilter:
    """POST /networks/prune. now: nanoseconds since the epoch. InvalidParameter when made."""

    def __init__(self, filters: Filters, now: int) -> None:
        check_keys(filters, _PRUNE_KEYS)
        until = filters.get("until", {})
        if len(until) > 1:
            raise InvalidParameter("more than one until filter specified")
        self._until = parse_moment(next(iter(until)), now) if until else None
        self._with = filters.get("label", {})
        self._without = filters.get("label!", {})

    def keeps(self, network: Network) -> bool:
        """True if the network must not be pruned."""
        return (
            (self._until is not None and network.created > self._until)
            or not _labels(self._with, network.labels)
            or (bool(self._without) and _labels(self._without, network.labels))
        )


class EventFilter:
    """GET /events. Unknown keys are ignored, as in Docker."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    def matches(self, event: Event) -> bool:
        filters = self._filters
        return not filters or (
            _exact(filters, "event", event.action)
            and _exact(filters, "type", event.type)
            and _exact(filters, "scope", event.scope)
            and _labels(filters.get("label", {}), event.attributes)
            and all(_actor(filters[key], event) for key in _ACTOR_KEYS if filters.get(key))
        )


class _Pattern:
    """Exact or regular expression, any of them."""

    def __init__(self, values: Mapping[str, bool]) -> None:
        self._exact = values
        self._patterns = [patterns.matcher(value) for value in values]

    def matches(self, text: str) -> bool:
        return not self._exact or self._exact.get(text, False) or any(p(text) for p in self._patterns)


def check_keys(filters: Filters, known: frozenset[str]) -> None:
    """InvalidParameter for a key that is not known."""
    for key in filters:
        if key not in known:
            raise InvalidParameter(f"invalid filter '{key}'")


def _exact(filters: Filters, key: str, text: str) -> bool:
    values = filters.get(key)
    return not values or values.get(text, False)


def _has_exited(codes: Mapping[str, bool], sandbox: Sandbox) -> bool:
    return sandbox.state == "exited" and any(int(code) == sandbox.exit_code for code in codes)


def _labels(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """All of `key` or `key=value`."""
    for item in wanted:
        key, has_value, value = item.partition("=")
        if key not in labels or (has_value and labels[key] != value):
            return False
    return True


def _actor(values: Mapping[str, bool], event: Event) -> bool:
    """By id or name, exact or as a prefix."""
    texts = (event.actor, event.attributes.get("name", ""))
    return any(text.startswith(value) for value in values for text in texts)


def _types(values: Mapping[str, bool]) -> Iterable[str]:
    for value in values:
        if value not in ("custom", "builtin"):
            raise Failure(f"invalid filter: 'type'='{value}'")
    return values


def _dangling(values: Mapping[str, bool]) -> bool | None:
    if len(values) > 1:
        raise InvalidParameter('got more than one value for filter key "dangling"')
    for value in values:
        if value not in ("1", "true", "0", "false"):
            raise InvalidParameter(
                'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
            )
        return value in ("1", "true")
    return None


def _is_dangling(network: Network, in_use: Callable[[str], bool]) -> bool:
    return network.name not in RESERVED_NAMES and not in_use(network.id)
