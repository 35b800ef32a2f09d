"""Names and indexes of links, by ioctl: the cheapest question there is."""

from __future__ import annotations

import errno
import secrets
import socket
import struct
from fcntl import ioctl

from towline.kernel.rtnl import FIRST_INDEX
from towline.model.errors import KernelError

_SIOCGIFNAME, _SIOCGIFINDEX = 0x8910, 0x8933
_IFREQ = struct.Struct("16si20x")
_IFREQ_INDEX = struct.Struct("16xi20x")
_NAME_MAX = 15


class LinkProbe:
    """Asks about the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> LinkProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def index(self, name: str) -> int:
        """The ifindex of a link, 0 if there is none (anymore): names on their way out are free already."""
        data = name.encode(errors="surrogateescape")
        if not data or len(data) > _NAME_MAX:
            return 0
        try:
            return int(_IFREQ_INDEX.unpack(ioctl(self.socket, _SIOCGIFINDEX, _IFREQ.pack(data, 0)))[0])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise KernelError(error.errno or errno.EIO, f"find link {name}") from error

    def name(self, index: int) -> str:
        """The name of the link with this ifindex, "" if there is none (anymore)."""
        try:
            answer = ioctl(self.socket, _SIOCGIFNAME, _IFREQ.pack(b"", index))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return ""
            raise KernelError(error.errno or errno.EIO, f"find link {index}") from error
        return str(_IFREQ.unpack(answer)[0].rstrip(b"\0").decode(errors="surrogateescape"))

    def free_index(self) -> int:
        """An index that no link has, out of the range that only we use: what follows a refused creation in the same
        send must not reach somebody else's link."""
        while True:
            index = FIRST_INDEX + secrets.randbelow(FIRST_INDEX)
            try:
                ioctl(self.socket, _SIOCGIFNAME, _IFREQ.pack(b"", index))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return index
                raise KernelError(error.errno or errno.EIO, "choose a link index") from error
