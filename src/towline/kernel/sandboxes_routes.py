"""What is in a sandbox's namespace, and its default routes. To be called from a thread inside it.

Links of ours carry our alias on the inner end too; that is how they are told from links that were there before.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

from towline.kernel import rtnl_codec as codec
from towline.kernel.contract import Inside
from towline.kernel.netlink import Ack, NetlinkSocket
from towline.kernel.rtnl_read import LinkReader, as_kernel_error
from towline.kernel.rtnl_steps import Step, first_refusal
from towline.model.desired import ALIAS_PREFIX, Defaults
from towline.model.errors import KernelError

EVERYWHERE = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}
_BEST_METRIC = {socket.AF_INET: 0, socket.AF_INET6: 1024}


class Default(NamedTuple):
    """A default route: ifindex, gateway or "", metric."""

    link: int
    gateway: str
    metric: int


def look(families: Sequence[socket.AddressFamily]) -> Inside:
    """Without automatic link-local addresses and their routes."""
    with _reading(families) as (_, reader):
        links = reader.dump()
        routes = reader.main_table()
    names = {link.index: link.name for link in links}
    found = [
        (route.prefix or EVERYWHERE[socket.AddressFamily(route.family)], route.gateway, names.get(route.link, ""))
        for route in routes
        if not _is_link_local(route)
    ]
    return Inside(tuple(links), tuple(found))


def set_defaults(defaults: Defaults, families: Sequence[socket.AddressFamily]) -> None:
    """See `contract.Sandboxes.set_defaults`. Where somebody else's default route is, ours has a metric behind it."""
    with _reading(families) as (sock, reader):
        here = [route for route in reader.main_table() if not route.prefix]
        ours = _ours(reader, here, defaults)
        steps: list[Step] = []
        for family, wanted in ((socket.AF_INET, defaults.ipv4), (socket.AF_INET6, defaults.ipv6)):
            steps += _changes(family, wanted, [route for route in here if route.family == family], ours)
        if not steps:
            return
        with as_kernel_error(steps[0].operation):
            acks = sock.transact([step.message for step in steps])
    if error := first_refusal(steps, map(_forgiven, steps, acks)):
        raise error


def _ours(reader: LinkReader, routes: Sequence[codec.Route], defaults: Defaults) -> dict[int, str]:
    """Those links of ours that these routes or the defaults lead to: ifindex -> name. There may be many others."""
    found = [reader.at(index) for index in {route.link for route in routes if route.link}]
    found += [reader.bare(name) for name in {to[0] for to in (defaults.ipv4, defaults.ipv6) if to is not None}]
    return {link.index: link.name for link in found if link is not None and link.alias.startswith(ALIAS_PREFIX)}


def _forgiven(step: Step, ack: Ack) -> Ack:
    """A route that the step before has replaced is not there to be deleted."""
    absent = step.message.type == codec.RTM_DELROUTE and ack.errno == errno.ESRCH
    return Ack(0, "") if absent else ack


def _changes(
    family: socket.AddressFamily,
    wanted: tuple[str, str] | None,
    here: Sequence[codec.Route],
    ours: Mapping[int, str],
) -> list[Step]:
    """The steps from the default routes that are here to the wanted one; the new route first."""
    everywhere = EVERYWHERE[family]
    metrics = [route.metric for route in here if route.link not in ours]
    present = [Default(route.link, route.gateway, route.metric) for route in here if route.link in ours]
    target = _target(wanted, ours, max(metrics) + 1 if metrics else _BEST_METRIC[family])
    steps = []
    if target and target not in present:
        message = codec.add_route(target.link, everywhere, target.gateway, target.metric, replace=True)
        steps.append(Step(message, f"set default route {_words(target, ours)}"))
    for old in present:
        if old != target:
            message = codec.delete_route(old.link, everywhere, old.gateway, old.metric)
            steps.append(Step(message, f"delete default route {_words(old, ours)}"))
    return steps


def _target(wanted: tuple[str, str] | None, ours: Mapping[int, str], metric: int) -> Default | None:
    if wanted is None:
        return None
    name, gateway = wanted
    index = next((index for index, found in ours.items() if found == name), 0)
    if not index:
        raise KernelError(errno.ENODEV, f"set default route on {name}", "the sandbox has no interface of ours so named")
    return Default(index, gateway and str(ip_address(gateway)), metric)


def _words(default: Default, ours: Mapping[int, str]) -> str:
    via = f"via {default.gateway} " if default.gateway else ""
    return f"{via}on {ours[default.link]}"


def _is_link_local(route: codec.Route) -> bool:
    return route.protocol == codec.RTPROT_KERNEL and route.prefix == "fe80::/64"


@contextmanager
def _reading(families: Sequence[socket.AddressFamily]) -> Iterator[tuple[NetlinkSocket, LinkReader]]:
    sock = NetlinkSocket(codec.NETLINK_ROUTE)
    try:
        yield sock, LinkReader(sock, families)
    finally:
        sock.close()
