"""When a new interface really works: until then its first packets would be lost, and repeated after a second only.

Two things happen a little after the kernel has acknowledged everything: a bridge port begins to forward when a worker
has seen its carrier, and an IPv6 address is answered for when another worker has made its local route (also without
duplicate address detection: addrconf_dad_work in net/ipv6/addrconf.c).
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from array import array
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl

from towline.kernel.netlink import iter_messages
from towline.kernel.rtnl_codec import NETLINK_ROUTE, RTM_NEWROUTE, parse_local
from towline.model.errors import KernelError

_SIOCETHTOOL, _ETHTOOL_GLINK = 0x8946, 0x0A
_IFREQ_POINTER = struct.Struct("16sP16x")
_RTMGRP_IPV6_ROUTE = 1 << 10
_LONGEST_SECONDS = 1.0
_READ = 16 * 1024


def settle_carrier(sock: socket.socket, name: str) -> None:
    """Let the kernel act on a link's new carrier now and here. sock: any socket of the link's namespace.

    ETHTOOL_GLINK is answered after that (ethtool_op_get_link in net/ethtool/ioctl.c).
    """
    command = array("I", [_ETHTOOL_GLINK, 0])
    try:
        ioctl(sock, _SIOCETHTOOL, _IFREQ_POINTER.pack(name.encode(), command.buffer_info()[0]))
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, f"ask for the carrier of {name}") from error


def watch_addresses() -> socket.socket:
    """Notes which IPv6 addresses become local from now on, in the calling thread's namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
    try:
        sock.bind((0, _RTMGRP_IPV6_ROUTE))
    except OSError:
        sock.close()
        raise
    return sock


def wait_local(watch: socket.socket, addresses: Iterable[bytes]) -> None:
    """Until the packed addresses are local: typically 0.1 ms. After a second it gives up quietly: they will be soon."""
    missing = set(addresses)
    end = time.monotonic() + _LONGEST_SECONDS
    with suppress(TimeoutError):
        while missing:
            watch.settimeout(max(end - time.monotonic(), 0.001))
            for part in iter_messages(watch.recv(_READ)):
                if part.type == RTM_NEWROUTE:
                    missing.discard(parse_local(part.body))
