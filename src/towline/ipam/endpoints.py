"""Addresses of endpoints. Texts: moby daemon/libnetwork/endpoint.go assignAddressVersion (docker-api facts 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from towline.ipam.contract import ENDPOINT_MAC, ENDPOINT_NAME, SERIAL, AddressQuery, IpamDriver, LeaseBook
from towline.ipam.errors import BlockNeeded, NoAddresses
from towline.ipam.handles import address_options, pool_id, pool_of
from towline.ipam.prefix import parse_address, parse_prefix
from towline.model.cluster import Block
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
    blocks: Sequence[Block] | None = None,
) -> str:
    """An address of one family for an endpoint: CIDR, or "" from a driver without addresses.

    address: bare, "" for the next free one of the first pool that has any. mac: goes along where the driver needs it.
    blocks: those of this node, of which alone the address may be; None: the network is this host's own.
    Raises AddressTaken ("Address already in use", a Forbidden), InvalidParameter for an address outside of the pools,
    Failure if all pools are full or there is no pool of that family, BlockNeeded where another block may help.
    """
    options = {**address_options(network.ipam_options), ENDPOINT_NAME: name}
    if driver.capabilities.requires_mac:
        options[ENDPOINT_MAC] = mac
    pools = [pool for pool in network.pools if pool.is_ipv6 == v6]
    if not pools:
        raise Failure(f"no IPv{6 if v6 else 4} information available for endpoint {name}")
    if address:
        pools = [_pool_for(network, address, v6)]
    if blocks is not None:
        options[SERIAL] = "true"  # an address rests for as long as it can before others get to know it anew
    for pool in pools:
        within = () if blocks is None else _parts(pool, blocks, address)
        if blocks is not None and not within:
            continue
        handle = pool_id(driver, network.address_scope, pool)
        query = AddressQuery(handle, endpoint_id, "endpoint", address=address, options=options, within=within)
        try:
            return driver.request_address(query)
        except NoAddresses:
            continue
    if blocks is not None:
        raise BlockNeeded(network, tuple(pool.subnet for pool in pools), address)
    raise _exhausted(driver, network, pools, v6)


def _parts(pool: Pool, blocks: Sequence[Block], address: str) -> tuple[str, ...]:
    """Prefixes of the pool's blocks; with `address` that of the one that holds it."""
    mine = [block.prefix for block in blocks if block.subnet == pool.subnet]
    if not address:
        return tuple(mine)
    value = parse_address(address)[1]
    return tuple(text for text in mine if (part := parse_prefix(text)).start <= value <= part.end)


def release_endpoint_address(driver: IpamDriver, network: Network, address: str, endpoint_id: str) -> None:
    """address: CIDR or bare. Nothing happens if the endpoint does not hold it; InvalidParameter outside the pools."""
    bare = address.partition("/")[0]
    pool = _pool_for(network, bare, ":" in bare)
    driver.release_address(pool_id(driver, network.address_scope, pool), bare, endpoint_id)


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
