"""What WireGuard interfaces have of rtnetlink, whoever encrypts: link, mark, addresses, routes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress

from towline.kernel import rtnl_codec, wireguard_routes
from towline.kernel.contract import Link
from towline.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, DumpInterrupted, Message, NetlinkSocket, attr, nest
from towline.kernel.probe import LinkProbe
from towline.kernel.rtnl_read import LinkReader, as_kernel_error
from towline.kernel.sysctl import ProcSysctl
from towline.kernel.wireguard_contract import ALIAS, WgDevice
from towline.model.errors import KernelError

_KINDS = frozenset({"wireguard", "tun"})
_DUMP_TRIES = 20


def is_ours(link: Link) -> bool:
    return link.alias.startswith(ALIAS) and link.kind in _KINDS


class WireGuardLinks:
    """Works in the network namespace of the thread that makes it. Blocks; for one thread at a time. KernelError."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(rtnl_codec.NETLINK_ROUTE)
        self._reader = LinkReader(self._socket, (socket.AF_INET, socket.AF_INET6))
        self._probe = LinkProbe()
        self._sysctl = ProcSysctl()

    def close(self) -> None:
        self._socket.close()
        self._probe.close()

    def find(self, name: str) -> Link | None:
        return self._reader.find(name)

    def ours(self) -> list[Link]:
        return [link for link in self._reader.dump() if is_ours(link)]

    def create(self, name: str) -> None:
        """The kernel's own. EEXIST; EOPNOTSUPP where the kernel has none."""
        index = self._probe.free_index()
        kind = nest(rtnl_codec.IFLA_LINKINFO, attr(rtnl_codec.IFLA_INFO_KIND, b"wireguard\0"))
        body = rtnl_codec.IFINFOMSG.pack(0, 0, index, 0, 0) + rtnl_codec.name_attr(name) + kind
        new = Message(rtnl_codec.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)
        self._each([new], f"create WireGuard interface {name}")

    def adjust(self, link: Link, device: WgDevice, *, up: bool) -> None:
        """Mark, MTU and addresses, then up. Addresses that somebody added stay."""
        operation = f"set up WireGuard interface {device.name}"
        attrs = [rtnl_codec.link_local_attr(automatic=False)]
        if link.alias != device.alias:
            attrs.append(rtnl_codec.alias_attr(device.alias))
        if link.mtu != device.mtu:
            attrs.append(rtnl_codec.mtu_attr(device.mtu))
        self._each([rtnl_codec.set_link(link.index, *attrs)], operation)
        if self._sysctl.read(f"net/ipv6/conf/{device.name}/disable_ipv6") == "1":
            self._sysctl.write(f"net/ipv6/conf/{device.name}/disable_ipv6", "0")
        steps = [rtnl_codec.add_address(link.index, cidr) for cidr in device.addresses]
        if up and not link.up:
            steps.append(rtnl_codec.set_link(link.index, up=True))
        self._each(steps, operation)

    def remove(self, name: str) -> None:
        if index := self._probe.index(name):
            self._each([rtnl_codec.delete_link(index)], f"delete WireGuard interface {name}", fine={errno.ENODEV})

    def set_routes(self, name: str, source: str, puts: Sequence[str], gone: Sequence[str]) -> None:
        operation = f"set routes of WireGuard interface {name}"
        index = self._probe.index(name)
        if not index:
            raise KernelError(errno.ENODEV, operation)
        deletions = [wireguard_routes.delete_route(index, address) for address in gone]
        self._each(deletions, operation, fine={errno.ESRCH})
        self._each([wireguard_routes.put_route(index, address, source) for address in puts], operation)

    def routes(self, index: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(_DUMP_TRIES):
            with suppress(DumpInterrupted), as_kernel_error("list routes"):
                for _, body in self._socket.dump(rtnl_codec.get_routes(socket.AF_INET6)):
                    route = wireguard_routes.parse_route(body)
                    if route is not None and route.link == index:
                        found[route.destination] = route.source
                return found
        raise KernelError(errno.EAGAIN, "list routes", "changed under every one of our reads")

    def block(self, prefix: str) -> None:
        self._each([wireguard_routes.block_route(prefix)], f"refuse what is sent to {prefix}")

    def unblock(self, prefix: str) -> None:
        self._each([wireguard_routes.unblock_route(prefix)], f"forget {prefix}", fine={errno.ESRCH})

    def _each(self, messages: Sequence[Message], operation: str, fine: set[int] | None = None) -> None:
        """All are tried; raises the first refusal."""
        with as_kernel_error(operation):
            acks = self._socket.transact(messages) if messages else []
        for ack in acks:
            if ack.errno and ack.errno not in (fine or ()):
                raise KernelError(ack.errno, operation, ack.text)
