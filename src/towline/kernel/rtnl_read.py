"""Reading links, addresses and routes over rtnetlink."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import HostRoute, Link
from towline.kernel.netlink import DumpInterrupted, Message, NetlinkSocket
from towline.model.errors import KernelError

_DUMP_TRIES = 20


class LinkReader:
    """The reading half of `Links`, on a socket that is shared with the writing half."""

    def __init__(self, sock: NetlinkSocket, families: Sequence[socket.AddressFamily]) -> None:
        self._socket = sock
        self._families = families

    def dump(self) -> list[Link]:
        links = self.raw_links()
        addresses = self._addresses(0)
        found = [info.link for body in links if (info := codec.parse_link(body))]
        return [msgspec.structs.replace(x, addresses=tuple(addresses.get(x.index, ()))) for x in found]

    def raw_links(self) -> list[bytes]:
        """The payloads of all links' messages."""
        return self._dump(codec.get_link(), "list links")

    def find(self, name: str) -> Link | None:
        link = self.bare(name)
        if link is None:
            return None
        return msgspec.structs.replace(link, addresses=tuple(self._addresses(link.index).get(link.index, ())))

    def bare(self, name: str) -> Link | None:
        """Like `find`, without asking for the link's addresses."""
        link = self._single(codec.get_link(name), f"find link {name}")
        return link if link and link.name == name else None  # the kernel finds links by alternative names too

    def at(self, index: int) -> Link | None:
        """The link with this ifindex, without its addresses."""
        return self._single(codec.get_link(index=index), f"find link {index}")

    def _single(self, message: Message, operation: str) -> Link | None:
        try:
            parts = self._socket.get(message)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ERANGE):
                return None
            raise KernelError(error.errno or errno.EIO, operation, str(error.strerror)) from error
        return next((info.link for _, body in parts if (info := codec.parse_link(body))), None)

    def routes(self) -> list[HostRoute]:
        found: dict[HostRoute, None] = {}
        for route in self.main_table():
            if route.on_link and route.prefix and (host := codec.host_route(route.prefix, route.link)):
                found[host] = None
        for link, cidrs in self._addresses(0).items():
            found.update((host, None) for cidr in cidrs if (host := codec.host_route(cidr, link)))
        return list(found)

    def main_table(self) -> list[codec.Route]:
        """Unicast routes of both families."""
        bodies = (body for family in self._families for body in self._routes_of(family))
        return [route for body in bodies if (route := codec.parse_route(body))]

    def _routes_of(self, family: int) -> list[bytes]:
        """Where no route was ever made (lo never came up) there is no main table yet: ENOENT, which means none."""
        try:
            return self._dump(codec.get_routes(family), "list routes")
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return []

    def _addresses(self, index: int) -> dict[int, list[str]]:
        """ifindex -> CIDRs, without the link-local ones that the kernel made; index 0: of all links."""
        found: dict[int, list[str]] = {}
        for body in self._dump(codec.get_addresses(index), "list addresses"):
            address = codec.parse_address(body)
            if address and not address.kernel_made:
                found.setdefault(address.link, []).append(address.cidr)
        return found

    def _dump(self, message: Message, operation: str) -> list[bytes]:
        for _ in range(_DUMP_TRIES):
            try:
                with as_kernel_error(operation):
                    return [body for _, body in self._socket.dump(message)]
            except DumpInterrupted:
                continue
        raise KernelError(errno.EAGAIN, operation, "changed under every one of our reads")


@contextmanager
def as_kernel_error(operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, operation, error.strerror or "") from error
