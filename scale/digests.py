"""Digests of records, equal in all processes; those of a set do not depend on its order."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from towline.model.cluster import Peer

_encode = msgspec.msgpack.Encoder().encode


class Digests:
    """Of peers; one that was seen before (the same object) is not read again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Peer, int]] = {}

    def of(self, peer: Peer) -> int:
        known = self._known.get(id(peer))
        if known is None:
            known = self._known[id(peer)] = peer, _digest(_encode(peer))
        return known[1]


def digest_of_names(names: Iterable[str]) -> str:
    return str(sum(_digest(name.encode()) for name in names))


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest())
