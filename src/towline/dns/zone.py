"""The names of one network, shared by all sandboxes attached to it; a join or leave changes only what it concerns, and
so does an endpoint on another node."""

from __future__ import annotations

from collections.abc import Iterable

from towline.dns import wire
from towline.dns.records import Named, Owner, address_record, bare
from towline.dns.services import ServiceNames
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint
from towline.model.service import Service


class Zone:
    """label: the network's name as labels, lower case, or None if it cannot be part of a DNS name.

    owners: of endpoints, by lower case labels. Only endpoints of running sandboxes have names (`ifname` is set), as in
    Docker.
    """

    def __init__(self, name: str, network_id: str = "") -> None:
        self.name = name
        encoded = wire.encode_name(name)
        self.label = encoded.lower() if encoded is not None else None
        self.owners: dict[bytes, Owner] = {}
        self._services = ServiceNames(network_id, name)
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
        return self._services.pointer(reverse)

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

    def set_peer(self, peer_id: str, peer: Peer | None, *, up: bool = True) -> None:
        """An endpoint on another node came or changed; None: it went. up: its node is alive."""
        if (old := self._peers.pop(peer_id, None)) is not None:
            self._remove(old)
        if peer is not None:
            self._peers[peer_id] = peer
            self._add(peer, up=up)

    def offer(self, services: Iterable[Service]) -> None:
        """Make the services' names those of these."""
        self._services.offer(services)

    def owner(self, key: bytes) -> Owner | None:
        """Whom labels in lower case stand for. The name of a service is its own, also where an endpoint has it."""
        return self._services.owner(key) or self.owners.get(key)

    def ports(self, key: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """SRV records with their address records."""
        return self._services.ports(key)

    def _add(self, endpoint: Named, *, up: bool = True) -> None:
        member = _member(endpoint)
        self._services.put(member, endpoint, up=up)
        a, aaaa = address_record(endpoint.ipv4), address_record(endpoint.ipv6)
        for key in _keys(endpoint):
            self.owners.setdefault(key, Owner()).put(member, a, aaaa)
        record = self._pointer_record(endpoint)
        for key in _reverse_keys(endpoint) if record else ():
            self._pointers.setdefault(key, {})[member] = record

    def _remove(self, endpoint: Named) -> None:
        member = _member(endpoint)
        self._services.discard(member, endpoint)
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
    return tuple(wire.reverse_name(bare(cidr)) for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr)
