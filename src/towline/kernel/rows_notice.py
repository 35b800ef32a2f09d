"""Which neighbour notifications concern us: lasting rows of our VXLAN devices that somebody else changed.

A host has many neighbour entries that come and go; those of other links, and ours that expire, stay outside the socket.
The kernel says who changed a neighbour row, but not who changed an FDB row: those are compared with what we have put.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from towline.kernel.netlink import Part
from towline.kernel.socket_filter import (
    DROP,
    JUMP_IF_ANY_BIT,
    JUMP_IF_AT_LEAST,
    JUMP_IF_EQUAL,
    KEEP,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    Instruction,
    attach_filter,
)
from towline.kernel.vxlan_codec import AF_BRIDGE, NTF_SELF, RTM_DELNEIGH, RTM_NEWNEIGH, link_of, parse_row
from towline.kernel.vxlan_known import KnownRows

NEIGHBOURS = 3
"""RTNLGRP_NEIGH."""

_TYPE, _PORT, _FAMILY, _FLAGS = 4, 12, 16, 26
_LITTLE = sys.byteorder == "little"
_INDEX_TOP = 23 if _LITTLE else 20
_STATE_LOW = 24 if _LITTLE else 25
_OUR_INDEXES = 0x40  # top byte of rtnl.FIRST_INDEX
_LASTING = 0xC0  # PERMANENT, NOARP
_PERMANENT_OR_FAILED = 0xA0  # a neighbour row that is deleted by hand goes as FAILED; as NOARP go those of groups
_NOBODY = 0xFFFFFFFF


def only_lasting_rows(port: int) -> Callable[[socket.socket], None]:
    """Lets in rows of links with indexes of ours; what `port` (0: nobody) did to neighbour rows stays out."""
    program = [
        Instruction(LOAD_BYTE, 0, 0, _INDEX_TOP),
        Instruction(JUMP_IF_AT_LEAST, 0, 12, _OUR_INDEXES),
        Instruction(LOAD_WORD, 0, 0, _PORT),
        Instruction(JUMP_IF_EQUAL, 10, 0, socket.htonl(port or _NOBODY)),
        Instruction(LOAD_HALF, 0, 0, _TYPE),
        Instruction(JUMP_IF_EQUAL, 0, 2, socket.htons(RTM_DELNEIGH)),
        Instruction(LOAD_BYTE, 0, 0, _STATE_LOW),
        Instruction(JUMP_IF_ANY_BIT, 2, 6, _PERMANENT_OR_FAILED),
        Instruction(LOAD_BYTE, 0, 0, _STATE_LOW),
        Instruction(JUMP_IF_ANY_BIT, 0, 4, _LASTING),
        Instruction(LOAD_BYTE, 0, 0, _FAMILY),
        Instruction(JUMP_IF_EQUAL, 0, 3, AF_BRIDGE),
        Instruction(LOAD_BYTE, 0, 0, _FLAGS),
        Instruction(JUMP_IF_ANY_BIT, 1, 0, NTF_SELF),
        DROP,
        KEEP,
    ]
    return lambda sock: attach_filter(sock, program)


def device_touched(part: Part, known: KnownRows) -> str:
    """The name of the device of ours whose rows somebody else changed; "" for all else."""
    if part.type not in (RTM_NEWNEIGH, RTM_DELNEIGH):
        return ""
    device = known.device(link_of(part.body))
    if device is None:
        return ""
    gone = part.type == RTM_DELNEIGH
    row = parse_row(part.body, gone=gone)
    return device.name if row is not None and known.drift(row, gone=gone) else ""
