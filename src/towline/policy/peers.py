"""Is what the cluster says of an endpoint elsewhere something that this node can act on?"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from towline.model.cluster import Block, Peer
from towline.model.network import Network
from towline.policy.texts import shown

LONGEST_ID = 64


def what_is_wrong_with_peer(peer: Peer, network_id: str) -> str:
    """ "" if it is sound. Names that cannot be looked up do no harm, so they are not judged."""
    if not (0 < len(peer.id) <= LONGEST_ID and peer.id.isascii() and peer.id.isalnum()):
        return f"its id {shown(peer.id[:LONGEST_ID])} is none"
    if peer.network != network_id:
        return f"it is on network {shown(peer.network[:LONGEST_ID])}"
    if not _is_unicast_mac(peer.mac):
        return f"its MAC address {shown(peer.mac[:LONGEST_ID])} is none of one interface"
    if not _is_host(peer.vtep):
        return f"its node's address {shown(peer.vtep[:LONGEST_ID])} is none of a host"
    for text, kind in ((peer.ipv4, IPv4Interface), (peer.ipv6, IPv6Interface)):
        if text and not _is_interface(text, kind):
            return f"its address {shown(text[:LONGEST_ID])} is none"
    return ""


def what_is_wrong_with_block(block: Block, network: Network) -> str:
    """ "" if it is a part of one of the network's subnets."""
    if all(pool.subnet != block.subnet for pool in network.pools):
        return f"network {network.name} has no subnet {shown(block.subnet[:LONGEST_ID])}"
    kind = IPv6Interface if ":" in block.subnet else IPv4Interface
    if not _is_interface(block.prefix, kind) or not kind(block.prefix).network.subnet_of(kind(block.subnet).network):  # type: ignore[arg-type]
        return f"{shown(block.prefix[:LONGEST_ID])} is no part of {block.subnet}"
    return ""


def _is_unicast_mac(text: str) -> bool:
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) != 2 or not part.isascii() for part in parts):
        return False
    try:
        octets = bytes.fromhex("".join(parts))
    except ValueError:
        return False
    return len(octets) == 6 and not octets[0] & 1 and any(octets)


@lru_cache(16_384)  # there are as many as nodes
def _is_host(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast)


def _is_interface(text: str, kind: type[IPv4Interface] | type[IPv6Interface]) -> bool:
    address, _, length = text.partition("/")
    bits = 32 if kind is IPv4Interface else 128
    try:
        IPv4Address(address) if kind is IPv4Interface else IPv6Address(address)  # a quarter of an interface's time
    except ValueError:
        return False
    return len(length) in (1, 2, 3) and length.isascii() and length.isdigit() and int(length) <= bits
