"""The names of one network, shared by all sandboxes attached to it; a join or leave changes only what it concerns, and
so does an endpoint on another node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

import msgspec

from towline.dns import wire
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint

Named = Endpoint | Peer


class Service(msgspec.Struct, frozen=True):
    """A named port of a service, which SRV questions `port_name.protocol.name` find. target, address: who answers."""

    name: str
    port_name: str
    protocol: str
    port: int
    target: str
    address: str


class Owner:
    """What one name stands for: complete A and AAAA records, owned by the question's name, without duplicates."""

    __slots__ = ("_members", "a", "aaaa")

    def __init__(self) -> None:
        self._members: dict[str, tuple[bytes, bytes]] = {}
        self.a: tuple[bytes, ...] = ()
        self.aaaa: tuple[bytes, ...] = ()

    def put(self, member: str, a: bytes, aaaa: bytes) -> None:
        self._members[member] = (a, aaaa)
        self._collect()

    def discard(self, member: str) -> bool:
        """True if nothing is left."""
        self._members.pop(member, None)
        self._collect()
        return not self._members

    def _collect(self) -> None:
        self.a = tuple(dict.fromkeys(a for a, _ in self._members.values() if a))
        self.aaaa = tuple(dict.fromkeys(aaaa for _, aaaa in self._members.values() if aaaa))


class Zone:
    """label: the network's name as labels, lower case, or None if it cannot be part of a DNS name.

    owners: by lower case labels. services: SRV records, each with its target's address record. Only endpoints of
    running sandboxes have names (`ifname` is set), as in Docker.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        encoded = wire.encode_name(name)
        self.label = encoded.lower() if encoded is not None else None
        self.owners: dict[bytes, Owner] = {}
        self.services: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        self._pointers: dict[bytes, dict[str, bytes]] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._peers: dict[str, Peer] = {}

    @property
    def empty(self) -> bool:
        """Nobody here asks it."""
        return not self._endpoints

    def pointer(self, reverse: bytes) -> bytes:
        """The PTR record of a reverse name in lower case, or b""."""
        for record in self._pointers.get(reverse, {}).values():
            return record
        return b""

    def update(self, endpoints: Iterable[Endpoint]) -> set[str]:
        """Make the names those of these endpoints; answers the sandboxes whose endpoints came, changed or went.

        Costs an identity comparison for each endpoint that is the same record as before.
        """
        wanted = {endpoint.id: endpoint for endpoint in endpoints if endpoint.ifname}
        touched: set[str] = set()
        for endpoint in list(self._endpoints.values()):
            if wanted.get(endpoint.id) is not endpoint:
                del self._endpoints[endpoint.id]
                self._remove(endpoint)
                touched.add(endpoint.sandbox)
        for endpoint in wanted.values():
            if endpoint.id not in self._endpoints:
                self._endpoints[endpoint.id] = endpoint
                self._add(endpoint)
                touched.add(endpoint.sandbox)
        return touched

    def set_peer(self, peer_id: str, peer: Peer | None) -> None:
        """An endpoint on another node came or changed; None: it went."""
        if (old := self._peers.pop(peer_id, None)) is not None:
            self._remove(old)
        if peer is not None:
            self._peers[peer_id] = peer
            self._add(peer)

    def offer(self, services: Sequence[Service]) -> None:
        """Make the SRV records those of these services."""
        found: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        for service in services:
            owner = wire.encode_name(f"{service.port_name}.{service.protocol}.{service.name}")
            target = wire.encode_name(service.target)
            if owner is None or target is None:
                continue
            address = wire.named_address_record(target, ip_address(service.address).packed)
            record = (wire.service_record(service.port, target), address)
            found[owner.lower()] = (*found.get(owner.lower(), ()), record)
        self.services = found

    def _add(self, endpoint: Named) -> None:
        member = _member(endpoint)
        a, aaaa = _record(endpoint.ipv4), _record(endpoint.ipv6)
        for key in _keys(endpoint):
            self.owners.setdefault(key, Owner()).put(member, a, aaaa)
        record = self._pointer_record(endpoint)
        for key in _reverse_keys(endpoint) if record else ():
            self._pointers.setdefault(key, {})[member] = record

    def _remove(self, endpoint: Named) -> None:
        member = _member(endpoint)
        for key in _keys(endpoint):
            if self.owners[key].discard(member):
                del self.owners[key]
        for key in _reverse_keys(endpoint):
            holders = self._pointers.get(key, {})
            holders.pop(member, None)
            if not holders:
                self._pointers.pop(key, None)

    def _pointer_record(self, endpoint: Named) -> bytes:
        """`web.network.`, or without the network if that cannot be a name; b"" for an endpoint without names."""
        if not endpoint.dns_names:
            return b""
        first = endpoint.dns_names[0]
        target = wire.encode_name(f"{first}.{self.name}") or wire.encode_name(first)
        return wire.pointer_record(target) if target is not None else b""


def _member(endpoint: Named) -> str:
    """An endpoint that moved here is known under its id on both sides for a moment."""
    return endpoint.id if isinstance(endpoint, Endpoint) else f"peer {endpoint.id}"


def _keys(endpoint: Named) -> tuple[bytes, ...]:
    encoded = [wire.encode_name(name) for name in endpoint.dns_names]
    return tuple(dict.fromkeys(key.lower() for key in encoded if key is not None))


def _reverse_keys(endpoint: Named) -> tuple[bytes, ...]:
    return tuple(wire.reverse_name(_bare(cidr)) for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr)


def _record(cidr: str) -> bytes:
    return wire.address_record(ip_address(_bare(cidr)).packed) if cidr else b""


def _bare(cidr: str) -> str:
    return cidr.partition("/")[0]
