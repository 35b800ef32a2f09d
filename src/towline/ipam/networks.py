"""The door of this room for planner and controller: everything there is to do with a whole network's addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from towline.ipam.allocate import allocate_network
from towline.ipam.contract import IpamDriver, LeaseBook
from towline.ipam.endpoints import release_endpoint_address, request_endpoint_address
from towline.ipam.errors import UnknownPool
from towline.ipam.handles import pool_id
from towline.ipam.prefix import parse_address, parse_prefix
from towline.ipam.restore import restore_network
from towline.model.endpoint import Endpoint
from towline.model.errors import TowlineError
from towline.model.network import Lease, Network, Pool, SubnetStatus

__all__ = [
    "allocate_network",
    "leases",
    "release_endpoint_address",
    "release_network",
    "request_endpoint_address",
    "restore_network",
    "subnet_status",
]
_UINT64_MAX = (1 << 64) - 1


def release_network(driver: IpamDriver, network: Network, endpoints: Sequence[Endpoint]) -> None:
    """Give back everything the network and its endpoints hold; what they do not hold is left alone.

    Goes on after an error; one ExceptionGroup at the end.
    """
    errors: list[Exception] = []
    for pool in network.pools:
        handle = pool_id(driver, network.address_scope, pool)
        held = _held(network, pool, endpoints)
        steps = [partial(driver.release_address, handle, address, owner) for address, owner in held]
        for step in [*steps, partial(driver.release_pool, handle, network.id)]:
            try:
                step()
            except UnknownPool:
                break
            except TowlineError as error:
                errors.append(error)
    if errors:
        raise ExceptionGroup(f"could not release all addresses of network {network.name} ({network.id})", errors)


def subnet_status(driver: IpamDriver, network: Network) -> dict[str, SubnetStatus]:
    """Per subnet (CIDR), in the order of the network's pools; {} from a driver that does not count. Several ranges of
    one subnet add up."""
    status: dict[str, SubnetStatus] = {}
    if not isinstance(driver, LeaseBook):
        return status
    for pool in network.pools:
        here = driver.status(pool_id(driver, network.address_scope, pool))
        before = status.get(pool.subnet)
        free = here.free + (before.free if before else 0)
        status[pool.subnet] = SubnetStatus(used=here.used, free=min(free, _UINT64_MAX))
    return status


def leases(driver: IpamDriver, network_id: str) -> list[Lease]:
    """Every address that is taken in the network's subnets, in address order; [] from a driver that cannot tell."""
    return driver.leases(network_id) if isinstance(driver, LeaseBook) else []


def _held(network: Network, pool: Pool, endpoints: Sequence[Endpoint]) -> Iterator[tuple[str, str]]:
    """(bare address, owner) of what network and endpoints hold in a pool."""
    if pool.gateway:
        yield pool.gateway, network.id
    for address in pool.aux.values():
        yield address, network.id
    subnet = parse_prefix(pool.subnet)
    for endpoint in endpoints:
        if text := endpoint.ipv6 if subnet.v6 else endpoint.ipv4:
            address = text.partition("/")[0]
            if subnet.start <= parse_address(address)[1] <= subnet.end:
                yield address, endpoint.id
