"""Records for the DNS tests: a small world of networks, sandboxes and endpoints, and dnspython as the other side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import dns.flags
import dns.message
import msgspec

from towline.dns.answer import Forward, answer
from towline.dns.names import Directory
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.network import Network, Pool
from towline.model.sandbox import Sandbox
from towline.model.service import Service, places_of
from towline.plan.endpoint import dns_names

_ids = itertools.count(1)


class World:
    """A `DnsView` that tests change; every change tells the directory, as control does."""

    def __init__(self) -> None:
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._peers: dict[str, Peer] = {}
        self._services: dict[str, Service] = {}
        self.directory = Directory(self)

    def network(self, network_id: str) -> Network | None:
        return self._networks.get(network_id)

    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoint in self._endpoints.values() if endpoint.network == network_id)

    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoint in self._endpoints.values() if endpoint.sandbox == sandbox_id)

    def peer(self, endpoint_id: str) -> Peer | None:
        return self._peers.get(endpoint_id)

    def peers_of(self, network_id: str) -> tuple[Peer, ...]:
        return tuple(peer for peer in self._peers.values() if peer.network == network_id)

    def services_on(self, network_id: str) -> tuple[Service, ...]:
        return tuple(service for service in self._services.values() if network_id in places_of(service))

    def set_service(self, service: Service) -> None:
        old = self._services.get(service.id, service)
        self._services[service.id] = service
        for network_id in places_of(service) | places_of(old):
            self.directory.changed(network_id)

    def drop_service(self, service: Service) -> None:
        del self._services[service.id]
        for network_id in places_of(service):
            self.directory.changed(network_id)

    def set_peer(self, peer: Peer) -> None:
        self._peers[peer.id] = peer
        self.directory.changed(peer.network, [peer.id])

    def drop_peer(self, peer: Peer) -> None:
        del self._peers[peer.id]
        self.directory.changed(peer.network, [peer.id])

    def add_network(self, name: str, *, internal: bool = False, ipv6: bool = True) -> str:
        pools = [Pool("10.1.0.0/16", gateway="10.1.0.1")]
        if ipv6:
            pools.append(Pool("fd00:1::/64", gateway="fd00:1::1"))
        network_id = f"{next(_ids):064x}"
        made = Network(network_id, name, 0, "bridge", enable_ipv6=ipv6, internal=internal, pools=tuple(pools))
        self._networks[network_id] = made
        self.directory.changed(network_id)
        return network_id

    def remove_network(self, network_id: str) -> None:
        del self._networks[network_id]
        self.directory.changed(network_id)

    def join(
        self,
        network_id: str,
        name: str,
        *,
        sandbox: str = "",
        ipv4: str = "",
        ipv6: str = "",
        aliases: Sequence[str] = (),
        hostname: str = "",
        links: Sequence[str] = (),
        gw_priority: int = 0,
    ) -> str:
        """The endpoint's id. Addresses are bare; the sandbox's id is made from its name unless given."""
        endpoint_id = f"{next(_ids):064x}"
        sandbox_id = sandbox or sandbox_id_of(name)
        config = EndpointConfig(links=tuple(links), aliases=tuple(aliases), gw_priority=gw_priority)
        self.put(
            Endpoint(
                endpoint_id,
                name,
                network_id,
                sandbox_id,
                ipv4=f"{ipv4}/16" if ipv4 else "",
                ipv6=f"{ipv6}/64" if ipv6 else "",
                ifname="eth0",
                dns_names=dns_names(Sandbox(id=sandbox_id, name=name, created=0, hostname=hostname), config),
                config=config,
            )
        )
        return endpoint_id

    def put(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self.directory.changed(endpoint.network)

    def stop(self, endpoint_id: str) -> None:
        self.put(msgspec.structs.replace(self._endpoints[endpoint_id], ifname=""))

    def leave(self, endpoint_id: str) -> None:
        self.directory.changed(self._endpoints.pop(endpoint_id).network)


def sandbox_id_of(name: str) -> str:
    return name.encode().hex().ljust(64, "0")[:64]


def keep_order(records: list[bytes]) -> None:
    """A shuffle that does nothing."""


def ask(
    world: World, sandbox: str, name: str, kind: str = "A", *, ndots: bool = False, stream: bool = False
) -> dns.message.Message | None:
    """What the sandbox (by name) is told, read by dnspython; None if the question would be forwarded."""
    query = dns.message.make_query(name, kind)
    said = answer(
        query.to_wire(), world.directory.names(sandbox_id_of(sandbox)), keep_order, ndots=ndots, stream=stream
    )
    if isinstance(said, Forward):
        return None
    assert said is not None
    reply = dns.message.from_wire(said)
    assert query.is_response(reply)
    return reply


def texts(reply: dns.message.Message | None) -> list[str] | None:
    """The data of the answer section, sorted; None for a question that is forwarded."""
    if reply is None:
        return None
    return sorted(str(item) for rrset in reply.answer for item in rrset)
