"""Indexes of the state in memory: ids by a key, and records that belong to a network.

Each read and write is a single operation under the interpreter lock (see `store.state`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

from towline.model.cluster import Block, Peer

R = TypeVar("R", Peer, Block)


class Groups:
    """Ids by a text key, each group in the order of addition. The empty key is not indexed."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, None]] = {}

    def of(self, key: str) -> list[str]:
        return list(self._ids.get(key, ()))

    def first(self, key: str) -> str | None:
        members = self.of(key)
        return members[0] if members else None

    def add(self, key: str, member: str) -> None:
        if key:
            self._ids.setdefault(key, {})[member] = None

    def discard(self, key: str, member: str) -> None:
        group = self._ids.get(key)
        if group is None:
            return
        group.pop(member, None)
        if not group:
            del self._ids[key]


class Grouped(Generic[R]):
    """Records by id, and by the network that they belong to. One that is replaced keeps its place."""

    def __init__(self) -> None:
        self._records: dict[str, R] = {}
        self._by_network = Groups()

    def get(self, record_id: str) -> R | None:
        return self._records.get(record_id)

    def all(self) -> list[R]:
        return list(self._records.values())

    def of(self, network_id: str) -> tuple[R, ...]:
        found = (self._records.get(record_id) for record_id in self._by_network.of(network_id))
        return tuple(record for record in found if record is not None)

    def put(self, new: R) -> None:
        old = self._records.get(new.id)
        self._records[new.id] = new
        self._by_network.add(new.network, new.id)
        if old is not None and old.network != new.network:
            self._by_network.discard(old.network, old.id)

    def delete(self, record_id: str) -> None:
        old = self._records.pop(record_id, None)
        if old is not None:
            self._by_network.discard(old.network, old.id)
