"""Generic netlink: the header that its families share, and their numbers.

Source: include/uapi/linux/genetlink.h, net/netlink/genetlink.c.
"""

from __future__ import annotations

import errno
import struct
import sys

from towline.kernel.netlink import Message, NetlinkSocket, attr, parse_attrs

NETLINK_GENERIC = 16
HEADER = struct.Struct("=BBxx")

_GENL_ID_CTRL = 0x10
_GETFAMILY = 3
_FAMILY_ID, _FAMILY_NAME = 1, 2


def genl(family: int, command: int, version: int, *attrs: bytes) -> Message:
    return Message(family, 0, HEADER.pack(command, version) + b"".join(attrs))


def get_family(name: str) -> Message:
    """The kernel loads the module that has the family, if there is one."""
    return genl(_GENL_ID_CTRL, _GETFAMILY, 1, attr(_FAMILY_NAME, name.encode() + b"\0"))


def parse_family(body: bytes) -> int:
    """Its number, 0 if there is none in the answer."""
    data = parse_attrs(body[HEADER.size :]).get(_FAMILY_ID, b"")
    return int.from_bytes(data, sys.byteorder) if len(data) == 2 else 0


def find_family(sock: NetlinkSocket, name: str) -> int:
    """0: this kernel has none of that name. OSError if it cannot be asked."""
    try:
        parts = sock.get(get_family(name))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return 0
        raise
    return next((number for _, body in parts if (number := parse_family(body))), 0)
