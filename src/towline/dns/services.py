"""Names of services on one network, beside those of the endpoints.

NAME is the virtual address, or, of mode dnsrr, the addresses of its running members; `tasks.NAME` are its members
always (docker-api facts 6.6). A member on a node that is down is left out. Named ports answer SRV questions, as Docker
writes them (`http.tcp.NAME`) and as RFC 2782 does (`_http._tcp.NAME`). What changed is made anew when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from towline.dns import wire
from towline.dns.records import Named, Owner, address_record, bare, is_address
from towline.dns.srv import Port, srv_records
from towline.model.service import Service, VirtualIP

_PORTS = 1 << 16
Records = tuple[tuple[bytes, bytes], ...]


class ServiceNames:
    """network, label: the network's id and name. All reads are O(1) unless something changed since the last one."""

    def __init__(self, network: str, label: str) -> None:
        self._network = network
        self._label = label
        self._services: dict[str, Service] = {}
        self._members: dict[str, dict[str, tuple[Named, bool]]] = {}
        self._owners: dict[bytes, Owner] = {}
        self._ports: dict[bytes, Records] = {}
        self._pointers: dict[bytes, bytes] = {}
        self._made: dict[str, list[bytes]] = {}
        self._stale: set[str] = set()

    def offer(self, services: Iterable[Service]) -> None:
        """Make the names those of these services. O(services on the network)."""
        wanted = {service.id: service for service in services}
        for service_id in self._services.keys() | wanted.keys():
            if self._services.get(service_id) is not wanted.get(service_id):
                self._stale.add(service_id)
        self._services = wanted

    def put(self, key: str, member: Named, *, up: bool) -> None:
        """key: of the endpoint. up: its node is alive."""
        if member.service:
            self._members.setdefault(member.service, {})[key] = (member, up)
            self._stale.add(member.service)

    def discard(self, key: str, member: Named) -> None:
        members = self._members.get(member.service, {})
        if members.pop(key, None) is not None:
            self._stale.add(member.service)
        if not members:
            self._members.pop(member.service, None)

    def owner(self, key: bytes) -> Owner | None:
        """key: labels in lower case."""
        if self._stale:
            self._refresh()
        return self._owners.get(key)

    def ports(self, key: bytes) -> Records:
        if self._stale:
            self._refresh()
        return self._ports.get(key, ())

    def pointer(self, reverse: bytes) -> bytes:
        if self._stale:
            self._refresh()
        return self._pointers.get(reverse, b"")

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        for service_id in stale:
            for key in self._made.pop(service_id, ()):
                for table in (self._owners, self._ports, self._pointers):
                    table.pop(key, None)
        for service_id in stale & self._services.keys():
            self._made[service_id] = list(self._make(self._services[service_id]))

    def _make(self, service: Service) -> Iterator[bytes]:
        """Its names on this network, as keys of the tables."""
        members = [member for member, up in self._members.get(service.id, {}).values() if up]
        vip = _sound(service.vip_on(self._network)) if service.mode == "vip" else None
        tasks = Owner.of((address_record(member.ipv4), address_record(member.ipv6)) for member in members)
        own = tasks if vip is None else Owner.of([(address_record(vip.ipv4), address_record(vip.ipv6))])
        for name, owner in ((service.name, own), (f"tasks.{service.name}", tasks if members else None)):
            key = wire.encode_name(name)
            if key is not None and owner is not None:
                self._owners[key.lower()] = owner
                yield key.lower()
        answers = [(service.name, vip.ipv4, vip.ipv6)] if vip is not None else _targets(members)
        for key, records in srv_records(_ports(service, answers)).items():
            self._ports[key] = records
            yield key
        for cidr in (vip.ipv4, vip.ipv6) if vip is not None else ():
            target = wire.encode_name(f"{service.name}.{self._label}") or wire.encode_name(service.name)
            if cidr and target is not None:
                self._pointers[reverse := wire.reverse_name(bare(cidr))] = wire.pointer_record(target)
                yield reverse


def _sound(vip: VirtualIP | None) -> VirtualIP | None:
    """As far as it is one: a record is what managers say."""
    if vip is None:
        return None
    return VirtualIP(vip.network, *(cidr if is_address(cidr) else "" for cidr in (vip.ipv4, vip.ipv6)))


def _targets(members: Sequence[Named]) -> list[tuple[str, str, str]]:
    return [(member.dns_names[0], member.ipv4, member.ipv6) for member in members if member.dns_names]


def _ports(service: Service, answers: Sequence[tuple[str, str, str]]) -> Iterator[Port]:
    for port in service.ports:
        for target, *addresses in answers if port.name and 0 < port.target < _PORTS else ():
            for address in filter(None, addresses):
                for mark in ("", "_"):
                    yield Port(service.name, mark + port.name, mark + port.protocol, port.target, target, bare(address))
