"""What a service is given by the cluster: a virtual address on each of its networks, and ports that were left open.

A virtual address is a block of one address that belongs to the service: no node leases it, so no endpoint is ever given
it. They are taken from the top of a subnet, where nodes' blocks come to last, so that they do not break blocks up.
Where in its top part is made from the service's id, so that one that was given back is not the next to be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from msgspec.structs import replace

from towline.ipam.blocks import reserved_addresses
from towline.ipam.prefix import Prefix, format_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Block
from towline.model.errors import Unavailable
from towline.model.network import Network, Pool
from towline.model.service import FIRST_DYNAMIC_PORT, LAST_DYNAMIC_PORT, Service, ServicePort, VirtualIP

_TOP = 16
"""Addresses from which the first try is chosen, at most a sixteenth of the range."""


def plan_ports(service: Service, is_free: Callable[[str, int], bool]) -> Service:
    """Ports that were left open get the lowest free ones. is_free(protocol, port): nobody else publishes it."""
    taken: set[tuple[str, int]] = {(port.protocol, port.published) for port in service.ports}
    ports: list[ServicePort] = []
    for port in service.ports:
        if port.mode == "ingress" and not port.published:
            published = _free_port(port.protocol, taken, is_free)
            taken.add((port.protocol, published))
            port = replace(port, published=published)
        ports.append(port)
    return replace(service, ports=tuple(ports))


def _free_port(protocol: str, taken: set[tuple[str, int]], is_free: Callable[[str, int], bool]) -> int:
    for port in range(FIRST_DYNAMIC_PORT, LAST_DYNAMIC_PORT + 1):
        if (protocol, port) not in taken and is_free(protocol, port):
            return port
    raise Unavailable(
        f"dynamic port space exhausted: all {protocol} ports from {FIRST_DYNAMIC_PORT} to {LAST_DYNAMIC_PORT} are "
        "published by services; remove some, or name a port"
    )


def plan_vips(
    service: Service, networks: Sequence[Network], leased: Callable[[str], PrefixSet]
) -> tuple[Service, tuple[Block, ...]]:
    """The service with an address on each of `networks`, and the blocks that are new. Those that it has it keeps.
    leased(network id): all blocks there. Unavailable where a subnet has no address left."""
    vips: list[VirtualIP] = []
    blocks: list[Block] = []
    for network in networks:
        had = service.vip_on(network.id) or VirtualIP(network.id)
        found = {False: had.ipv4, True: had.ipv6}
        for v6, cidr in found.items():
            pools = [pool for pool in network.pools if pool.is_ipv6 == v6]
            if pools and not cidr:
                pool, address = _address(service, network, pools, leased(network.id))
                found[v6] = f"{format_address(address.start, v6)}/{parse_prefix(pool.subnet).length}"
                blocks.append(Block(network.id, pool.subnet, str(address), "", service=service.id))
        vips.append(VirtualIP(network.id, found[False], found[True]))
    return replace(service, vips=tuple(vips)), tuple(blocks)


def blocks_of(vips: Sequence[VirtualIP]) -> Iterator[tuple[str, str]]:
    """(network id, prefix) of the blocks that hold these addresses."""
    for vip in vips:
        for cidr in (vip.ipv4, vip.ipv6):
            if cidr:
                yield vip.network, str(parse_prefix(cidr.partition("/")[0]))


def _address(service: Service, network: Network, pools: Sequence[Pool], leased: PrefixSet) -> tuple[Pool, Prefix]:
    for pool in pools:
        if (found := _free_address(pool, leased, service.id)) is not None:
            return pool, found
    subnets = ", ".join(pool.subnet for pool in pools)
    raise Unavailable(
        f"could not find an available IP while allocating VIP: all of {subnets} of network {network.name} is leased to "
        "nodes and services; remove endpoints there, or make a network with a larger subnet"
    )


def _free_address(pool: Pool, leased: PrefixSet, key: str) -> Prefix | None:
    within = parse_prefix(pool.ip_range) if pool.ip_range else parse_prefix(pool.subnet)
    top = min(_TOP, max(within.size // _TOP, 1))
    first = within.end - int.from_bytes(sha256(key.encode()).digest()[:4], "big") % top
    reserved = set(reserved_addresses(pool))
    found = _downwards(within, first, within.start, reserved, leased)
    return found or _downwards(within, within.end, first + 1, reserved, leased)


def _downwards(within: Prefix, start: int, end: int, reserved: set[int], leased: PrefixSet) -> Prefix | None:
    """The highest free address from `start` down to `end`; a block that is in the way is skipped as a whole."""
    at = start
    while at >= end:
        address = Prefix(within.v6, at, within.bits)
        holder = leased.overlapping(address)
        if holder is None and at not in reserved:
            return address
        at = (at if holder is None else holder.start) - 1
    return None
