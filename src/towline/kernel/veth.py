"""Plugging a namespace into a bridge: a veth pair that is born with both ends in place, in two sends.

First send, on the host: the pair, host end up and a port of the bridge; then its alias, hairpin, and no IPv6 on it.
Second send, on a socket opened inside the namespace: alias, addresses, up, routes. Nothing is ever sent from the host
about the inner end (IFLA_TARGET_NETNSID is ignored for addresses: they would land on the host).

Crash safety: the first send is carried out whole even if this process is killed in it, so a pair always has its alias,
by which the next start finds and removes it.
"""

from __future__ import annotations

import errno
import secrets
import socket
import struct
from collections.abc import Sequence
from fcntl import ioctl

from towline.kernel import rtnl_codec as codec
from towline.kernel import veth_codec
from towline.kernel.contract import Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.netns import entered
from towline.kernel.rtnl import FIRST_INDEX
from towline.kernel.rtnl_steps import Step, first_refusal
from towline.model.desired import Interface, Route
from towline.model.errors import KernelError

_SIOCGIFNAME, _SIOCGIFINDEX = 0x8910, 0x8933
_IFREQ = struct.Struct("16si20x")
_IFREQ_INDEX = struct.Struct("16xi20x")
_NAME_MAX = 15
_IPV6_MIN_MTU = 1280


class Veths:
    """The host side. Works in the network namespace of the thread that makes it; sysctl follows the calling
    thread. ipv6: whether the kernel has it."""

    def __init__(self, sysctl: Sysctl, *, ipv6: bool) -> None:
        self._sysctl = sysctl
        self._ipv6 = ipv6
        self._socket = NetlinkSocket(codec.NETLINK_ROUTE)
        self._probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def close(self) -> None:
        self._socket.close()
        self._probe.close()

    def index(self, name: str) -> int:
        """The ifindex of a link of the host, 0 if there is none (anymore): names on their way out are free already."""
        data = name.encode(errors="surrogateescape")
        if not data or len(data) > _NAME_MAX:
            return 0
        try:
            return int(_IFREQ_INDEX.unpack(ioctl(self._probe, _SIOCGIFINDEX, _IFREQ.pack(data, 0)))[0])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise KernelError(error.errno or errno.EIO, f"find link {name}") from error

    def plug(self, namespace: int, path: str, interface: Interface) -> None:
        """See `contract.Sandboxes.join`. namespace: a descriptor of it."""
        index = self._make(namespace, path, interface)
        try:
            with entered(namespace, path):
                configure(interface, self._sysctl, ipv6=self._ipv6)
        except BaseException:
            self._delete(index)
            raise

    def _make(self, namespace: int, path: str, interface: Interface) -> int:
        host, name = interface.host_name, interface.name
        if not (bridge := self.index(interface.bridge)):
            raise KernelError(errno.ENODEV, f"plug {host} into bridge {interface.bridge}")
        index = self._free_index()
        attrs = [codec.alias_attr(interface.alias)]
        if self._ipv6 and _fits_ipv6(interface):
            attrs.append(codec.link_local_attr(automatic=False))
        steps = [
            Step(veth_codec.new_veth(index, interface, bridge, namespace), f"make {host} with {name} in {path}"),
            Step(veth_codec.change_port(index, *attrs), f"set alias and hairpin of {host}"),
        ]
        if refused := send(self._socket, steps):
            taken = self.index(host)
            if taken == index:
                self._delete(index)
            raise _explained(refused, interface, host_taken=taken not in (0, index))
        return index

    def _free_index(self) -> int:
        """An index that no link has, out of the range that only we use: what follows a refused creation in the same
        send must not reach somebody else's link."""
        while True:
            index = FIRST_INDEX + secrets.randbelow(FIRST_INDEX)
            try:
                ioctl(self._probe, _SIOCGIFNAME, _IFREQ.pack(b"", index))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return index
                raise KernelError(error.errno or errno.EIO, "choose a link index") from error

    def _delete(self, index: int) -> None:
        self._socket.transact([codec.delete_link(index)])


def configure(interface: Interface, sysctl: Sysctl, *, ipv6: bool) -> None:
    """The inner end, from a thread inside the namespace: settings, then all the rest in one send.

    Its link-local address is made here and before the link is up, because the kernel's own would be tentative for a
    second or two; the kernel finds it and makes none, but makes it anew after the link was down.
    """
    name, mac = interface.name, interface.mac
    try:
        index = socket.if_nametoindex(name)
    except OSError as error:
        raise KernelError(error.errno or errno.ENODEV, f"find interface {name}") from error
    ipv6 = ipv6 and _switch_ipv6(interface, sysctl)
    for path, value in interface.sysctls:
        if not path.startswith("net/"):
            raise KernelError(errno.EPERM, f"write sysctl {path}", "it is not a setting of a network namespace")
        sysctl.write(path, value)
    attrs = [codec.alias_attr(interface.alias), *([codec.link_local_attr(automatic=True)] if ipv6 else [])]
    steps = [Step(codec.set_link(index, *attrs), f"set alias of {name}")]
    if ipv6:
        own = veth_codec.link_local(mac)
        steps.append(Step(codec.add_address(index, own, automatic=True), f"add address {own} to {name}"))
    steps.append(Step(codec.set_link(index, up=True), f"set {name} up"))
    steps += [Step(codec.add_address(index, cidr), f"add address {cidr} to {name}") for cidr in interface.addresses]
    steps += [_route(index, name, route) for route in interface.routes]
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        if refused := send(sock, steps):
            raise refused
    finally:
        sock.close()


def _route(index: int, name: str, route: Route) -> Step:
    via = f" via {route.gateway}" if route.gateway else ""
    return Step(
        codec.add_route(index, route.destination, route.gateway), f"add route {route.destination}{via} on {name}"
    )


def _switch_ipv6(interface: Interface, sysctl: Sysctl) -> bool:
    """Whether the interface has IPv6 now; a link whose MTU is too small for it has no such settings."""
    path = f"net/ipv6/conf/{interface.name}/disable_ipv6"
    wanted = "1" if interface.ipv6_off else "0"
    found = sysctl.read(path)
    if found is not None and found != wanted:
        sysctl.write(path, wanted)
    return found is not None and not interface.ipv6_off


def _fits_ipv6(interface: Interface) -> bool:
    return not 0 < interface.mtu < _IPV6_MIN_MTU


def send(sock: NetlinkSocket, steps: Sequence[Step]) -> KernelError | None:
    """All in one send; the first refusal."""
    try:
        return first_refusal(steps, sock.transact([step.message for step in steps]))
    except OSError as error:
        return KernelError(error.errno or errno.EIO, steps[0].operation, error.strerror or "")


def _explained(error: KernelError, interface: Interface, *, host_taken: bool) -> KernelError:
    if error.errno != errno.EEXIST:
        return error
    if host_taken:
        detail = f"the host has a link {interface.host_name}"
    else:
        detail = f"the sandbox has an interface {interface.name}"
    return KernelError(error.errno, error.operation, detail)
