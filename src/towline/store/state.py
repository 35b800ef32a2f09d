"""The indexed state in memory: what every backend answers `view` from.

One thread applies changes; any thread may read. Each index is a dict whose reads and writes are single operations
under the interpreter lock, and lists are copied in one such operation (`list(d.values())`), so a reader never sees a
broken index. A reader in another thread may see part of an update that is just being applied: records are changed one
by one, in the order of the update.
"""

from __future__ import annotations

from collections.abc import Callable

from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.store.contract import Change, Delete, Put, SetMeta
from towline.store.groups import Grouped, Groups, Peers, Services


class State:
    """A `View`, the meta texts, and `apply`: O(1) for every change."""

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._meta: dict[str, str] = {}
        self._by_name = Groups()
        self._by_link = Groups()
        self._by_config = Groups()
        self._by_network = Groups()
        self._plugged = Groups()
        self._sandboxes: dict[str, Sandbox] = {}
        self._by_sandbox_name = Groups()
        self._by_sandbox = Groups()
        self._by_host_link = Groups()
        self._peers = Peers()
        self._blocks: Grouped[Block] = Grouped()
        self._services = Services()
        self._delete: dict[type, Callable[[str], object]] = {
            Network: self._delete_network,
            Endpoint: self._delete_endpoint,
            Sandbox: self._delete_sandbox,
            Peer: self._peers.delete,
            Block: self._blocks.delete,
            Service: self._services.delete,
        }

    def network(self, network_id: str) -> Network | None:
        return self._networks.get(network_id)

    def network_named(self, name: str) -> Network | None:
        """One of them, should several carry the name."""
        return self._networks.get(self._by_name.first(name) or "")

    def network_with_link(self, link: str) -> Network | None:
        return self._networks.get(self._by_link.first(link) or "")

    def networks_with_link(self, link: str) -> tuple[Network, ...]:
        found = (self._networks.get(network_id) for network_id in self._by_link.of(link))
        return tuple(network for network in found if network is not None)

    def networks(self) -> list[Network]:
        """A copy, in order of creation."""
        return list(self._networks.values())

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        return self._endpoints.get(endpoint_id)

    def endpoint_with_link(self, host_link: str) -> Endpoint | None:
        return self._endpoints.get(self._by_host_link.first(host_link) or "")

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return self._found(self._by_network.of(network_id))

    def is_plugged(self, network_id: str) -> bool:
        return network_id in self._plugged

    def plugged(self) -> list[str]:
        return self._plugged.keys()

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        return self._found(self._by_sandbox.of(sandbox_id))

    def _found(self, endpoint_ids: list[str]) -> tuple[Endpoint, ...]:
        found = (self._endpoints.get(endpoint_id) for endpoint_id in endpoint_ids)
        return tuple(endpoint for endpoint in found if endpoint is not None)

    def sandbox(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.get(sandbox_id)

    def sandbox_named(self, name: str) -> Sandbox | None:
        return self._sandboxes.get(self._by_sandbox_name.first(name) or "")

    def sandboxes(self) -> list[Sandbox]:
        """A copy, in order of creation."""
        return list(self._sandboxes.values())

    def dependants_of(self, config_name: str) -> tuple[Network, ...]:
        found = (self._networks.get(network_id) for network_id in self._by_config.of(config_name))
        return tuple(network for network in found if network is not None)

    def peer(self, endpoint_id: str) -> Peer | None:
        return self._peers.get(endpoint_id)

    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        return self._peers.of(network_id)

    def rivals_of(self, peer: Peer) -> tuple[Peer, ...]:
        return self._peers.rivals(peer)

    def blocks_of(self, network_id: str) -> tuple[Block, ...]:
        return self._blocks.of(network_id)

    def blocks(self) -> list[Block]:
        """A copy, in order of arrival."""
        return self._blocks.all()

    def service(self, service_id: str) -> Service | None:
        return self._services.get(service_id)

    def service_named(self, name: str) -> Service | None:
        return self._services.named(name)

    def services_on(self, network_id: str) -> tuple[Service, ...]:
        return self._services.on(network_id)

    def services(self) -> list[Service]:
        """A copy, in order of arrival."""
        return self._services.all()

    def meta(self, key: str) -> str | None:
        return self._meta.get(key)

    def apply(self, change: Change) -> None:
        match change:
            case Put(record=Network() as network):
                self._put_network(network)
            case Put(record=Endpoint() as endpoint):
                self._put_endpoint(endpoint)
            case Put(record=Sandbox() as sandbox):
                self._put_sandbox(sandbox)
            case Put(record=Peer() as peer):
                self._peers.put(peer)
            case Put(record=Block() as block):
                self._blocks.put(block)
            case Put(record=Service() as service):
                self._services.put(service)
            case Delete(kind=kind, id=record_id):
                self._delete[kind](record_id)
            case SetMeta(key=key, value=value):
                self._set_meta(key, value)

    def _set_meta(self, key: str, value: str | None) -> None:
        if value is None:
            self._meta.pop(key, None)
        else:
            self._meta[key] = value

    def _put_network(self, new: Network) -> None:
        """A replaced network keeps its place; it is found under its new keys before it is lost under the old ones."""
        old = self._networks.get(new.id)
        self._networks[new.id] = new
        self._by_name.add(new.name, new.id)
        self._by_link.add(new.link, new.id)
        self._by_config.add(new.config_from, new.id)
        if old is not None:
            self._forget_keys(old, keep=new)

    def _delete_network(self, network_id: str) -> None:
        old = self._networks.pop(network_id, None)
        if old is not None:
            self._forget_keys(old, keep=None)

    def _forget_keys(self, old: Network, keep: Network | None) -> None:
        if keep is None or keep.name != old.name:
            self._by_name.discard(old.name, old.id)
        if keep is None or keep.link != old.link:
            self._by_link.discard(old.link, old.id)
        if keep is None or keep.config_from != old.config_from:
            self._by_config.discard(old.config_from, old.id)

    def _put_endpoint(self, new: Endpoint) -> None:
        old = self._endpoints.get(new.id)
        self._endpoints[new.id] = new
        self._by_network.add(new.network, new.id)
        self._by_sandbox.add(new.sandbox, new.id)
        self._by_host_link.add(new.host_link, new.id)
        self._plugged.add(_plugged_on(new), new.id)
        if old is not None and old.network != new.network:
            self._by_network.discard(old.network, old.id)
        if old is not None and old.sandbox != new.sandbox:
            self._by_sandbox.discard(old.sandbox, old.id)
        if old is not None and old.host_link != new.host_link:
            self._by_host_link.discard(old.host_link, old.id)
        if old is not None and _plugged_on(old) != _plugged_on(new):
            self._plugged.discard(_plugged_on(old), old.id)

    def _delete_endpoint(self, endpoint_id: str) -> None:
        old = self._endpoints.pop(endpoint_id, None)
        if old is not None:
            self._by_network.discard(old.network, old.id)
            self._by_sandbox.discard(old.sandbox, old.id)
            self._by_host_link.discard(old.host_link, old.id)
            self._plugged.discard(_plugged_on(old), old.id)

    def _put_sandbox(self, new: Sandbox) -> None:
        old = self._sandboxes.get(new.id)
        self._sandboxes[new.id] = new
        self._by_sandbox_name.add(new.name, new.id)
        if old is not None and old.name != new.name:
            self._by_sandbox_name.discard(old.name, old.id)

    def _delete_sandbox(self, sandbox_id: str) -> None:
        old = self._sandboxes.pop(sandbox_id, None)
        if old is not None:
            self._by_sandbox_name.discard(old.name, old.id)


def _plugged_on(endpoint: Endpoint) -> str:
    """The network that it has an interface on, or ""."""
    return endpoint.network if endpoint.ifname else ""
