"""What others do to links, addresses, routes and rules: the `Monitor` contract on netlink notifications.

Which notifications tell who caused them (seen on Linux 6.18): a ruleset's new generation and an IPv4 address carry the
requester's port id; links, IPv6 addresses and what follows from them carry 0. So a change of our own to a link is
reported as Drift("links", name) too, and the reader compares that link and finds it right. Notifications that change
nothing of what we look at (carrier, queues, statistics) are not reported twice.
"""

from __future__ import annotations

import errno
import socket
import struct
from array import array
from collections.abc import Iterator

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import Drift, Link
from towline.kernel.netlink import Part, force_buffer, iter_messages
from towline.kernel.rtnl import FIRST_INDEX

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_LINK, _IPV4_ADDRESS, _IPV4_ROUTE, _IPV6_ADDRESS, _IPV6_ROUTE = 1, 5, 7, 9, 11
_NFTABLES = 7
_NEWGEN = 10 << 8 | 15
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_BUFFER = 8 * 1024 * 1024
_READ = 128 * 1024
_DATAGRAMS = 1024


class NetlinkMonitor:
    """Watches the network namespace of the thread that makes it.

    links_port and nft_port: port ids of our own request sockets; what notifications ascribe to them is not reported.
    """

    def __init__(self, *, links_port: int = 0, nft_port: int = 0) -> None:
        self._links_port = links_port
        self._nft_port = nft_port
        self._seen: dict[int, Link] = {}
        self._route = _subscribe(_NETLINK_ROUTE, _LINK, _IPV4_ADDRESS, _IPV6_ADDRESS, _IPV4_ROUTE, _IPV6_ROUTE)
        try:
            self._nft = _subscribe(_NETLINK_NETFILTER, _NFTABLES, only=_NEWGEN)
        except OSError:
            self._route.close()
            raise

    def filenos(self) -> tuple[int, ...]:
        return self._route.fileno(), self._nft.fileno()

    def close(self) -> None:
        self._route.close()
        self._nft.close()

    def read(self) -> list[Drift]:
        """Each different Drift once. At most 1,024 datagrams a socket: the descriptor stays readable if more wait."""
        found: dict[Drift, None] = {}
        for sock, judge in ((self._route, self._judge_route), (self._nft, self._judge_nft)):
            for part in _receive(sock):
                found.update(dict.fromkeys(judge(part) if part else (Drift("overrun"),)))
        return list(found)

    def _judge_nft(self, part: Part) -> Iterator[Drift]:
        if part.type == _NEWGEN and (not self._nft_port or part.port != self._nft_port):
            yield Drift("rules")

    def _judge_route(self, part: Part) -> Iterator[Drift]:
        if part.type in (codec.RTM_NEWLINK, codec.RTM_DELLINK):
            yield from self._judge_link(part)
        elif self._links_port and part.port == self._links_port:
            return
        elif part.type in (codec.RTM_NEWADDR, codec.RTM_DELADDR):
            yield from self._judge_address(part)
        elif part.type in (codec.RTM_NEWROUTE, codec.RTM_DELROUTE):
            route = codec.parse_route(part.body)
            if route and route.protocol != codec.RTPROT_KERNEL:  # the kernel's own follow addresses and links
                yield Drift("routes")

    def _judge_link(self, part: Part) -> Iterator[Drift]:
        info = codec.parse_link(part.body)
        if info is None or info.family != socket.AF_UNSPEC:  # a bridge's news about its ports
            return
        link = info.link
        before = self._seen.pop(link.index, None)
        if part.type == codec.RTM_NEWLINK:
            self._seen[link.index] = link
        if part.type == codec.RTM_DELLINK or link != before:
            yield Drift("links", link.name)
            if before and before.name != link.name:
                yield Drift("links", before.name)

    def _judge_address(self, part: Part) -> Iterator[Drift]:
        """An address on a foreign link changes what is in use on this host as well."""
        address = codec.parse_address(part.body)
        if address is None or address.kernel_made:
            return
        seen = self._seen.get(address.link)
        yield Drift("links", seen.name if seen else address.label)
        if address.link < FIRST_INDEX:
            yield Drift("routes")


def _subscribe(protocol: int, *groups: int, only: int | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setblocking(False)
        force_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _BUFFER)
        if only is not None:
            _attach_filter(sock, only)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock


def _attach_filter(sock: socket.socket, message_type: int) -> None:
    """Let only datagrams in that begin with a message of this type, so that the rules and elements of a big transaction
    neither fill the buffer nor wake anybody (classic BPF; it loads the type, in host order, as big-endian)."""
    value = socket.htons(message_type)
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x28, 0, 0, 4), (0x15, 0, 1, value), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
    )
    buffer = array("B", program)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 4, buffer.buffer_info()[0]))


def _receive(sock: socket.socket) -> Iterator[Part | None]:
    """The messages that wait; None where some were lost."""
    for _ in range(_DATAGRAMS):
        try:
            data = sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
        else:
            yield from iter_messages(data)
