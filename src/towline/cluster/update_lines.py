"""Updates as lines of JSON. A large one is told in parts, so that no line is long and no buffer is large."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from towline.cluster.contract import Update
from towline.cluster.node_api import LARGEST_LINE, MORE, PART, Refused, as_error
from towline.cluster.updates import RECORDS
from towline.model.errors import Unavailable

_encoder = msgspec.json.Encoder()
_updates = msgspec.json.Decoder(Update)
_refusals = msgspec.json.Decoder(Refused)


def lines_of(update: Update, part: int = PART) -> Iterator[bytes]:
    """One line, or several of about `part` bytes that begin with MORE but for the last; a record is not divided."""
    *parts, last = _parts(update, part)
    for each in parts:
        yield MORE + each + b"\n"
    yield last + b"\n"


def _parts(update: Update, part: int) -> Iterator[bytes]:
    encoded = _encoder.encode(update)
    left = sum(len(getattr(update, name)) for name in RECORDS) // 2
    if len(encoded) <= part or left == 0:
        yield encoded
        return
    front: dict[str, tuple[object, ...]] = {}
    back: dict[str, tuple[object, ...]] = {}
    for name in RECORDS:
        records = getattr(update, name)
        front[name], back[name] = records[:left], records[left:]
        left -= len(front[name])
    yield from _parts(replace(update, **front), part)
    yield from _parts(replace(update, cluster=None, **back), part)


class LineReader:
    """Bytes in, updates out."""

    def __init__(self, largest: int = LARGEST_LINE) -> None:
        self._largest = largest
        self._pieces: list[bytes] = []
        self._size = 0
        self._parts: list[Update] = []

    def feed(self, chunk: bytes) -> Iterator[Update]:
        """Unavailable for what is no update; the error that a manager ended its stream with."""
        first, *more = chunk.split(b"\n")
        self._keep(first)
        for piece in more:
            line = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            if line and (update := self._whole(line)) is not None:
                yield update
            self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
        if self._size > self._largest:
            raise Unavailable(f"the manager's stream has a line of more than {self._largest} bytes")

    def _whole(self, line: bytes) -> Update | None:
        if line.startswith(MORE):
            self._parts.append(_decoded(line[len(MORE) :]))
            return None
        parts, self._parts = [*self._parts, _decoded(line)], []
        return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: list[Update]) -> Update:
    whole = {name: tuple(record for each in parts for record in getattr(each, name)) for name in RECORDS}
    return replace(parts[0], **whole)


def _decoded(line: bytes) -> Update:
    try:
        return _updates.decode(line)
    except msgspec.MsgspecError as error:
        unknown = str(error)
    try:
        refusal = _refusals.decode(line)
    except msgspec.MsgspecError:
        raise Unavailable(f"the manager's stream is not understood: {unknown}") from None
    raise as_error(refusal)
