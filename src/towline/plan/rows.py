"""What other hosts' endpoints are in this host's kernel: the rows of a network's VXLAN device."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from towline.model.cluster import Peer
from towline.model.desired import Row
from towline.model.secure import node_address

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


def rows_of(peers: Iterable[Peer], local: str = "", secure: str = "") -> tuple[Row, ...]:
    """One row per peer of one network, in their order. local: this host's own data path address, "" if it is not known.
    secure: of an encrypted network the prefix of tunnel addresses; its rows lead to those of the peers' nodes.

    Peers are what others say, so what could harm is passed over: a MAC that is none, or of a group, or nobody's (such a
    row would catch everything), a VTEP that is this host or of the other family, an address that no endpoint has. Of
    two peers with one MAC, or one address, the one with the greater (epoch, id) has it.
    """
    usable = [
        (peer, vtep)
        for peer in peers
        if _is_unicast(peer.mac.lower())
        and (vtep := node_address(secure, peer.node) if secure else _vtep(peer.vtep, local))
    ]
    macs: dict[str, Peer] = {}
    owners: dict[str, Peer] = {}
    for peer, _ in usable:
        _claim(macs, peer.mac.lower(), peer)
    usable = [(peer, vtep) for peer, vtep in usable if macs[peer.mac.lower()] is peer]
    own = {peer.id: [a for text in (peer.ipv4, peer.ipv6) if (a := _address(text))] for peer, _ in usable}
    for peer, _ in usable:
        for address in own[peer.id]:
            _claim(owners, address, peer)
    return tuple(
        Row(peer.mac.lower(), vtep, tuple(a for a in own[peer.id] if owners[a] is peer)) for peer, vtep in usable
    )


def _claim(held: dict[str, Peer], key: str, peer: Peer) -> None:
    before = held.setdefault(key, peer)
    if (peer.epoch, peer.id) > (before.epoch, before.id):
        held[key] = peer


def _is_unicast(mac: str) -> bool:
    return bool(_MAC.match(mac)) and not int(mac[:2], 16) & 1 and mac != "00:00:00:00:00:00"


def _vtep(text: str, local: str) -> str:
    address = _address(text)
    return "" if local and ((":" in address) != (":" in local) or address == local) else address


@lru_cache(16_384)  # VTEPs are few, and each address is asked for some times when it comes or goes
def _address(text: str) -> str:
    """Bare, in canonical form, of an address or CIDR; "" if it is none that a host can have."""
    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        return ""
    if address.is_multicast or address.is_unspecified or address.is_loopback or "%" in text:
        return ""
    return str(address)
