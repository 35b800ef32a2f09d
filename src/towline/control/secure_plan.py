"""What this node's WireGuard interfaces must hold for encrypted networks: a function of its keys, the other nodes'
keys, and who shares such a network with it (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

import msgspec

from towline.kernel.wireguard_contract import WgPeer, WgPeerState, WgState
from towline.model.cluster import Node
from towline.model.secure import HeldKey, key_address, node_address, what_is_wrong_with_keys

KEEPALIVE = 25
"""Seconds between words to a node that has nothing else to say: so that its key is known to be right, and what stands
between (a firewall that remembers flows) lets it answer."""
STALE = 180.0
"""Seconds after which WireGuard itself believes a handshake no more (REJECT_AFTER_TIME)."""
_FIRST = 15.0
"""Seconds until the first handshake with a node must have been."""


class Plan(msgspec.Struct, frozen=True):
    """peers: by interface name, all that it must have, by public key. ways: destination address -> all that leads
    through the interface of the key in use. keyless: ids of nodes without a key that can be used."""

    peers: dict[str, dict[str, WgPeer]]
    ways: tuple[str, ...]
    keyless: tuple[str, ...]


def plan(prefix: str, own: str, held: Sequence[HeldKey], nodes: Mapping[str, Node], sharing: Collection[str]) -> Plan:
    """own: this node's id. held: its keys, the one in use first. sharing: ids of nodes with endpoints on encrypted
    networks that have endpoints here.

    What nodes say is a stranger's word: a key that an older node has, or this one, is nobody else's.
    """
    taken = {key.public for key in held}
    found: list[tuple[str, str, tuple[str, int], tuple[str, ...], bool]] = []
    keyless: list[str] = []
    for node in sorted((nodes[each] for each in sharing if each in nodes), key=lambda node: (node.created, node.id)):
        usable = node.id != own and is_address(node.data_path) and not what_is_wrong_with_keys(node.secure)
        keys = [key for key in node.secure if key.public not in taken] if usable else []
        if not keys and node.id != own:
            keyless.append(node.id)
        for i, key in enumerate(keys):
            taken.add(key.public)
            allowed = [key_address(prefix, key.public), *([node_address(prefix, node.id)] if i == 0 else [])]
            found.append((node.id, key.public, (as_told(node.data_path), key.port), tuple(allowed), i == 0))
    keyless += [each for each in sharing if each not in nodes]
    peers = {
        held_key.name: {
            public: WgPeer(
                public,
                endpoint,
                tuple(f"{address}/128" for address in allowed),
                KEEPALIVE if first and not is_retiring(held, held_key) else 0,
            )
            for _, public, endpoint, allowed, first in found
        }
        for held_key in held
    }
    ways = tuple(address for _, _, _, allowed, _ in found for address in allowed)
    return Plan(peers, ways, tuple(keyless))


def is_retiring(held: Sequence[HeldKey], key: HeldKey) -> bool:
    """Not in use any more. A key that is younger than the one in use is about to take its place."""
    return key is not held[0] and key.made <= held[0].made


def changes(
    wanted: Mapping[str, WgPeer], state: WgState, now: float, told: Mapping[str, tuple[str, int]]
) -> tuple[list[WgPeer], list[str]]:
    """(peers to put, keys to remove first). A peer with addresses that nobody wants is made anew. Where packets of a
    peer come from in truth, WireGuard finds out: its endpoint is set when it is another than was told, or when nothing
    was heard of it for long. told: by public key."""
    found = {each.peer.public: each for each in state.peers}
    everything = {cidr for peer in wanted.values() for cidr in peer.allowed}
    gone = [
        public for public, each in found.items() if public not in wanted or not set(each.peer.allowed) <= everything
    ]
    puts = []
    for public, peer in wanted.items():
        each = found.get(public) if public not in gone else None
        if each is None or not _is_right(peer, each, now, told.get(public)):
            puts.append(peer)
    return puts, gone


def _is_right(peer: WgPeer, found: WgPeerState, now: float, told: tuple[str, int] | None) -> bool:
    moved = found.peer.endpoint != peer.endpoint and (told != peer.endpoint or now - found.handshake > STALE)
    return set(peer.allowed) <= set(found.peer.allowed) and found.peer.keepalive == peer.keepalive and not moved


def route_changes(ways: Iterable[str], source: str, state: WgState) -> tuple[list[str], list[str]]:
    """(addresses to lead through it, those that are not to)."""
    wanted = set(ways)
    return [way for way in wanted if state.routes.get(way) != source], [
        way for way in state.routes if way not in wanted
    ]


def unheard(peers: Mapping[str, WgPeer], state: WgState, now: float, since: Mapping[str, float]) -> list[str]:
    """Public keys, among those that are sent to, that no handshake was made with for too long. since: when each was
    put, same clock as now."""
    handshakes = {each.peer.public: each.handshake for each in state.peers}
    return [
        public
        for public, peer in peers.items()
        if peer.keepalive
        and now - handshakes.get(public, 0.0) > STALE
        and now - since.get(public, now) > (_FIRST if not handshakes.get(public) else 0.0)
    ]


def confirmed(peers: Mapping[str, WgPeer], state: WgState, excused: Collection[str]) -> bool:
    """Whether every node that is sent to has shown that it knows this interface's key. excused: public keys."""
    done = {each.peer.public for each in state.peers if each.handshake}
    return all(public in done or public in excused for public, peer in peers.items() if peer.keepalive)


def as_told(address: str) -> str:
    """As it is read back from an interface: else it would be set anew for ever, because it was written another way."""
    family = AF_INET6 if ":" in address else AF_INET
    return inet_ntop(family, inet_pton(family, address))


def is_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified or address.is_loopback or "%" in text)
