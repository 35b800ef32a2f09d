"""Indexes of the state in memory: ids by a key, and records that belong to a network.

Each read and write is a single operation under the interpreter lock (see `store.state`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

from towline.model.cluster import Block, Peer
from towline.model.service import Service, places_of

R = TypeVar("R", Peer, Block)


class Groups:
    """Ids by a text key, each group in the order of addition. The empty key is not indexed."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, None]] = {}

    def of(self, key: str) -> list[str]:
        return list(self._ids.get(key, ()))

    def keys(self) -> list[str]:
        return list(self._ids)

    def __contains__(self, key: str) -> bool:
        """Has it a member?"""
        return key in self._ids

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

    def delete(self, record_id: str) -> R | None:
        """What was there."""
        old = self._records.pop(record_id, None)
        if old is not None:
            self._by_network.discard(old.network, old.id)
        return old


class Peers(Grouped[Peer]):
    """Also by what two of them can contend for while one moves: a MAC, or an address."""

    def __init__(self) -> None:
        super().__init__()
        self._by_key = Groups()

    def rivals(self, peer: Peer) -> tuple[Peer, ...]:
        found = dict.fromkeys(member for key in _keys(peer) for member in self._by_key.of(key))
        records = (self.get(record_id) for record_id in found)
        return tuple(record for record in records if record is not None)

    def put(self, new: Peer) -> None:
        old = self.get(new.id)
        super().put(new)
        for key in _keys(new):
            self._by_key.add(key, new.id)
        for key in _keys(old) - _keys(new) if old is not None else ():
            self._by_key.discard(key, new.id)

    def delete(self, record_id: str) -> Peer | None:
        old = super().delete(record_id)
        for key in _keys(old) if old is not None else ():
            self._by_key.discard(key, record_id)
        return old


class Services:
    """By id, by name in any case, and by each network that they are on or have a virtual address on."""

    def __init__(self) -> None:
        self._records: dict[str, Service] = {}
        self._by_name = Groups()
        self._by_network = Groups()

    def get(self, service_id: str) -> Service | None:
        return self._records.get(service_id)

    def all(self) -> list[Service]:
        return list(self._records.values())

    def named(self, name: str) -> Service | None:
        return self._records.get(self._by_name.first(name.lower()) or "")

    def on(self, network_id: str) -> tuple[Service, ...]:
        found = (self._records.get(service_id) for service_id in self._by_network.of(network_id))
        return tuple(service for service in found if service is not None)

    def put(self, new: Service) -> None:
        old = self._records.get(new.id)
        self._records[new.id] = new
        self._by_name.add(new.name.lower(), new.id)
        for network_id in places_of(new):
            self._by_network.add(network_id, new.id)
        if old is not None and old.name.lower() != new.name.lower():
            self._by_name.discard(old.name.lower(), old.id)
        for network_id in places_of(old) - places_of(new) if old is not None else ():
            self._by_network.discard(network_id, new.id)

    def delete(self, service_id: str) -> None:
        old = self._records.pop(service_id, None)
        if old is not None:
            self._by_name.discard(old.name.lower(), old.id)
            for network_id in places_of(old):
                self._by_network.discard(network_id, old.id)


def _keys(peer: Peer) -> set[str]:
    held = (peer.mac.lower(), peer.ipv4.partition("/")[0], peer.ipv6.partition("/")[0].lower())
    return {f"{peer.network} {text}" for text in held if text}
