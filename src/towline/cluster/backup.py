"""A backup of the cluster: its records at one revision, in a file of lines. Pure.

Records, and not etcd's own files: so it is put back into whatever etcd there is, by a daemon that needs no tool for it
and knows before it begins whose cluster it is. What passes by itself is left out (leases, what nodes publish).

The file: a line with the header; one for each record, `["<key without prefix>","<value as in etcd>"]`, in order of
keys; a line `{"sha256":"<of all before>"}`. It holds the cluster's secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from towline.cluster import codec
from towline.cluster.contract import KeyValue
from towline.model.cluster import Cluster, Node, Secrets
from towline.model.errors import InvalidParameter, StoreError, Unavailable
from towline.model.masked import Masked

LARGEST = 256 << 20
"""Bytes of a backup."""
_FORMAT = 1
_PASSING = (codec.ALIVE, codec.LEADER, codec.ENDPOINT, codec.SETTLING, codec.SETTLED)


class Header(msgspec.Struct, frozen=True):
    """format: of the file. cluster: id. made: nanoseconds since the epoch. revision: of etcd. records: how many."""

    format: int = msgspec.field(name="towline-backup")
    cluster: str = ""
    made: int = 0
    revision: int = 0
    records: int = 0


class Backup(Masked, frozen=True):
    """others: (key with prefix, value) of everything but cluster, secrets and nodes."""

    secret = frozenset({"others"})

    header: Header
    cluster: Cluster
    secrets: Secrets
    nodes: tuple[Node, ...]
    others: tuple[tuple[str, bytes], ...]


class _End(msgspec.Struct, frozen=True):
    sha256: str


def write(items: Iterable[KeyValue], *, revision: int, now: int) -> bytes:
    """items: everything there is at this revision. now: nanoseconds. Unavailable if there is no cluster."""
    kept = [item for item in items if not item.lease and codec.split_key(item.key)[0] not in _PASSING]
    found = next((item for item in kept if item.key == codec.CLUSTER_KEY), None)
    cluster = codec.decode(found.key, found.value) if found is not None else None
    if not isinstance(cluster, Cluster):
        raise Unavailable("etcd holds no cluster that could be backed up")
    lines = [msgspec.json.encode(Header(_FORMAT, cluster.id, now, revision, len(kept)))]
    lines += [msgspec.json.encode((item.key.removeprefix(codec.PREFIX), item.value.decode())) for item in kept]
    whole = b"\n".join(lines) + b"\n"
    return whole + msgspec.json.encode(_End(hashlib.sha256(whole).hexdigest())) + b"\n"


def read(data: bytes) -> Backup:
    """InvalidParameter for what is no whole backup, or holds what this release cannot read."""
    whole, end = _split(data)
    if hashlib.sha256(whole).hexdigest() != end.sha256:
        raise InvalidParameter("the backup is damaged: its checksum is another. Use another one")
    try:
        header, *lines = whole.splitlines()
        head = msgspec.json.decode(header, type=Header)
        if head.format != _FORMAT:
            raise InvalidParameter(f"the backup has format {head.format}, this release reads {_FORMAT}")
        pairs = [msgspec.json.decode(line, type=tuple[str, str]) for line in lines]
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"this is no backup of a cluster: {error}") from None
    return _backup(head, [(codec.PREFIX + key, value.encode()) for key, value in pairs])


def _split(data: bytes) -> tuple[bytes, _End]:
    at = data.rstrip(b"\n").rfind(b"\n") + 1
    if not data.startswith(b'{"towline-backup"') or not at:
        raise InvalidParameter("this is no backup of a cluster (towline cluster backup makes one)")
    try:
        return data[:at], msgspec.json.decode(data[at:], type=_End)
    except msgspec.MsgspecError:
        raise InvalidParameter("the backup is not whole: its end is missing. Use another one") from None


def _backup(header: Header, items: list[tuple[str, bytes]]) -> Backup:
    cluster: Cluster | None = None
    secrets: Secrets | None = None
    nodes: list[Node] = []
    others: list[tuple[str, bytes]] = []
    for key, value in items:
        try:
            record = codec.decode(key, value)
        except StoreError as error:
            raise InvalidParameter(f"the backup cannot be put back by this release: {error}") from None
        match record:
            case Cluster():
                cluster = record
            case Secrets():
                secrets = record
            case Node():
                nodes.append(record)
            case _ if codec.split_key(key)[0] not in _PASSING:
                others.append((key, value))
    if cluster is None or secrets is None or cluster.id != header.cluster:
        raise InvalidParameter("this is no backup of a cluster: its cluster, or its secrets, are missing")
    return Backup(header, cluster, secrets, tuple(nodes), tuple(others))
