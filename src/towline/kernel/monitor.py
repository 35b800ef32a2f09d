"""What others do to links, addresses, routes and rules: the `Monitor` contract on netlink notifications.

Which notifications tell who caused them (seen on Linux 6.18): nftables' and those of IPv4 addresses carry the
requester's port id; links, IPv6 addresses and what follows from them carry 0. So a change of our own to a link is
reported too, with the link as it is then: the reader compares it and finds it right. Notifications that change nothing
of what we look at (carrier, queues, statistics) are not reported twice. Rows: see `rows_notice`.

A veth pair that is made causes ten of them: of those read together only the last about a link is decoded.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import Drift, Link
from towline.kernel.netlink import Part, force_buffer, iter_messages
from towline.kernel.nft_notice import Notices, ignore_own
from towline.kernel.rows_notice import NEIGHBOURS, device_touched, only_lasting_rows
from towline.kernel.rtnl import FIRST_INDEX
from towline.kernel.vxlan_known import KnownRows
from towline.model.ruleset import TableId

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_LINK, _IPV4_ADDRESS, _IPV4_ROUTE, _IPV6_ADDRESS, _IPV6_ROUTE = 1, 5, 7, 9, 11
_NFTABLES = 7
_LINKS = (codec.RTM_NEWLINK, codec.RTM_DELLINK)
_SUBJECT = 8  # bytes of an ifinfomsg that say whose news it is: family, type, ifindex
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
_BUFFER = 8 * 1024 * 1024
_READ = 128 * 1024
_DATAGRAMS = 1024


class NetlinkMonitor:
    """Watches the network namespace of the thread that makes it.

    links_port and nft_port: port ids of our own request sockets; what notifications ascribe to them is not reported.
    foreign: (table, base chain) of other software in which changes are reported, as in our own tables. known: what our
    VXLAN devices should hold, as their owner (rows_port) has put it; without it, rows are not watched.
    """

    def __init__(
        self,
        *,
        links_port: int = 0,
        nft_port: int = 0,
        foreign: Collection[tuple[TableId, str]] = (),
        known: KnownRows | None = None,
        rows_port: int = 0,
    ) -> None:
        self._links_port = links_port
        self._notices = Notices(foreign)
        self._seen: dict[int, Link] = {}
        self._known = known or KnownRows()
        with ExitStack() as opened:
            self._route = opened.enter_context(
                _subscribe(_NETLINK_ROUTE, _LINK, _IPV4_ADDRESS, _IPV6_ADDRESS, _IPV4_ROUTE, _IPV6_ROUTE)
            )
            self._nft = opened.enter_context(
                _subscribe(_NETLINK_NETFILTER, _NFTABLES, prepare=partial(ignore_own, port=nft_port))
            )
            self._rows = opened.enter_context(
                _subscribe(_NETLINK_ROUTE, NEIGHBOURS, prepare=only_lasting_rows(rows_port))
            )
            self._opened = opened.pop_all()

    def filenos(self) -> tuple[int, ...]:
        return self._route.fileno(), self._nft.fileno(), self._rows.fileno()

    def close(self) -> None:
        self._opened.close()

    def read(self) -> list[Drift]:
        """Each thing once. At most 1,024 datagrams a socket: the descriptor stays readable if more wait."""
        found: dict[tuple[str, str], Drift] = {}
        for drift in (*self._read_route(), *self._read_nft(), *self._read_rows()):
            before = found.get((drift.kind, drift.name))
            found[drift.kind, drift.name] = drift if before is None else later(before, drift)
        return list(found.values())

    def _read_route(self) -> Iterator[Drift]:
        parts: list[Part] = []
        for data in _receive(self._route):
            if data is None:
                yield Drift("overrun")
            else:
                parts += iter_messages(data)
        for part in _links_first(parts):
            yield from self._judge_route(part)

    def _read_nft(self) -> Iterator[Drift]:
        for data in _receive(self._nft):
            if data is None:
                yield Drift("overrun")
            elif self._notices.concern(data):
                yield Drift("rules")

    def _read_rows(self) -> Iterator[Drift]:
        for data in _receive(self._rows):
            if data is None:
                yield Drift("overrun")
            else:
                names = {device_touched(part, self._known) for part in iter_messages(data)}
                yield from (Drift("rows", name) for name in names if name)

    def _judge_route(self, part: Part) -> Iterator[Drift]:
        if part.type in _LINKS:
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
        if part.type == codec.RTM_DELLINK:
            self._known.vanished(link.index)
            yield Drift("links", link.name)
        elif link != before:
            yield Drift("links", link.name, link)
        if before and before.name != link.name:
            yield Drift("links", before.name)

    def _judge_address(self, part: Part) -> Iterator[Drift]:
        """A link may miss an address that went, never one that came. One on a foreign link changes what is in use on
        this host as well."""
        address = codec.parse_address(part.body)
        if address is None or address.kernel_made:
            return
        if part.type == codec.RTM_DELADDR:
            seen = self._seen.get(address.link)
            yield Drift("links", seen.name if seen else address.label)
        if address.link < FIRST_INDEX:
            yield Drift("routes")


def _links_first(parts: Sequence[Part]) -> Iterator[Part]:
    """Without what later ones make old: a link's news tell all of its state. The rest refers to links as they are."""
    links = [part for part in parts if part.type in _LINKS]
    newest = {part.body[:_SUBJECT]: part for part in links}
    yield from (part for part in links if part.type == codec.RTM_DELLINK or newest[part.body[:_SUBJECT]] is part)
    yield from (part for part in parts if part.type not in _LINKS)


def later(before: Drift, after: Drift) -> Drift:
    """Two about one thing as one. A link that must be asked for stays so: an address that it lost is not seen in it."""
    return before if before.link is None else after


def _subscribe(protocol: int, *groups: int, prepare: Callable[[socket.socket], None] | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setblocking(False)
        force_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _BUFFER)
        if prepare is not None:
            prepare(sock)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock


def _receive(sock: socket.socket) -> Iterator[bytes | None]:
    """The datagrams that wait; None where some were lost."""
    for _ in range(_DATAGRAMS):
        try:
            yield sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
