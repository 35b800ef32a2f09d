"""Interfaces that are made on a link of the host (macvlan, ipvlan): born in the sandbox's namespace by one message.

Crash safety: until its alias is set, in the second send, the link has none; it has its name in the sandbox, by which
the next start finds it, and makes it anew.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.netns import entered
from towline.kernel.probe import LinkProbe
from towline.kernel.rtnl_read import LinkReader
from towline.kernel.rtnl_steps import Step, send_steps
from towline.kernel.slave_codec import SLAVE_KINDS, new_slave
from towline.kernel.veth_inside import configure
from towline.model.desired import Interface, Slave
from towline.model.errors import KernelError


class Slaves:
    """The host side; see `veth.Veths`."""

    def __init__(self, sysctl: Sysctl, *, ipv6: bool) -> None:
        self._sysctl = sysctl
        self._ipv6 = ipv6
        self._socket = NetlinkSocket(codec.NETLINK_ROUTE)
        self._probe = LinkProbe()

    def close(self) -> None:
        self._socket.close()
        self._probe.close()

    def plug(self, namespace: int, path: str, interface: Interface, slave: Slave) -> None:
        """See `contract.Sandboxes.join`. namespace: a descriptor of it."""
        operation = f"make {slave.kind} {interface.name} on {slave.parent} in {path}"
        if not (parent := self._probe.index(slave.parent)):
            raise KernelError(errno.ENODEV, operation, f"the host has no link {slave.parent}")
        if refused := send_steps(self._socket, [Step(new_slave(interface, slave, parent, namespace), operation)]):
            taken = refused.errno == errno.EEXIST
            detail = f"the sandbox has an interface {interface.name}" if taken else refused.detail
            raise KernelError(refused.errno, operation, detail)
        try:
            with entered(namespace, path):
                configure(interface, self._sysctl, ipv6=self._ipv6)
        except BaseException:
            with suppress(KernelError), entered(namespace, path):
                remove([interface])
            raise


def remove(interfaces: Sequence[Interface]) -> list[KernelError | None]:
    """From a thread inside the namespace. What has their names and is not ours is left alone; absent is no error."""
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        reader = LinkReader(sock, ())
        return [_remove(sock, reader, interface) for interface in interfaces]
    finally:
        sock.close()


def _remove(sock: NetlinkSocket, reader: LinkReader, interface: Interface) -> KernelError | None:
    try:
        link = reader.bare(interface.name)
    except KernelError as error:
        return error
    if link is None or link.kind not in SLAVE_KINDS or link.alias not in ("", interface.alias):
        return None
    refused = send_steps(sock, [Step(codec.delete_link(link.index), f"remove interface {interface.name}")])
    return None if refused is None or refused.errno == errno.ENODEV else refused
