"""Services, and what only one of them may have: its name, and the ports that all nodes publish for it."""

from __future__ import annotations

from towline.cluster.state_peers import drop
from towline.model.service import Service, places_of

PortKey = tuple[str, int]
"""Protocol and published port, of mode ingress."""


class ServiceIndex:
    """Every lookup is O(1), or O(what it answers)."""

    def __init__(self) -> None:
        self._by_id: dict[str, Service] = {}
        self._names: dict[str, str] = {}
        self._ports: dict[PortKey, str] = {}
        self._host_ports: dict[PortKey, dict[str, None]] = {}
        self._by_network: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, service_id: str) -> Service | None:
        return self._by_id.get(service_id)

    def all(self) -> list[Service]:
        """A copy; in the order in which they became known."""
        return list(self._by_id.values())

    def named(self, name: str) -> Service | None:
        """Case-insensitive, as names of services are unique."""
        return self._by_id.get(self._names.get(name.lower(), ""))

    def publishing(self, protocol: str, port: int) -> Service | None:
        """Whose this port is, in mode ingress."""
        return self._by_id.get(self._ports.get((protocol, port), ""))

    def publishing_on_hosts(self, protocol: str, port: int, *, besides: str) -> Service | None:
        """One whose members have this port on their own nodes; several may. besides: id of one that is not meant."""
        found = (service_id for service_id in self._host_ports.get((protocol, port), ()) if service_id != besides)
        return self._by_id.get(next(found, ""))

    def of_network(self, network_id: str) -> list[Service]:
        """Those that are on it, or have a virtual address there."""
        return [self._by_id[service_id] for service_id in self._by_network.get(network_id, ())]

    def put(self, service: Service) -> None:
        old = self._by_id.get(service.id)
        if old is not None:
            self._forget(old)
        self._by_id[service.id] = service
        self._names[service.name.lower()] = service.id
        for port in service.ports:
            if port.mode == "ingress":
                self._ports[port.protocol, port.published] = service.id
            else:
                self._host_ports.setdefault((port.protocol, port.published), {})[service.id] = None
        for network_id in places_of(service):
            self._by_network.setdefault(network_id, {})[service.id] = None

    def discard(self, service_id: str) -> None:
        old = self._by_id.pop(service_id, None)
        if old is not None:
            self._forget(old)

    def _forget(self, old: Service) -> None:
        if self._names.get(old.name.lower()) == old.id:
            del self._names[old.name.lower()]
        for port in old.ports:
            key = port.protocol, port.published
            if port.mode == "host":
                drop(self._host_ports, key, old.id)
            elif self._ports.get(key) == old.id:
                del self._ports[key]
        for network_id in places_of(old):
            drop(self._by_network, network_id, old.id)
