"""Nodes of a cluster: which one a client means, which ones a filter shows, what may be changed.

Sources: moby daemon/cluster/{helpers,filters}.go, swarmkit manager/controlapi/node.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, get_args

import msgspec

from towline.model.cluster import Availability, NodeSpec, NodeStatus, Role
from towline.model.errors import Failure, InvalidParameter, NotFound
from towline.policy.filters import Filters, check_keys

Choice = TypeVar("Choice", bound=str)

_KEYS = frozenset({"name", "id", "label", "role", "membership", "node.label"})
_MEMBERSHIPS = ("pending", "accepted")
_PRECONDITION = "rpc error: code = FailedPrecondition desc = "
LARGEST_LABELS = 16 * 1024
"""Bytes of JSON. Every node keeps a copy of all nodes."""


class NodeFilter:
    """GET /nodes. Raises when made: InvalidParameter for an unknown key, Failure (Docker's 500) for an unknown value.

    Names and ids are prefixes, without regard to case; labels must all match.
    """

    def __init__(self, filters: Filters) -> None:
        check_keys(filters, _KEYS)
        self._roles = _values(filters, "role", get_args(Role), "Invalid role filter")
        self._memberships = _values(filters, "membership", _MEMBERSHIPS, "Invalid membership filter")
        self._names = [name.lower() for name in filters.get("name", {})]
        self._ids = [prefix.lower() for prefix in filters.get("id", {})]
        self._labels = [*filters.get("label", {}), *filters.get("node.label", {})]

    def matches(self, status: NodeStatus) -> bool:
        node = status.node
        return (
            _begins(node.description.hostname.lower(), self._names)
            and _begins(node.id, self._ids)
            and (not self._roles or node.spec.role in self._roles)
            and (not self._memberships or "accepted" in self._memberships)
            and _labelled(node.spec.labels, self._labels)
        )


def find(nodes: Sequence[NodeStatus], term: str, own_id: str = "") -> NodeStatus:
    """By full id, host name, id prefix; "self" is the node of `own_id` where none has that name.

    NotFound; Failure if several match, as Docker answers.
    """
    tests: list[Callable[[NodeStatus], bool]] = [
        lambda status: status.node.id == term,
        lambda status: status.node.description.hostname.lower() == term.lower(),
        lambda status: term == "self" and status.node.id == own_id,
        lambda status: status.node.id.startswith(term),
    ]
    for test in tests:
        found = list(filter(test, nodes))
        if len(found) > 1:
            raise Failure(f"node {term} is ambiguous ({len(found)} matches found)")
        if found:
            return found[0]
    raise NotFound(f"node {term} not found")


def check_spec(role: str, availability: str, name: str, labels: dict[str, str]) -> NodeSpec:
    """What was sent as a NodeSpec. InvalidParameter."""
    spec = NodeSpec(
        role=_choice(role, get_args(Role), "invalid Role"),
        availability=_choice(availability, get_args(Availability), "invalid Availability"),
        name=name,
        labels=dict(sorted(labels.items())),
    )
    if len(msgspec.json.encode(spec)) > LARGEST_LABELS:
        raise InvalidParameter(
            f"the node's labels are longer than {LARGEST_LABELS} bytes of JSON: take fewer or shorter"
        )
    return spec


def check_update(nodes: Sequence[NodeStatus], node_id: str, spec: NodeSpec) -> None:
    """May this node become as `spec` says? Demotion must leave a manager, and a quorum of those that are reachable.

    NotFound, InvalidParameter.
    """
    status = _of_id(nodes, node_id)
    if status.node.spec.role != "manager" or spec.role != "worker":
        return
    managers = [other for other in nodes if other.node.spec.role == "manager"]
    if len(managers) == 1:
        raise InvalidParameter(f"{_PRECONDITION}attempting to demote the last manager of the swarm")
    members = [other for other in nodes if other.node.manager_address]
    left = [other for other in members if other.node.id != node_id]
    if len(left) < len(members) and sum(other.reachable for other in left) < len(left) // 2 + 1:
        raise InvalidParameter(
            f"{_PRECONDITION}can't remove member from the raft: this would result in a loss of quorum"
        )


def check_removal(nodes: Sequence[NodeStatus], node_id: str, *, force: bool) -> None:
    """NotFound, InvalidParameter."""
    status = _of_id(nodes, node_id)
    if status.node.spec.role == "manager" or status.node.manager_address:
        raise InvalidParameter(
            f"{_PRECONDITION}node {node_id} is a cluster manager and is a member of the raft cluster. "
            "It must be demoted to worker before removal"
        )
    if not force and status.state == "ready":
        raise InvalidParameter(f"{_PRECONDITION}node {node_id} is not down and can't be removed")


def _of_id(nodes: Sequence[NodeStatus], node_id: str) -> NodeStatus:
    for status in nodes:
        if status.node.id == node_id:
            return status
    raise NotFound(f"node {node_id} not found")


def _values(filters: Filters, key: str, known: Iterable[str], wrong: str) -> set[str]:
    asked = [value for value in filters.get(key, {}) if value]
    for value in asked:
        if value.lower() not in known:
            raise Failure(f"{wrong}: '{value}'")
    return {value.lower() for value in asked}


def _choice(text: str, known: tuple[Choice, ...], wrong: str) -> Choice:
    for choice in known:
        if text.lower() == choice:
            return choice
    raise InvalidParameter(f"{wrong}: {msgspec.json.encode(text).decode()}")


def _begins(text: str, prefixes: list[str]) -> bool:
    return not prefixes or text.startswith(tuple(prefixes))


def _labelled(labels: dict[str, str], wanted: list[str]) -> bool:
    """All of `key` or `key=value`; an empty value means any, as in swarmkit."""
    for item in wanted:
        key, _, value = item.partition("=")
        if key not in labels or (value and labels[key] != value):
            return False
    return True
