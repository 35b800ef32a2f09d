"""Take again at start what the stored records say is taken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from towline.ipam.contract import AddressQuery, IpamDriver, LeaseBook, PoolQuery
from towline.ipam.errors import AddressOutOfRange, AddressTaken, PoolOverlap
from towline.ipam.handles import pool_id, pool_of, space_of
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict
from towline.model.network import Network, Pool


def restore_network(driver: IpamDriver, network: Network, endpoints: Sequence[Endpoint]) -> None:
    """Re-reserve a stored network with its endpoints; all of it, or an error and nothing.

    Restore networks in the order of their creation: a subnet with a range may overlap an older one, not the other way
    round. Nothing happens with a driver that keeps its own books. Conflict if records contradict each other; the
    message names both holders.
    """
    if not driver.capabilities.requires_replay:
        return
    with ExitStack() as undo:
        for pool in network.pools:
            _restore_pool(driver, network, pool, undo)
        for endpoint in endpoints:
            for address in filter(None, (endpoint.ipv4, endpoint.ipv6)):
                _restore_endpoint(driver, network, endpoint, address.partition("/")[0], undo)
        undo.pop_all()


def _restore_pool(driver: IpamDriver, network: Network, pool: Pool, undo: ExitStack) -> None:
    space = space_of(driver, network.address_scope)
    query = PoolQuery(
        space=space,
        v6=pool.is_ipv6,
        owner=network.id,
        pool=pool.subnet,
        subpool=pool.ip_range,
        options=network.ipam_options or {},
    )
    try:
        grant = driver.request_pool(query)
    except PoolOverlap as error:
        other = driver.holder_of(space, error.subnet) if isinstance(driver, LeaseBook) else ""
        raise Conflict(
            f"network {network.name} ({network.id}): subnet {pool.subnet} overlaps {error.subnet} of network {other}"
        ) from error
    undo.callback(driver.release_pool, grant.id, network.id)
    named = {"": pool.gateway, **pool.aux}
    for name, address in named.items():
        if address:
            reason = "auxiliary" if name else "gateway"
            _take(driver, AddressQuery(grant.id, network.id, reason, address=address), f"network {network.name}", undo)


def _restore_endpoint(driver: IpamDriver, network: Network, endpoint: Endpoint, address: str, undo: ExitStack) -> None:
    who = f"endpoint {endpoint.name} of network {network.name}"
    pool = pool_of(network, address)
    if pool is None:
        raise Conflict(f"{address} of {who} ({endpoint.id}) is in none of the network's subnets")
    handle = pool_id(driver, network.address_scope, pool)
    _take(driver, AddressQuery(handle, endpoint.id, "endpoint", address=address), who, undo)


def _take(driver: IpamDriver, query: AddressQuery, who: str, undo: ExitStack) -> None:
    try:
        driver.request_address(query)
    except AddressTaken as error:
        owner, reason = error.held.owner, error.held.reason
        held = f"{reason} {owner}" if owner else f"the subnet itself ({reason})"
        raise Conflict(f"{query.reason} address {query.address} of {who} ({query.owner}) is held by {held}") from error
    except AddressOutOfRange as error:
        raise Conflict(f"{query.reason} address {query.address} of {who} ({query.owner}) is out of range") from error
    undo.callback(driver.release_address, query.pool_id, query.address, query.owner)
