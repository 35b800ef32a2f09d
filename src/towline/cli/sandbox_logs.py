"""`towline logs`: what a detached command has written, each stream to its own.

The daemon sends Docker's log frames: one byte for the stream (1 standard output, 2 standard error), three of zero, four
for the length, highest first, then so many bytes of text.
"""

from __future__ import annotations

import sys

from towline.cli import query
from towline.cli.client import connect
from towline.cli.errors import Unreachable, UsageError
from towline.cli.flags import Parsed, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = 8
_STREAMS = (1, 2)
_LONGEST = 1 << 24


def logs(args: Parsed) -> int:
    """Ends at the end of what there is, or with --follow at the end of the command."""
    if args.on("json"):
        raise UsageError("logs are bytes of the command's own: --json does not go with them")
    tail = args.text("tail")
    if tail not in ("", "all") and not (tail.isascii() and tail.isdigit()):
        raise usage(f'--tail wants a number of lines or "all", not "{tail}"', "logs")
    target = query.path(
        f"/containers/{query.quote(args.operands[0])}/logs",
        stdout="1",
        stderr="1",
        tail="" if tail == "all" else tail,
        follow="1" if args.on("follow") else "",
    )
    outputs = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
    for stream, text in frames(connect(args).raw(target)):
        outputs[stream].write(text)
        outputs[stream].flush()
    return 0


def frames(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(stream, text) each. Unreachable if the daemon's answer is not made of frames."""
    rest = b""
    for piece in pieces:
        rest += piece
        while len(rest) >= _HEAD:
            stream, length = rest[0], int.from_bytes(rest[4:_HEAD], "big")
            if stream not in _STREAMS or length > _LONGEST:
                raise Unreachable("the daemon's answer is not a log")
            if len(rest) < _HEAD + length:
                break
            yield stream, rest[_HEAD : _HEAD + length]
            rest = rest[_HEAD + length :]
    if rest:
        raise Unreachable("the daemon's answer ends in the middle of a line")
