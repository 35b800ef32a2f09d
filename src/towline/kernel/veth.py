"""Plugging a namespace into a bridge: a veth pair that is born with both ends in place, in two sends.

First send, on the host: the pair, host end up and a port of the bridge; then its alias, hairpin, and no IPv6 on it.
Second send, on a socket opened inside the namespace: alias, addresses, up, routes. Then the port forwards: when `plug`
returns, the first packet passes. Nothing is ever sent from the host
about the inner end (IFLA_TARGET_NETNSID is ignored for addresses: they would land on the host).

Crash safety: the first send is carried out whole even if this process is killed in it, so a pair always has its alias,
by which the next start finds and removes it.
"""

from __future__ import annotations

import errno

from towline.kernel import rtnl_codec as codec
from towline.kernel import veth_codec
from towline.kernel.contract import Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.netns import entered
from towline.kernel.probe import LinkProbe
from towline.kernel.rtnl_steps import Step, send_steps
from towline.kernel.veth_inside import configure
from towline.kernel.veth_ready import settle_carrier
from towline.kernel.vxlan_codec import fix_port_mac
from towline.model.desired import Interface
from towline.model.errors import KernelError

_IPV6_MIN_MTU = 1280


class Veths:
    """The host side. Works in the network namespace of the thread that makes it; sysctl follows the calling
    thread. ipv6: whether the kernel has it."""

    def __init__(self, sysctl: Sysctl, *, ipv6: bool) -> None:
        self._sysctl = sysctl
        self._ipv6 = ipv6
        self._socket = NetlinkSocket(codec.NETLINK_ROUTE)
        self.probe = LinkProbe()

    def close(self) -> None:
        self._socket.close()
        self.probe.close()

    def plug(self, namespace: int, path: str, interface: Interface) -> None:
        """See `contract.Sandboxes.join`. namespace: a descriptor of it."""
        index = self._make(namespace, path, interface)
        try:
            with entered(namespace, path):
                configure(interface, self._sysctl, ipv6=self._ipv6)
            for name in (interface.host_name, interface.bridge):
                settle_carrier(self.probe.socket, name)
        except BaseException:
            self._delete(index)
            raise

    def resize(self, namespace: int, path: str, interface: Interface) -> None:
        """See `contract.Sandboxes.resize`."""
        mtu, operation = codec.mtu_attr(interface.mtu), f"set mtu {interface.mtu} on"
        with entered(namespace, path):
            inside = NetlinkSocket(codec.NETLINK_ROUTE)
        try:
            ends = ((inside, interface.name), (self._socket, interface.host_name))
            for sock, name in ends:
                if refused := send_steps(sock, [Step(codec.set_named_link(name, mtu), f"{operation} {name}")]):
                    raise refused
        finally:
            inside.close()

    def _make(self, namespace: int, path: str, interface: Interface) -> int:
        host, name = interface.host_name, interface.name
        if not (bridge := self.probe.index(interface.bridge)):
            raise KernelError(errno.ENODEV, f"plug {host} into bridge {interface.bridge}")
        index = self.probe.free_index()
        attrs = [codec.alias_attr(interface.alias)]
        if self._ipv6 and _fits_ipv6(interface):
            attrs.append(codec.link_local_attr(automatic=False))
        steps = [
            Step(veth_codec.new_veth(index, interface, bridge, namespace), f"make {host} with {name} in {path}"),
            Step(veth_codec.change_port(index, *attrs, fixed=interface.fixed), f"set alias and hairpin of {host}"),
        ]
        if interface.fixed:
            steps.append(Step(fix_port_mac(index, interface.mac), f"fix {interface.mac} at {host}"))
        if refused := send_steps(self._socket, steps):
            taken = self.probe.index(host)
            if taken == index:
                self._delete(index)
            raise _explained(refused, interface, host_taken=taken not in (0, index))
        return index

    def _delete(self, index: int) -> None:
        self._socket.transact([codec.delete_link(index)])


def _fits_ipv6(interface: Interface) -> bool:
    return not 0 < interface.mtu < _IPV6_MIN_MTU


def _explained(error: KernelError, interface: Interface, *, host_taken: bool) -> KernelError:
    if error.errno != errno.EEXIST:
        return error
    if host_taken:
        detail = f"the host has a link {interface.host_name}"
    else:
        detail = f"the sandbox has an interface {interface.name}"
    return KernelError(error.errno, error.operation, detail)
