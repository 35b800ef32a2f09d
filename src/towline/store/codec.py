"""How records become bytes: the one place that knows the encoding and its version.

A value is one byte of version, four bytes CRC-32 (big endian) over version, kind, id and payload, and the payload.
SQLite does not checksum the pages of its file, hence the CRC: a flipped bit in a name must not become another name.

A new version is needed when a field is renamed or changes its type or its default (defaults are not written), and when
an older release must not drop a field it does not know. Then: raise `VERSION`, add a reader to `READERS`, and keep the
old one: it turns an old payload into today's record. Writing always uses `VERSION`. A new kind needs an entry in
`store.migrations` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final
from zlib import crc32

import msgspec

from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.errors import StoreCorrupt, StoreError
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service

Stored = Network | Endpoint | Sandbox | Peer | Block | Service | str | int
Reader = Callable[[str, bytes], Stored]

NETWORK: Final = "network"
ENDPOINT: Final = "endpoint"
SANDBOX: Final = "sandbox"
PEER: Final = "peer"
BLOCK: Final = "block"
SERVICE: Final = "service"
META: Final = "meta"
REVISION: Final = "revision"
KINDS: Mapping[type, str] = MappingProxyType(
    {
        Network: NETWORK,
        Endpoint: ENDPOINT,
        Sandbox: SANDBOX,
        Peer: PEER,
        Block: BLOCK,
        Service: SERVICE,
        str: META,
        int: REVISION,
    }
)

VERSION = 1
_HEAD = Struct(">BI")
_encode = msgspec.json.Encoder().encode
_decoders: Mapping[str, msgspec.json.Decoder[Stored]] = {
    kind: msgspec.json.Decoder(type) for type, kind in KINDS.items()
}


def read_v1(kind: str, payload: bytes) -> Stored:
    """JSON of the record; KeyError for an unknown kind, msgspec.DecodeError or ValidationError for a bad payload."""
    return _decoders[kind].decode(payload)


READERS: Mapping[int, Reader] = MappingProxyType({1: read_v1})


def encode(record_id: str, record: Stored) -> bytes:
    payload = _encode(record)
    return _HEAD.pack(VERSION, _checksum(VERSION, KINDS[type(record)], record_id, payload)) + payload


def decode(kind: str, record_id: str, value: bytes, readers: Mapping[int, Reader] = READERS) -> Stored:
    """Errors name kind and id. StoreCorrupt: a bad checksum or an undecodable payload. StoreError: a sound record of a
    version that is not known here, which only another release can have written; it is not damage."""
    name = f"{kind} {record_id}"
    if len(value) < _HEAD.size:
        raise StoreCorrupt(f"record {name!r} is cut short")
    version, checksum = _HEAD.unpack_from(value)
    payload = value[_HEAD.size :]
    if checksum != _checksum(version, kind, record_id, payload):
        raise StoreCorrupt(f"record {name!r} fails its checksum")
    reader = readers.get(version)
    if reader is None:
        raise StoreError(
            f"store: record {name!r} has encoding version {version}, this release reads {sorted(readers)}: "
            "use the release that wrote it, or a newer one"
        )
    try:
        return reader(kind, payload)
    except (KeyError, msgspec.MsgspecError) as error:
        raise StoreCorrupt(f"record {name!r} cannot be decoded: {error}") from error


def _checksum(version: int, kind: str, record_id: str, payload: bytes) -> int:
    return crc32(payload, crc32(f"{version}\0{kind}\0{record_id}\0".encode()))
