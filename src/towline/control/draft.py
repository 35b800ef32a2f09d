"""The state as it will be once the requests planned before in the same batch are committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service, places_of
from towline.model.view import View
from towline.store.contract import Change, Delete, Put

R = TypeVar("R", Network, Endpoint, Sandbox, Peer, Block, Service)


class Layer(Generic[R]):
    """Records of one kind that a batch puts or deletes, over a base that is left as it is."""

    def __init__(self) -> None:
        self.put: dict[str, R] = {}
        self.deleted: set[str] = set()

    def stage_put(self, record: R) -> None:
        self.put[record.id] = record
        self.deleted.discard(record.id)

    def stage_delete(self, record_id: str) -> None:
        self.put.pop(record_id, None)
        self.deleted.add(record_id)

    def by_id(self, record_id: str, base: R | None) -> R | None:
        return self.put.get(record_id) or self._kept(base)

    def first(self, wanted: Callable[[R], bool], base: R | None) -> R | None:
        """The record that is `wanted`: one of ours, else the base's answer if it still is one."""
        staged = next((record for record in self.put.values() if wanted(record)), None)
        return staged or self._kept(base)

    def over(self, base: Iterable[R], wanted: Callable[[R], bool] = lambda _: True) -> Iterable[R]:
        yield from (record for record in base if record.id not in self.put and record.id not in self.deleted)
        yield from (record for record in self.put.values() if wanted(record))

    def _kept(self, base: R | None) -> R | None:
        changed = base is None or base.id in self.put or base.id in self.deleted
        return None if changed else base


AnyLayer = Layer[Network] | Layer[Endpoint] | Layer[Sandbox] | Layer[Peer] | Layer[Block] | Layer[Service]


class Draft:
    """A View over a View: the base, with the records of earlier plans laid over it."""

    def __init__(self, base: View) -> None:
        self._base = base
        self._networks: Layer[Network] = Layer()
        self._endpoints: Layer[Endpoint] = Layer()
        self._sandboxes: Layer[Sandbox] = Layer()
        self._peers: Layer[Peer] = Layer()
        self._blocks: Layer[Block] = Layer()
        self._services: Layer[Service] = Layer()

    def stage(self, changes: Sequence[Change]) -> None:
        for change in changes:
            match change:
                case Put(record=Network() as network):
                    self._networks.stage_put(network)
                case Put(record=Endpoint() as endpoint):
                    self._endpoints.stage_put(endpoint)
                case Put(record=Sandbox() as sandbox):
                    self._sandboxes.stage_put(sandbox)
                case Put(record=Peer() as peer):
                    self._peers.stage_put(peer)
                case Put(record=Block() as block):
                    self._blocks.stage_put(block)
                case Put(record=Service() as service):
                    self._services.stage_put(service)
                case Delete(kind=kind, id=record_id):
                    self._layer(kind).stage_delete(record_id)
                case _:
                    pass

    def _layer(self, kind: type) -> AnyLayer:
        layers: dict[type, AnyLayer] = {
            Network: self._networks,
            Endpoint: self._endpoints,
            Sandbox: self._sandboxes,
            Peer: self._peers,
            Block: self._blocks,
            Service: self._services,
        }
        return layers[kind]

    @property
    def revision(self) -> int:
        return self._base.revision

    def network(self, network_id: str) -> Network | None:
        return self._networks.by_id(network_id, self._base.network(network_id))

    def network_named(self, name: str) -> Network | None:
        return self._networks.first(lambda n: n.name == name, self._base.network_named(name))

    def network_with_link(self, link: str) -> Network | None:
        return self._networks.first(lambda n: n.link == link != "", self._base.network_with_link(link))

    def networks_with_link(self, link: str) -> tuple[Network, ...]:
        return tuple(self._networks.over(self._base.networks_with_link(link), lambda n: n.link == link != ""))

    def networks(self) -> Iterable[Network]:
        return self._networks.over(self._base.networks())

    def dependants_of(self, config_name: str) -> tuple[Network, ...]:
        base = self._base.dependants_of(config_name)
        return tuple(self._networks.over(base, lambda n: n.config_from == config_name))

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        return self._endpoints.by_id(endpoint_id, self._base.endpoint(endpoint_id))

    def endpoint_with_link(self, host_link: str) -> Endpoint | None:
        return self._endpoints.first(lambda e: e.host_link == host_link != "", self._base.endpoint_with_link(host_link))

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints.over(self._base.endpoints_of(network_id), lambda e: e.network == network_id))

    def is_plugged(self, network_id: str) -> bool:
        """O(endpoints of the network)."""
        return any(endpoint.ifname for endpoint in self.endpoints_of(network_id))

    def plugged(self) -> Iterable[str]:
        changed = {endpoint.network for endpoint in self._endpoints.put.values()}
        return [key for key in dict.fromkeys((*self._base.plugged(), *changed)) if self.is_plugged(key)]

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints.over(self._base.endpoints_in(sandbox_id), lambda e: e.sandbox == sandbox_id))

    def sandbox(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.by_id(sandbox_id, self._base.sandbox(sandbox_id))

    def sandbox_named(self, name: str) -> Sandbox | None:
        return self._sandboxes.first(lambda s: s.name == name, self._base.sandbox_named(name))

    def sandboxes(self) -> Iterable[Sandbox]:
        return self._sandboxes.over(self._base.sandboxes())

    def peer(self, endpoint_id: str) -> Peer | None:
        return self._peers.by_id(endpoint_id, self._base.peer(endpoint_id))

    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        return tuple(self._peers.over(self._base.peers_of(network_id), lambda p: p.network == network_id))

    def rivals_of(self, peer: Peer) -> tuple[Peer, ...]:
        """O(peers of the network)."""
        return tuple(p for p in self.peers_of(peer.network) if _held(p) & _held(peer))

    def blocks_of(self, network_id: str) -> tuple[Block, ...]:
        return tuple(self._blocks.over(self._base.blocks_of(network_id), lambda b: b.network == network_id))

    def blocks(self) -> Iterable[Block]:
        return self._blocks.over(self._base.blocks())

    def service(self, service_id: str) -> Service | None:
        return self._services.by_id(service_id, self._base.service(service_id))

    def service_named(self, name: str) -> Service | None:
        return self._services.first(lambda s: s.name.lower() == name.lower(), self._base.service_named(name))

    def services_on(self, network_id: str) -> tuple[Service, ...]:
        return tuple(self._services.over(self._base.services_on(network_id), lambda s: network_id in places_of(s)))

    def services(self) -> Iterable[Service]:
        return self._services.over(self._base.services())


def _held(peer: Peer) -> set[str]:
    return {peer.mac.lower(), peer.ipv4.partition("/")[0], peer.ipv6.partition("/")[0].lower()} - {""}
