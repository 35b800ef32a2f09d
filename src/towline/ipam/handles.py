"""How stored networks and pools name themselves to an IPAM driver."""

from __future__ import annotations

from collections.abc import Mapping

from towline.ipam.contract import SERIAL, IpamDriver
from towline.ipam.prefix import parse_address, parse_prefix
from towline.model.network import Network, Pool


def space_of(driver: IpamDriver, scope: str) -> str:
    """The address space of a network of that scope."""
    spaces = driver.address_spaces
    if scope == "swarm":
        return spaces.swarm or spaces.cluster
    return spaces.cluster if scope == "global" else spaces.local


def plain_id(space: str, subnet: str, ip_range: str) -> str:
    return f"{space}/{subnet}" + (f"/{ip_range}" if ip_range else "")


def pool_id(driver: IpamDriver, scope: str, pool: Pool) -> str:
    """The driver's handle of a stored pool."""
    return pool.handle or plain_id(space_of(driver, scope), pool.subnet, pool.ip_range)


def address_options(options: Mapping[str, str] | None) -> dict[str, str]:
    """What of a network's IPAM options goes along with every request for an address."""
    return {SERIAL: options[SERIAL]} if options and SERIAL in options else {}


def pool_of(network: Network, address: str) -> Pool | None:
    """The network's first pool that contains a bare address; None if there is none."""
    v6, value = parse_address(address)
    for pool in network.pools:
        subnet = parse_prefix(pool.subnet)
        if subnet.v6 == v6 and subnet.start <= value <= subnet.end:
            return pool
    return None
