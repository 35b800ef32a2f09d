"""Namespaces plugged by veth into the daemon's host: stand-ins for containers, and a host outside, reached by NAT."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.daemon import Daemon
from tests.support.equality import link_of
from tests.support.netns import Namespace, namespace, veth

OUTSIDE4, OUTSIDE6 = "198.51.100.2", "2001:db8:1::2"


class Plug(NamedTuple):
    ns: Namespace
    ipv4: str


@contextmanager
def outside(router: Namespace) -> Iterator[Plug]:
    """A host beyond the daemon's. It knows no route to container subnets, so only translated packets come back."""
    with namespace() as ns:
        veth(router, "wan", ns, "eth0", a_address="198.51.100.1/24", b_address=f"{OUTSIDE4}/24")
        for where, link, address in ((router, "wan", "2001:db8:1::1/64"), (ns, "eth0", f"{OUTSIDE6}/64")):
            where.run(["ip", "address", "add", address, "dev", link, "nodad"])
        yield Plug(ns, OUTSIDE4)


@contextmanager
def plugged(daemon: Daemon, network: str, number: int) -> Iterator[Plug]:
    """A namespace on a network's bridge with the subnet's address `number`, its default route through the gateway."""
    shown = daemon.http("GET", f"/networks/{network}").json
    pool = shown["IPAM"]["Config"][0]
    with plugged_into(daemon.namespace, link_of(shown), pool["Subnet"], pool["Gateway"], number) as plug:
        yield plug


@contextmanager
def plugged_into(router: Namespace, bridge: str, subnet: str, gateway: str, number: int) -> Iterator[Plug]:
    net = ipaddress.ip_network(subnet)
    address = net[number]
    port = f"p{number}-{bridge[-8:]}"
    with namespace() as ns:
        veth(router, port, ns, "eth0", b_address=f"{address}/{net.prefixlen}")
        router.run(["ip", "link", "set", port, "master", bridge])
        ns.run(["ip", "route", "add", "default", "via", gateway])
        yield Plug(ns, str(address))
