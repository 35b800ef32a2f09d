"""Classic BPF on a socket: datagrams that nobody needs neither fill its buffer nor wake anybody.

A program sees a netlink datagram's first message. It loads numbers, which are in host order, as big-endian.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_ANY_BIT, RETURN = 0x15, 0x35, 0x45, 0x06
_SO_ATTACH_FILTER = 26
_EVERYTHING = 0xFFFFFFFF


class Instruction(NamedTuple):
    """yes, no: how many instructions a jump passes over."""

    code: int
    yes: int
    no: int
    value: int


KEEP, DROP = Instruction(RETURN, 0, 0, _EVERYTHING), Instruction(RETURN, 0, 0, 0)


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    buffer = array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    filtering = struct.pack("@HP", len(program), buffer.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)
