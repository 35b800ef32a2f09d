"""The inner end of a veth pair. To be called from a thread inside the namespace that it was born in."""

from __future__ import annotations

import errno
import socket

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.rtnl_steps import Step, send_steps
from towline.kernel.veth_codec import link_local
from towline.kernel.veth_ready import wait_local, watch_addresses
from towline.model.desired import Interface, Route
from towline.model.errors import KernelError


def configure(interface: Interface, sysctl: Sysctl, *, ipv6: bool) -> None:
    """Settings, then all the rest in one send; returns when its addresses are answered for. ipv6: whether the kernel
    has it. KernelError names the first step that was refused."""
    try:
        index = socket.if_nametoindex(interface.name)
    except OSError as error:
        raise KernelError(error.errno or errno.ENODEV, f"find interface {interface.name}") from error
    ipv6 = ipv6 and _switch_ipv6(interface, sysctl)
    for path, value in interface.sysctls:
        if not path.startswith("net/"):
            raise KernelError(errno.EPERM, f"write sysctl {path}", "it is not a setting of a network namespace")
        sysctl.write(path, value)
    steps = _steps(interface, index, ipv6=ipv6)
    if ipv6:
        with watch_addresses() as watch:
            _send(interface, steps)
            own = (*interface.addresses, link_local(interface.mac))
            wait_local(watch, (codec.split_cidr(cidr)[1] for cidr in own if ":" in cidr))
    else:
        _send(interface, steps)


def _send(interface: Interface, steps: list[Step]) -> None:
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        if refused := send_steps(sock, steps):
            raise refused
    finally:
        sock.close()


def _steps(interface: Interface, index: int, *, ipv6: bool) -> list[Step]:
    """The link-local address is made here, and before the link is up, because the kernel's own would be tentative for a
    second or two; the kernel finds it and makes none, but makes it anew after the link was down."""
    name = interface.name
    loopback = Step(codec.set_named_link("lo", up=True), "set lo up")  # down in a namespace that nobody has touched yet
    attrs = [codec.alias_attr(interface.alias), *([codec.link_local_attr(automatic=True)] if ipv6 else [])]
    steps = [loopback, Step(codec.set_link(index, *attrs), f"set alias of {name}")]
    if ipv6:
        own = link_local(interface.mac)
        steps.append(Step(codec.add_address(index, own, automatic=True), f"add address {own} to {name}"))
    steps.append(Step(codec.set_link(index, up=True), f"set {name} up"))
    steps += [Step(codec.add_address(index, cidr), f"add address {cidr} to {name}") for cidr in interface.addresses]
    return steps + [_route(index, name, route) for route in interface.routes]


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
