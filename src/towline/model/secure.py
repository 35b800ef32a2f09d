"""What encrypted networks are carried by: keys that nodes publish, and the addresses that follow from ids and keys.

Each cluster has a prefix of unique local IPv6 addresses (RFC 4193). In it a node has an address by its id, to which
packets are sent, and one by each of its keys, from which they are sent. So no row changes when keys do, and a packet
from an old key and one from a new key are told apart.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol

import msgspec

from towline.model.masked import Masked

KEY_BYTES = 32
MAX_KEYS = 2
"""Of one node at a time: the one in use, and the one that takes or gave its place."""
OVERHEAD = 80
"""Bytes that encryption takes of each packet, whatever the family of the underlay: 32 of WireGuard (header 16, tag 16),
and an outer header more: IP and UDP of the underlay (28 or 48) besides IPv6 and UDP inside (48)."""
DEVICE_OVERHEAD = {4: 60, 6: 80}
"""Bytes less than the uplink's MTU that a WireGuard interface has: IP, UDP 8, WireGuard 32."""
LEAST_MTU = 1280
"""Of an interface with IPv6 (RFC 8200, section 5)."""
ANYWHERE = "::"
"""The local address of a VXLAN device of an encrypted network: the route says it, so that it may change with keys."""


class SecureKey(msgspec.Struct, frozen=True):
    """A node's WireGuard key. public: base64, as `wg` shows it. port: UDP, at the node's data path address."""

    public: str
    port: int


def secure_port(data_path_port: int) -> int:
    """The UDP port of the VXLAN packets inside WireGuard: not the one of those in the clear, so that the kernel looks
    them up in another socket, and rules tell them apart."""
    return data_path_port + 1 if data_path_port < 65535 else data_path_port - 1


def secure_prefix(cluster: str) -> str:
    """CIDR, /48, of a cluster by its id."""
    return str(IPv6Network((b"\xfd" + sha256(b"cluster " + cluster.encode()).digest()[:5] + bytes(10), 48)))


def node_address(prefix: str, node: str) -> str:
    """Where packets for a node go to; bare."""
    return _within(prefix, b"node " + node.encode(errors="replace"))


def key_address(prefix: str, public: str) -> str:
    """Where packets come from that were encrypted with this key; bare."""
    return _within(prefix, b"key " + public.encode(errors="replace"))


def device_name(public: str) -> str:
    """The name of the interface that has this key: unique on the machine, since wireguard-go's control sockets are
    machine-wide."""
    return f"wg-{sha256(b'device ' + public.encode()).hexdigest()[:12]}"


def _within(prefix: str, what: bytes) -> str:
    return str(IPv6Address(IPv6Network(prefix).network_address.packed[:6] + sha256(what).digest()[:10]))


def what_is_wrong_with_keys(keys: tuple[SecureKey, ...]) -> str:
    """In words; "" if nothing is."""
    if len(keys) > MAX_KEYS:
        return f"{len(keys)} keys, where {MAX_KEYS} may be"
    if len({key.public for key in keys}) < len(keys):
        return "one key twice"
    for key in keys:
        if not 0 < key.port < 65536:
            return f"UDP port {key.port} is none"
        if not is_key(key.public):
            return "a public key that is not 32 bytes in base64"
    return ""


def is_key(text: str) -> bool:
    """In the one way to write it: base64 leaves two bits over, by which one key would pass for four."""
    try:
        data = key_bytes(text)
        return len(data) == KEY_BYTES and any(data) and key_text(data) == text
    except (binascii.Error, ValueError):
        return False


def key_bytes(text: str) -> bytes:
    """Of one that `is_key`."""
    return base64.b64decode(text, validate=True)


def key_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class HeldKey(Masked, frozen=True):
    """A key of this node. private, public: base64. made: seconds since the epoch."""

    secret = frozenset({"private"})

    private: str
    public: str
    port: int
    made: float

    @property
    def name(self) -> str:
        """Of its interface."""
        return device_name(self.public)


class KeyFile(Protocol):
    """Where a node keeps its keys."""

    def load(self) -> tuple[HeldKey, ...]:
        """() if there is none. StoreError, StoreCorrupt."""
        ...

    def save(self, held: tuple[HeldKey, ...]) -> None:
        """StoreError."""
        ...
