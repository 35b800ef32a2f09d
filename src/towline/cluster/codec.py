"""Keys of docs/design/cluster.md and their records: the one place that knows how they are written in etcd.

A value is JSON, `{"v": 1, "record": {...}}`. A new version is needed when a field is renamed or changes its type or its
default (defaults are not written), and when an older release must not drop a field that it does not know. Then: raise
`VERSION`, and keep a reader for the old one in `_READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from towline.model.cluster import Alive, Block, Cluster, Node, Peer, Secrets
from towline.model.errors import StoreCorrupt, StoreError
from towline.model.network import Network
from towline.model.service import Service

PREFIX: Final = "/towline/v1/"
VERSION: Final = 1


class Guard(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key that changes with every decision of its kind. last_vni: the last one given out in order."""

    last_vni: int = 0


class Leader(msgspec.Struct, frozen=True):
    """Who does what only one manager does. The key lives as long as the lease of that manager."""

    node: str


class Settling(msgspec.Struct, frozen=True):
    """While the key is there, nobody gets a new block: nodes say which they hold. The key has a lease."""

    era: int


class Settled(msgspec.Struct, frozen=True):
    """This node has said which blocks it holds. The key has the lease of `Settling`."""

    node: str


Record = Cluster | Secrets | Node | Alive | Network | Peer | Block | Service | Guard | Leader | Settling | Settled

CLUSTER: Final = "cluster"
SECRETS: Final = "secrets"
NODE: Final = "node"
ALIVE: Final = "alive"
NETWORK: Final = "network"
ENDPOINT: Final = "endpoint"
BLOCK: Final = "block"
SERVICE: Final = "service"
GUARD: Final = "guard"
LEADER: Final = "leader"
SETTLING: Final = "settling"
SETTLED: Final = "settled"
_TYPES: Mapping[str, type] = {
    CLUSTER: Cluster,
    SECRETS: Secrets,
    NODE: Node,
    ALIVE: Alive,
    NETWORK: Network,
    ENDPOINT: Peer,
    BLOCK: Block,
    SERVICE: Service,
    GUARD: Guard,
    LEADER: Leader,
    SETTLING: Settling,
    SETTLED: Settled,
}

CLUSTER_KEY: Final = PREFIX + CLUSTER
SECRETS_KEY: Final = PREFIX + SECRETS
NETWORKS_GUARD: Final = PREFIX + "guard/networks"
SERVICES_GUARD: Final = PREFIX + "guard/services"
LEADER_KEY: Final = PREFIX + LEADER
SETTLING_KEY: Final = PREFIX + SETTLING
SETTLED_PREFIX: Final = PREFIX + SETTLED + "/"


def node_key(node_id: str) -> str:
    return f"{PREFIX}node/{node_id}"


def alive_key(node_id: str) -> str:
    return f"{PREFIX}alive/{node_id}"


def network_key(network_id: str) -> str:
    return f"{PREFIX}network/{network_id}"


def endpoint_key(network_id: str, endpoint_id: str) -> str:
    return f"{PREFIX}endpoint/{network_id}/{endpoint_id}"


def endpoints_prefix(network_id: str) -> str:
    return f"{PREFIX}endpoint/{network_id}/"


def block_key(network_id: str, prefix: str) -> str:
    return f"{PREFIX}block/{network_id}/{prefix}"


def blocks_prefix(network_id: str) -> str:
    return f"{PREFIX}block/{network_id}/"


def blocks_guard(network_id: str) -> str:
    return f"{PREFIX}guard/blocks/{network_id}"


def service_key(service_id: str) -> str:
    return f"{PREFIX}service/{service_id}"


def node_guard(node_id: str) -> str:
    """Changes when a node is heard of again, and when what it had is taken from it."""
    return f"{PREFIX}guard/node/{node_id}"


def split_key(key: str) -> tuple[str, str]:
    """(kind, the rest of the key): ("endpoint", "<network>/<id>"). ("", key) for a key that is not below ours."""
    if not key.startswith(PREFIX):
        return "", key
    kind, _, rest = key[len(PREFIX) :].partition("/")
    return kind, rest


class _Envelope(msgspec.Struct, frozen=True):
    v: int
    record: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)
_decoders: Mapping[str, msgspec.json.Decoder[Record]] = {
    kind: msgspec.json.Decoder(type_) for kind, type_ in _TYPES.items()
}


def _read_v1(kind: str, payload: msgspec.Raw) -> Record:
    return _decoders[kind].decode(payload)


_READERS: Mapping[int, Callable[[str, msgspec.Raw], Record]] = {1: _read_v1}


def encode(record: Record) -> bytes:
    return _encoder.encode(_Envelope(VERSION, msgspec.Raw(_encoder.encode(record))))


def decode(key: str, value: bytes) -> Record | None:
    """None for a kind of key that this release does not know. StoreCorrupt for bytes that nobody of ours wrote,
    StoreError for a record of another release."""
    kind = split_key(key)[0]
    if kind not in _TYPES:
        return None
    try:
        envelope = _envelope.decode(value)
        reader = _READERS.get(envelope.v)
        if reader is None:
            raise StoreError(
                f"etcd: {key} has encoding version {envelope.v}, this release reads {sorted(_READERS)}: "
                "use the release that wrote it, or a newer one"
            )
        return reader(kind, envelope.record)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"etcd: {key} cannot be decoded: {error}") from error
