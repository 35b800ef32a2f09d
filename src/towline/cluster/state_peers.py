"""Endpoints and blocks of addresses, by network, by node, by address."""

from __future__ import annotations

from typing import TypeVar

from towline.ipam.prefix import format_address, parse_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Block, Peer

K = TypeVar("K")
T = TypeVar("T")


class PeerIndex:
    """Every lookup is O(1), or O(what it answers). Ids of endpoints count within their network."""

    def __init__(self) -> None:
        self._by_network: dict[str, dict[str, Peer]] = {}
        self._by_node: dict[str, dict[str, dict[str, Peer]]] = {}
        self._addresses: dict[tuple[str, str], Peer] = {}
        self._by_service: dict[str, dict[str, Peer]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_network.values()))

    def get(self, network_id: str, peer_id: str) -> Peer | None:
        return self._by_network.get(network_id, {}).get(peer_id)

    def of_network(self, network_id: str) -> list[Peer]:
        return list(self._by_network.get(network_id, {}).values())

    def any_of_network(self, network_id: str) -> Peer | None:
        return next(iter(self._by_network.get(network_id, {}).values()), None)

    def nodes(self) -> list[str]:
        """Ids of those that have endpoints."""
        return list(self._by_node)

    def of_node(self, node_id: str) -> list[Peer]:
        return [peer for peers in self._by_node.get(node_id, {}).values() for peer in peers.values()]

    def of_node_on(self, node_id: str, network_id: str) -> list[Peer]:
        return list(self._by_node.get(node_id, {}).get(network_id, {}).values())

    def of_service(self, service_id: str) -> list[Peer]:
        """Those that name it, on any network."""
        return list(self._by_service.get(service_id, {}).values())

    def holding(self, network_id: str, address: str) -> Peer | None:
        """Whose this address is on the network: a bare IP as `bare` writes it, or a MAC."""
        return self._addresses.get((network_id, address))

    def put(self, peer: Peer) -> None:
        addresses = addresses_of(peer)
        self.discard(peer.network, peer.id)
        self._by_network.setdefault(peer.network, {})[peer.id] = peer
        self._by_node.setdefault(peer.node, {}).setdefault(peer.network, {})[peer.id] = peer
        if peer.service:
            self._by_service.setdefault(peer.service, {})[f"{peer.network}/{peer.id}"] = peer
        for address in addresses:
            self._addresses[peer.network, address] = peer

    def discard(self, network_id: str, peer_id: str) -> None:
        old = self.get(network_id, peer_id)
        if old is None:
            return
        drop(self._by_network, network_id, peer_id)
        node = self._by_node[old.node]
        drop(node, network_id, peer_id)
        if not node:
            del self._by_node[old.node]
        if old.service:
            drop(self._by_service, old.service, f"{network_id}/{peer_id}")
        for address in addresses_of(old):
            if self._addresses.get((network_id, address)) is old:
                del self._addresses[network_id, address]


class BlockIndex:
    """Blocks by id (`<network>/<prefix>`), by network, by node, and what of a subnet is given out."""

    def __init__(self) -> None:
        self._by_id: dict[str, Block] = {}
        self._by_network: dict[str, dict[str, None]] = {}
        self._by_node: dict[str, dict[str, None]] = {}
        self._taken: dict[str, PrefixSet] = {}
        self._sizes: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, block_id: str) -> Block | None:
        return self._by_id.get(block_id)

    def of_network(self, network_id: str) -> list[Block]:
        return [self._by_id[block_id] for block_id in self._by_network.get(network_id, ())]

    def of_node(self, node_id: str) -> list[Block]:
        return [self._by_id[block_id] for block_id in self._by_node.get(node_id, ())]

    def nodes(self) -> list[str]:
        return list(self._by_node)

    def taken(self, network_id: str) -> PrefixSet:
        return self._taken.get(network_id) or _NOTHING

    def given_out(self, network_id: str, subnet: str) -> int:
        """How many addresses of the subnet are in blocks."""
        return self._sizes.get((network_id, subnet), 0)

    def holding(self, network_id: str, address: str) -> Block | None:
        found = self.taken(network_id).overlapping(address)
        return None if found is None else self._by_id.get(f"{network_id}/{found}")

    def put(self, block: Block) -> None:
        prefix = parse_prefix(block.prefix)
        self.discard(block.id)
        self._by_id[block.id] = block
        self._by_network.setdefault(block.network, {})[block.id] = None
        if block.node:
            self._by_node.setdefault(block.node, {})[block.id] = None
        self._taken.setdefault(block.network, PrefixSet()).add(prefix)
        self._count(block, prefix.size)

    def discard(self, block_id: str) -> None:
        old = self._by_id.pop(block_id, None)
        if old is None:
            return
        drop(self._by_network, old.network, block_id)
        drop(self._by_node, old.node, block_id)
        prefix = parse_prefix(old.prefix)
        taken = self._taken[old.network]
        taken.discard(prefix)
        if not len(taken):
            del self._taken[old.network]
        self._count(old, -prefix.size)

    def _count(self, block: Block, size: int) -> None:
        key = block.network, block.subnet
        self._sizes[key] = self._sizes.get(key, 0) + size
        if not self._sizes[key]:
            del self._sizes[key]


_NOTHING = PrefixSet()


def bare(cidr: str) -> str:
    """The address of a CIDR, as `format_address` writes it. ValueError if it is none."""
    v6, value = parse_address(cidr.partition("/")[0])
    return format_address(value, v6)


def addresses_of(peer: Peer) -> list[str]:
    """Its IP addresses, bare, and its MAC. ValueError if they are none."""
    return [*(bare(cidr) for cidr in (peer.ipv4, peer.ipv6) if cidr), peer.mac]


def drop(groups: dict[K, dict[str, T]], key: K, member: str) -> None:
    group = groups.get(key)
    if group is None:
        return
    group.pop(member, None)
    if not group:
        del groups[key]
