"""Addresses of endpoints. Texts: moby daemon/libnetwork/endpoint.go assignAddressVersion (docker-api facts 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from towline.ipam.contract import ENDPOINT_MAC, ENDPOINT_NAME, AddressQuery, IpamDriver, LeaseBook
from towline.ipam.errors import NoAddresses
from towline.ipam.handles import address_options, pool_id, pool_of
from towline.ipam.prefix import parse_address, parse_prefix
from towline.model.errors import Failure, InvalidParameter
from towline.model.network import Network, Pool


def request_endpoint_address(
    driver: IpamDriver,
    network: Network,
    *,
    endpoint_id: str,
    name: str,
    v6: bool,
    address: str = "",
    mac: str = "",
) -> str:
    """An address of one family for an endpoint: CIDR, or "" from a driver without addresses.

    address: bare, "" for the next free one of the first pool that has any. mac: goes along where the driver needs it.
    Raises AddressTaken ("Address already in use", a Forbidden), InvalidParameter for an address outside of the pools,
    Failure if all pools are full or there is no pool of that family.
    """
    options = {**address_options(network.ipam_options), ENDPOINT_NAME: name}
    if driver.capabilities.requires_mac:
        options[ENDPOINT_MAC] = mac
    pools = [pool for pool in network.pools if pool.is_ipv6 == v6]
    if not pools:
        raise Failure(f"no IPv{6 if v6 else 4} information available for endpoint {name}")
    if address:
        pools = [_pool_for(network, address, v6)]
    for pool in pools:
        query = AddressQuery(
            pool_id(driver, network.scope, pool), endpoint_id, "endpoint", address=address, options=options
        )
        try:
            return driver.request_address(query)
        except NoAddresses:
            continue
    raise _exhausted(driver, network, pools, v6)


def release_endpoint_address(driver: IpamDriver, network: Network, address: str, endpoint_id: str) -> None:
    """address: CIDR or bare. Nothing happens if the endpoint does not hold it; InvalidParameter outside the pools."""
    bare = address.partition("/")[0]
    pool = _pool_for(network, bare, ":" in bare)
    driver.release_address(pool_id(driver, network.scope, pool), bare, endpoint_id)


def _pool_for(network: Network, address: str, v6: bool) -> Pool:
    pool = pool_of(network, address) if parse_address(address)[0] == v6 else None
    if pool is None:
        raise InvalidParameter(f"invalid address {address}: It does not belong to any of this network's subnets")
    return pool


def _exhausted(driver: IpamDriver, network: Network, pools: Sequence[Pool], v6: bool) -> Failure:
    text = f"no available IPv{6 if v6 else 4} addresses on this network's address pools: {network.name} ({network.id})"
    if isinstance(driver, LeaseBook):
        text += ": " + ", ".join(_fullness(pool) for pool in pools)
    return Failure(text)


def _fullness(pool: Pool) -> str:
    size = parse_prefix(pool.ip_range or pool.subnet).size
    inside = f" of {pool.subnet}" if pool.ip_range else ""
    return f"{pool.ip_range or pool.subnet}{inside}: {size} of {size} taken"
