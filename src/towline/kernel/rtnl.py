"""Links, addresses and routes over rtnetlink: the `Links` contract on the real kernel.

Crash safety: link and alias are made in one send, which the kernel carries out whole even if this process is killed, so
a link of ours without our alias stays behind only when the kernel refused the alias. Until it has its settings it is
down: what a crash leaves in between harms nobody, and is seen (`Link` has the settings too).
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Sequence
from ipaddress import ip_interface

from towline.kernel import parents
from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import HostRoute, Link, Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.rtnl_read import LinkReader
from towline.kernel.rtnl_settings import settings_attr
from towline.kernel.rtnl_steps import Step, first_refusal
from towline.kernel.rtnl_unlink import Unlinker
from towline.model.desired import Bridge, Parent
from towline.model.errors import KernelError

# The kernel hands out indexes from 1 upwards and never gets here; links that we make are the only ones at and above it.
FIRST_INDEX = 0x4000_0000
_LAST_INDEX = 0x7FFF_FFFF


class RtnlLinks:
    """Works in the network namespace of the thread that makes it, and must be called from threads in that namespace
    (IPv6 settings are files of the caller's namespace). first_index: where to start choosing; random by default."""

    def __init__(self, sysctl: Sysctl, *, first_index: int | None = None) -> None:
        self._socket = NetlinkSocket(codec.NETLINK_ROUTE)
        self._sysctl = sysctl
        self._ipv6 = sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None
        families = [socket.AF_INET, socket.AF_INET6] if self._ipv6 else [socket.AF_INET]
        self._reader = LinkReader(self._socket, families)
        self._unlinker = Unlinker(self._socket, self._reader)
        self._next = first_index or FIRST_INDEX + secrets.randbelow(_LAST_INDEX - FIRST_INDEX)

    @property
    def portid(self) -> int:
        """The port id that notifications about our own changes carry, where they carry one."""
        return self._socket.portid

    def close(self) -> None:
        self._socket.close()

    def create_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        """Two sends with the IPv6 settings between them: no link is ever up without its settings."""
        try:
            indexes = self._free_indexes(len(bridges))
        except OSError as error:
            return [_as_kernel_error(error, "choose link indexes")] * len(bridges)
        results = self._apply([self._creation(b, i) for b, i in zip(bridges, indexes, strict=True)])
        results = [error or self._set_ipv6(b, None) for b, error in zip(bridges, results, strict=True)]
        opened = self._apply(
            [[] if e else _opening(b, i) for b, i, e in zip(bridges, indexes, results, strict=True)],
        )
        return [first or second for first, second in zip(results, opened, strict=True)]

    def repair_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        return [self._repair(bridge) for bridge in bridges]

    def _repair(self, bridge: Bridge) -> KernelError | None:
        try:
            return self._rename(bridge) or self._correct(bridge)
        except KernelError as error:
            return error

    def _correct(self, bridge: Bridge) -> KernelError | None:
        """Settings come after the MTU, which may bring new ones with it, and before the link is up."""
        link = self.find(bridge.name)
        if link is None or link.kind != "bridge":
            return _unrepairable(bridge, link)
        if steps := _differences(link, bridge):
            error, link = self._apply([steps])[0], self.find(bridge.name)
            if error or link is None:
                return error or _unrepairable(bridge, link)
        return self._set_ipv6(bridge, link) or self._apply([_reopening(link, bridge)])[0]

    def _rename(self, bridge: Bridge) -> KernelError | None:
        """Kernels before 6.2 rename only links that are down."""
        if self._reader.bare(bridge.name) is not None:
            return None
        for link in self._reader.dump():
            if link.alias == bridge.alias and link.kind == "bridge":
                operation = f"rename {link.name} to {bridge.name}"
                naming = Step(codec.set_link(link.index, codec.name_attr(bridge.name)), operation)
                (error,) = self._apply([[naming]])
                if error is not None and error.errno == errno.EBUSY:
                    (error,) = self._apply([[Step(codec.set_link(link.index, up=False), operation), naming]])
                return error
        return None

    def ensure_parent(self, parent: Parent) -> KernelError | None:
        return parents.ensure(self._socket, self._reader, parent, lambda: self._free_indexes(1)[0])

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        return self._apply([[Step(codec.set_named_link(n, up=False), f"set link {n} down")] for n in names])

    def disown(self, names: Sequence[str]) -> list[KernelError | None]:
        unmarked = codec.alias_attr("")
        return self._apply([[Step(codec.set_named_link(n, unmarked), f"take our mark off link {n}")] for n in names])

    def remove(self, names: Sequence[str]) -> list[KernelError | None]:
        try:
            return self._unlinker.remove(names)
        except (OSError, KernelError) as error:
            return [_as_kernel_error(error, f"remove link {name}") for name in names]

    def dump(self) -> list[Link]:
        return self._reader.dump()

    def find(self, name: str) -> Link | None:
        return self._reader.find(name)

    def routes(self) -> list[HostRoute]:
        return self._reader.routes()

    def _free_indexes(self, count: int) -> list[int]:
        """Indexes that no link has: the messages after a refused creation must not reach somebody else's link."""
        free: list[int] = []
        while len(free) < count:
            asked = [self._advance() for _ in range(count - len(free))]
            for index, ack in zip(asked, self._socket.transact([codec.get_link(index=i) for i in asked]), strict=True):
                if ack.errno == errno.ENODEV:
                    free.append(index)
                elif ack.errno:
                    raise OSError(ack.errno, ack.text)
        return free

    def _advance(self) -> int:
        index = self._next
        self._next = index + 1 if index < _LAST_INDEX else FIRST_INDEX
        return index

    def _creation(self, bridge: Bridge, index: int) -> list[Step]:
        """Down, so that neither the host nor the bridge's ports can talk over it; the IPv4 addresses cost less here."""
        name = bridge.name
        create = f"create bridge {name}"
        settings = settings_attr(
            link_local=False if bridge.ipv6_off and self._ipv6 else None, route_localnet=bridge.route_localnet
        )
        steps = [
            Step(codec.new_bridge(index, name, bridge.mac), create),
            Step(codec.set_link(index, codec.alias_attr(bridge.alias), settings), create),
        ]
        if bridge.mtu:
            steps.append(Step(codec.set_link(index, codec.mtu_attr(bridge.mtu)), f"set mtu {bridge.mtu} on {name}"))
        return steps + _addressing(name, index, [cidr for cidr in bridge.addresses if ":" not in cidr])

    def _set_ipv6(self, bridge: Bridge, link: Link | None) -> KernelError | None:
        """No IPv6 at all, or IPv6 that believes no router advertisement from a container. link: as it is, None if new.

        A device whose MTU is too small for IPv6 has no settings, and needs none.
        """
        if not self._ipv6:
            return None
        wanted = {}
        if link is None or link.ipv6_off != bridge.ipv6_off:
            wanted["disable_ipv6"] = str(int(bridge.ipv6_off))
        if not bridge.ipv6_off and (link is None or link.accept_ra):
            wanted["accept_ra"] = "0"
        try:
            for key, value in wanted.items():
                self._sysctl.write(f"net/ipv6/conf/{bridge.name}/{key}", value)
        except KernelError as error:
            return None if error.errno == errno.ENOENT else error
        return None

    def _apply(self, items: Sequence[Sequence[Step]]) -> list[KernelError | None]:
        """All steps of all items in one send; per item its first refusal."""
        try:
            acks = iter(self._socket.transact([step.message for item in items for step in item]))
        except OSError as error:
            return [KernelError(error.errno or errno.EIO, item[0].operation) if item else None for item in items]
        return [first_refusal(item, [next(acks) for _ in item]) for item in items]


def _opening(bridge: Bridge, index: int) -> list[Step]:
    steps = [Step(codec.set_link(index, up=True), f"create bridge {bridge.name}")]
    return steps + _addressing(bridge.name, index, [cidr for cidr in bridge.addresses if ":" in cidr])


def _differences(link: Link, bridge: Bridge) -> list[Step]:
    attrs = []
    if link.alias != bridge.alias:
        attrs.append(codec.alias_attr(bridge.alias))
    if bridge.mac and link.mac != bridge.mac.lower():
        attrs.append(codec.mac_attr(bridge.mac))
    if bridge.mtu and link.mtu != bridge.mtu:
        attrs.append(codec.mtu_attr(bridge.mtu))
    if link.route_localnet != bridge.route_localnet:
        attrs.append(settings_attr(route_localnet=bridge.route_localnet))
    return [Step(codec.set_link(link.index, *attrs), f"repair bridge {bridge.name}")] if attrs else []


def _reopening(link: Link, bridge: Bridge) -> list[Step]:
    steps = [] if link.up else [Step(codec.set_link(link.index, up=True), f"repair bridge {bridge.name}")]
    wanted = [str(ip_interface(cidr)) for cidr in bridge.addresses]
    return steps + _addressing(bridge.name, link.index, [cidr for cidr in wanted if cidr not in link.addresses])


def _addressing(name: str, index: int, addresses: Sequence[str]) -> list[Step]:
    return [Step(codec.add_address(index, cidr), f"add address {cidr} to {name}") for cidr in addresses]


def _unrepairable(bridge: Bridge, link: Link | None) -> KernelError:
    operation = f"repair bridge {bridge.name}"
    if link is None:
        return KernelError(errno.ENODEV, operation)
    return KernelError(errno.EEXIST, operation, f"a link of kind {link.kind or 'none'} has this name")


def _as_kernel_error(error: OSError | KernelError, operation: str) -> KernelError:
    if isinstance(error, KernelError):
        return error
    return KernelError(error.errno or errno.EIO, operation, error.strerror or "")
