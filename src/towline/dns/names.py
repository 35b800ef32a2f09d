"""The names one sandbox can see: the zones of its networks in their order, and its own links.

Order of a lookup (moby daemon/libnetwork/sandbox.go): the whole name, then each split into `name` and `network`; for
each of these links first, then names, network by network; the first network that knows the name answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from towline.dns import wire
from towline.dns.records import Owner
from towline.dns.zone import Zone
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.service import Service


class DnsView(Protocol):
    """What of the store's view this room reads."""

    def network(self, network_id: str) -> Network | None: ...
    def endpoints_of(self, network_id: str) -> tuple[Endpoint, ...]: ...
    def endpoints_in(self, sandbox_id: str) -> tuple[Endpoint, ...]: ...
    def peer(self, endpoint_id: str) -> Peer | None: ...
    def peers_of(self, network_id: str) -> tuple[Peer, ...]: ...
    def services_on(self, network_id: str) -> tuple[Service, ...]: ...


class Attachment(NamedTuple):
    """links: alias -> name, both lower case labels. They hold in this network only."""

    zone: Zone
    links: Mapping[bytes, bytes]


class Names:
    """A snapshot of what is attached; the zones in it are live.

    external: the sandbox reaches something outside of its networks, so servers of the host may be asked for it.
    """

    __slots__ = ("_qualified", "attached", "external", "linked")

    def __init__(self, attached: Sequence[Attachment], *, external: bool) -> None:
        self.attached = tuple(attached)
        self.external = external
        self.linked = any(attachment.links for attachment in attached)
        self._qualified: dict[bytes, list[Attachment]] = {}
        for attachment in attached:
            if attachment.zone.label is not None:
                self._qualified.setdefault(attachment.zone.label, []).append(attachment)

    def find(self, name: bytes) -> Owner | None:
        """By labels in any case."""
        key = name.lower()
        owner = self._in(key, self.attached)
        if owner is not None or not self._qualified:
            return owner
        for at in reversed(_boundaries(key)):
            attached = self._qualified.get(key[at:])
            if attached is not None and (owner := self._in(key[:at], attached)) is not None:
                return owner
        return None

    def service(self, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """SRV records with their address records; () if no network has such a port."""
        key = name.lower()
        for zone, _ in self.attached:
            if found := zone.ports(key):
                return found
        return ()

    def pointer(self, reverse: bytes) -> bytes:
        """The PTR record of a reverse name in any case, or b""."""
        key = reverse.lower()
        for zone, _ in self.attached:
            if record := zone.pointer(key):
                return record
        return b""

    def _in(self, key: bytes, attached: Sequence[Attachment]) -> Owner | None:
        """A name that is a link of an attachment is not looked up in that network under itself."""
        if self.linked:
            for zone, links in attached:
                target = links.get(key)
                if target is not None and (owner := zone.owner(target)) is not None:
                    return owner
        for zone, links in attached:
            owner = zone.owner(key)
            if owner is not None and key not in links:
                return owner
        return None


NO_NAMES = Names((), external=False)


def _boundaries(key: bytes) -> list[int]:
    """Where the second and following labels begin."""
    found: list[int] = []
    at = key[0] + 1 if key else 0
    while at < len(key):
        found.append(at)
        at += key[at] + 1
    return found


def names_of(sandbox_id: str, view: DnsView, zone: Callable[[Network], Zone]) -> Names:
    """What the sandbox sees by these records. `zone`: where the shared zone of a network is kept."""
    pairs = [(endpoint, view.network(endpoint.network)) for endpoint in view.endpoints_in(sandbox_id)]
    joined = [(endpoint, network) for endpoint, network in pairs if network is not None and endpoint.ifname]
    joined.sort(key=lambda pair: _precedence(*pair))
    attached = [Attachment(zone(network), _links(endpoint)) for endpoint, network in joined]
    external = any(not network.internal and _gateways(endpoint, network) for endpoint, network in joined)
    return Names(attached, external=external)


def _precedence(endpoint: Endpoint, network: Network) -> tuple[int, bool, int, str]:
    """Docker's order of endpoints (Endpoint.Less), by which it also chooses gateways."""
    return (-endpoint.config.gw_priority, network.internal, -_gateways(endpoint, network), network.name)


def _gateways(endpoint: Endpoint, network: Network) -> int:
    offered = {pool.is_ipv6 for pool in network.pools if pool.gateway}
    return (bool(endpoint.ipv4) and False in offered) + (bool(endpoint.ipv6) and True in offered)


def _links(endpoint: Endpoint) -> dict[bytes, bytes]:
    return {alias: target for text in endpoint.config.links for target, alias in _link(text)}


def _link(text: str) -> Iterator[tuple[bytes, bytes]]:
    """Of "name:alias", "name", or "/name:/other/alias" as older clients send it; nothing if it names no names."""
    name, _, alias = text.partition(":")
    target = wire.encode_name(name.removeprefix("/"))
    shown = wire.encode_name((alias or name).rpartition("/")[2])
    if target is not None and shown is not None:
        yield target.lower(), shown.lower()


class Directory:
    """Zones by network and names by sandbox, brought up to date when they are asked for after a change.

    generation: another number whenever `names` may answer otherwise than before; read it after `names`.
    """

    def __init__(self, view: DnsView) -> None:
        self._view = view
        self._down: frozenset[str] = frozenset()
        self._zones: dict[str, Zone] = {}
        self._names: dict[str, Names] = {}
        self._stale: set[str] = set()
        self._moved: dict[str, set[str]] = {}
        self.generation = 0

    def changed(self, network_id: str, peers: Collection[str] = ()) -> None:
        """The network's record, or one of its endpoints here, is another one now; with `peers` only these endpoints
        elsewhere are."""
        if not peers:
            self._stale.add(network_id)
        elif network_id in self._zones:
            self._moved.setdefault(network_id, set()).update(peers)

    def set_down(self, nodes: Collection[str]) -> None:
        """Ids of nodes that are down. `changed` is told of the endpoints there."""
        self._down = frozenset(nodes)

    def names(self, sandbox_id: str) -> Names:
        """O(1) unless something changed since the last call."""
        if self._stale or self._moved:
            self._refresh()
        found = self._names.get(sandbox_id)
        if found is None:
            found = self._names[sandbox_id] = names_of(sandbox_id, self._view, self._zone)
        return found

    def forget(self, sandbox_id: str) -> None:
        """No more questions from it."""
        self._names.pop(sandbox_id, None)

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        moved, self._moved = self._moved, {}
        self.generation += 1
        for network_id, peers in moved.items():
            if (zone := self._zones.get(network_id)) is not None:
                for peer_id in peers:
                    self._set_peer(zone, peer_id, self._peer(peer_id, network_id))
        for network_id in stale:
            network, zone = self._view.network(network_id), self._zones.get(network_id)
            if zone is None:
                self._reattach({endpoint.sandbox for endpoint in self._view.endpoints_of(network_id)})
            elif network is None or network.name != zone.name:
                del self._zones[network_id]
                self._reattach({key for key, names in self._names.items() if _uses(names, zone)})
            else:
                self._reattach(self._fill(zone, network))
                if zone.empty:
                    del self._zones[network_id]

    def _reattach(self, sandboxes: set[str]) -> None:
        for sandbox_id in sandboxes:
            self._names.pop(sandbox_id, None)

    def _zone(self, network: Network) -> Zone:
        zone = self._zones.get(network.id)
        if zone is None:
            zone = self._zones[network.id] = Zone(network.name, network.id)
            self._fill(zone, network)
            for peer in () if network.ingress else self._view.peers_of(network.id):
                self._set_peer(zone, peer.id, peer)
        return zone

    def _set_peer(self, zone: Zone, peer_id: str, peer: Peer | None) -> None:
        zone.set_peer(peer_id, peer, up=peer is None or peer.node not in self._down)

    def _peer(self, peer_id: str, network_id: str) -> Peer | None:
        network, peer = self._view.network(network_id), self._view.peer(peer_id)
        if network is None or network.ingress or peer is None or peer.network != network_id:
            return None
        return peer

    def _fill(self, zone: Zone, network: Network) -> set[str]:
        if network.ingress:
            return set()
        zone.offer(self._view.services_on(network.id))
        return zone.update(self._view.endpoints_of(network.id))


def _uses(names: Names, zone: Zone) -> bool:
    return any(attachment.zone is zone for attachment in names.attached)
