"""Messages of the kernel's generic netlink family "wireguard": builders and parsers, pure.

Source: include/uapi/linux/wireguard.h, drivers/net/wireguard/netlink.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from towline.kernel.genetlink import HEADER, genl
from towline.kernel.netlink import Message, attr, iter_attrs, nest, parse_attrs
from towline.kernel.rtnl_codec import number, split_cidr
from towline.kernel.rtnl_codec import text as string
from towline.kernel.wireguard_contract import WgPeer, WgPeerState
from towline.model.secure import KEY_BYTES, key_bytes, key_text

FAMILY, VERSION = "wireguard", 1
_GET, _SET = 0, 1
_IFNAME, _PRIVATE, _PUBLIC, _LISTEN_PORT, _PEERS = 2, 3, 4, 6, 8
_PEER_PUBLIC, _PEER_FLAGS, _PEER_ENDPOINT, _PEER_KEEPALIVE = 1, 3, 4, 5
_PEER_HANDSHAKE, _PEER_RX, _PEER_TX, _PEER_ALLOWED = 6, 7, 8, 9
_IP_FAMILY, _IP_ADDRESS, _IP_MASK = 1, 2, 3
_REMOVE_ME = 1
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
_TIME = struct.Struct("=qq")
_PEERS_EACH = 64
"""Peers in one message: a peer of ours has at most four addresses, so far from the 64 KiB of an attribute."""


def get_device(family: int, name: str) -> Message:
    """For a dump: one device may take several parts."""
    return genl(family, _GET, VERSION, _name(name))


def set_device(family: int, name: str, private: str, port: int) -> Message:
    """EADDRINUSE when the device is up and the port is another's."""
    attrs = (attr(_PRIVATE, key_bytes(private)), attr(_LISTEN_PORT, _U16.pack(port)))
    return genl(family, _SET, VERSION, _name(name), *attrs)


def set_peers(family: int, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> list[Message]:
    """gone: public keys. ValueError for an address that is none."""
    nested = [*map(_put, puts), *map(_removal, gone)]
    groups = (nested[i : i + _PEERS_EACH] for i in range(0, len(nested), _PEERS_EACH))
    return [genl(family, _SET, VERSION, _name(name), nest(_PEERS, *group)) for group in groups]


def _name(name: str) -> bytes:
    return attr(_IFNAME, name.encode() + b"\0")


def _put(peer: WgPeer) -> bytes:
    """Without WGPEER_F_REPLACE_ALLOWEDIPS, which would leave a moment without."""
    parts = [attr(_PEER_PUBLIC, key_bytes(peer.public)), attr(_PEER_KEEPALIVE, _U16.pack(peer.keepalive))]
    if peer.endpoint is not None:
        parts.append(attr(_PEER_ENDPOINT, pack_endpoint(*peer.endpoint)))
    parts.append(nest(_PEER_ALLOWED, *(nest(0, *_allowed(cidr)) for cidr in peer.allowed)))
    return nest(0, *parts)


def _removal(public: str) -> bytes:
    return nest(0, attr(_PEER_PUBLIC, key_bytes(public)), attr(_PEER_FLAGS, _U32.pack(_REMOVE_ME)))


def _allowed(cidr: str) -> Iterator[bytes]:
    family, address, prefix = split_cidr(cidr)
    yield attr(_IP_FAMILY, _U16.pack(family))
    yield attr(_IP_ADDRESS, address)
    yield attr(_IP_MASK, bytes((prefix,)))


def pack_endpoint(address: str, port: int) -> bytes:
    """A sockaddr_in or sockaddr_in6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except OSError as error:
        raise ValueError(f"not an address: {address!r}") from error
    head = _U16.pack(family) + port.to_bytes(2, "big")
    return head + bytes(4) + packed + bytes(4) if family == socket.AF_INET6 else head + packed + bytes(8)


def parse_endpoint(data: bytes) -> tuple[str, int] | None:
    if len(data) < 8:
        return None
    family, port = _U16.unpack_from(data)[0], int.from_bytes(data[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, data[4:8]), port
    if family == socket.AF_INET6 and len(data) >= 24:
        return socket.inet_ntop(family, data[8:24]), port
    return None


class Dump(msgspec.Struct, frozen=True):
    """A device as the kernel tells it. public: base64, "" without a key."""

    name: str
    public: str
    port: int
    peers: tuple[WgPeerState, ...]


def parse_device(bodies: Iterable[bytes]) -> Dump | None:
    """The parts of one dump; a peer whose addresses do not fit into a part goes on in the next."""
    name, public, port = "", "", 0
    peers: dict[str, WgPeerState] = {}
    for body in bodies:
        attrs = parse_attrs(body[HEADER.size :])
        name = name or string(attrs.get(_IFNAME))
        public = public or _key(attrs.get(_PUBLIC, b""))
        port = port or number(attrs.get(_LISTEN_PORT))
        for _, nested in iter_attrs(attrs.get(_PEERS, b"")):
            state = _parse_peer(nested)
            before = peers.get(state.peer.public)
            peers[state.peer.public] = state if before is None else _joined(before, state)
    return Dump(name, public, port, tuple(peers.values())) if name else None


def _joined(before: WgPeerState, more: WgPeerState) -> WgPeerState:
    allowed = (*before.peer.allowed, *more.peer.allowed)
    return msgspec.structs.replace(before, peer=msgspec.structs.replace(before.peer, allowed=allowed))


def _parse_peer(data: bytes) -> WgPeerState:
    attrs = parse_attrs(data)
    time = attrs.get(_PEER_HANDSHAKE, b"")
    seconds, nanoseconds = _TIME.unpack(time) if len(time) == _TIME.size else (0, 0)
    peer = WgPeer(
        _key(attrs.get(_PEER_PUBLIC, b"")),
        parse_endpoint(attrs.get(_PEER_ENDPOINT, b"")),
        tuple(filter(None, (_parse_allowed(each) for _, each in iter_attrs(attrs.get(_PEER_ALLOWED, b""))))),
        number(attrs.get(_PEER_KEEPALIVE)),
    )
    return WgPeerState(peer, seconds + nanoseconds / 1e9, number(attrs.get(_PEER_RX)), number(attrs.get(_PEER_TX)))


def _parse_allowed(data: bytes) -> str:
    attrs = parse_attrs(data)
    address, family = attrs.get(_IP_ADDRESS, b""), number(attrs.get(_IP_FAMILY))
    if (family, len(address)) not in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
        return ""
    return f"{socket.inet_ntop(family, address)}/{number(attrs.get(_IP_MASK))}"


def _key(data: bytes) -> str:
    return key_text(data) if len(data) == KEY_BYTES and any(data) else ""
