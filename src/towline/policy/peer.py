"""Is what a node says of an endpoint possible? Nodes are not trusted: one that was taken over must not reach others'
addresses, nor fill the cluster's store. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from towline.ipam.blocks import reserved_addresses
from towline.ipam.prefix import Prefix, parse_address, parse_interface, parse_prefix
from towline.model.cluster import Node, Peer
from towline.model.errors import Forbidden, InvalidParameter
from towline.model.network import Network

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_LONGEST_NAME = 255
_MOST_NAMES = 64
_MOST_MOVES = 2**53


def check_peer(peer: Peer, network: Network, node: Node) -> None:
    """Forbidden for what is another's, InvalidParameter for what cannot be. Who leased its addresses is not asked."""
    if peer.node != node.id or peer.network != network.id:
        raise Forbidden(f"node {node.id} may tell of its own endpoints on network {network.id} only")
    if peer.service and not _ID.fullmatch(peer.service):
        raise InvalidParameter(f"endpoint {peer.id[:64]}: its service's id is not one: {peer.service[:64]!r}")
    if not _ID.fullmatch(peer.id):
        raise InvalidParameter(f"the endpoint's id is not one: {peer.id[:64]!r}")
    if wrong := _fault(peer, network, node):
        raise InvalidParameter(f"endpoint {peer.id} on network {network.name}: {wrong}")


def _fault(peer: Peer, network: Network, node: Node) -> str:
    if not _MAC.fullmatch(peer.mac) or int(peer.mac[:2], 16) & 1 or peer.mac == "00:00:00:00:00:00":
        return f"{peer.mac[:32]!r} is not a unicast MAC in lower case"
    if not (peer.ipv4 or peer.ipv6):
        return "it has no address"
    for cidr, v6 in ((peer.ipv4, False), (peer.ipv6, True)):
        if cidr and (wrong := _address_fault(cidr, v6, network)):
            return wrong
    return _vtep_fault(peer, node) or _size_fault(peer)


def _address_fault(cidr: str, v6: bool, network: Network) -> str:
    try:
        subnet, value = parse_interface(cidr[:64])
    except ValueError:
        return f"{cidr[:64]!r} is not an address"
    if network.driver != "overlay" and subnet.v6 == v6:
        return "" if value and not _multicast(v6, value) else f"{cidr} is no address of a host"
    for pool in network.pools if subnet.v6 == v6 else ():
        if parse_prefix(pool.subnet) == subnet:
            return f"{cidr} is reserved in its subnet" if value in reserved_addresses(pool) else ""
    return f"{cidr} is in none of its subnets ({', '.join(pool.subnet for pool in network.pools)})"


def _vtep_fault(peer: Peer, node: Node) -> str:
    try:
        v6, value = parse_address(peer.vtep[:64])
    except ValueError:
        return f"{peer.vtep[:64]!r} is not the address of a data path"
    if not value or _multicast(v6, value):
        return f"{peer.vtep} cannot be the address of a data path"
    if node.data_path and parse_address(node.data_path) != (v6, value):
        return f"{peer.vtep} is not the node's data path, which is {node.data_path}"
    return ""


def _multicast(v6: bool, value: int) -> bool:
    block = Prefix(True, 0xFF << 120, 8) if v6 else Prefix(False, 0xE0 << 24, 3)
    return block.start <= value <= block.end


def _size_fault(peer: Peer) -> str:
    if not 1 <= peer.epoch <= _MOST_MOVES:
        return f"epoch {peer.epoch} is not from 1 to {_MOST_MOVES}"
    if len(peer.dns_names) > _MOST_NAMES:
        return f"{len(peer.dns_names)} names, at most {_MOST_NAMES}"
    if long := _unfit((peer.name, peer.sandbox, *peer.dns_names)):
        return f"the name {long[:64]!r} is longer than {_LONGEST_NAME} bytes, or has characters that cannot be shown"
    return ""


def _unfit(names: Iterable[str]) -> str:
    for name in names:
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or not name.isprintable():
            return name
    return ""
