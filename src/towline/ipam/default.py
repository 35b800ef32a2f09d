"""The built-in driver "default". Rules: moby daemon/libnetwork/ipams/defaultipam/allocator.go (docker-api facts 4)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from towline.ipam.addresses import Addresses
from towline.ipam.contract import SERIAL, AddressQuery, AddressSpaces, Capabilities, PoolGrant, PoolQuery
from towline.ipam.errors import AddressOutOfRange, NoAddresses, UnknownPool
from towline.ipam.pools import NOTHING_IN_USE, Pools
from towline.ipam.prefix import Prefix, format_address, parse_address, parse_prefix
from towline.model.config import GLOBAL_POOLS, AddressPool
from towline.model.errors import Failure, InvalidParameter
from towline.model.network import Lease, SubnetStatus

SPACES = AddressSpaces(local="LocalDefault", cluster="GlobalDefault", swarm="SwarmDefault")


class _Grant(NamedTuple):
    """One pool in use. Grants of the same subnet (with different ranges) share its addresses."""

    space: str
    subnet: Prefix
    ip_range: Prefix | None
    owner: str
    addresses: Addresses


class DefaultIpam:
    """Allocates from memory; what it must know again after a restart is replayed from the store.

    Also a LeaseBook. Pool ids read `space/subnet[/range]`, as Docker's.
    """

    name = "default"
    capabilities = Capabilities(requires_replay=True)
    address_spaces = SPACES

    def __init__(self, local: Sequence[AddressPool], cluster: Sequence[AddressPool] = GLOBAL_POOLS) -> None:
        """Predefined pools of both families (`pools.local_pools` makes the local ones)."""
        self._pools = {
            (space, v6): Pools(predefined, v6)
            for space, predefined in zip(SPACES, (local, cluster, cluster), strict=True)
            for v6 in (False, True)
        }
        self._grants: dict[str, _Grant] = {}
        self._by_owner: dict[str, list[str]] = {}
        self._addresses: dict[tuple[str, Prefix], Addresses] = {}

    def request_pool(self, query: PoolQuery) -> PoolGrant:
        pools = self._pools.get((query.space, query.v6))
        if pools is None:
            raise InvalidParameter(f"cannot find address space {query.space}")
        subnet, ip_range = _wanted(query)
        if subnet is None or subnet.unspecified:
            subnet = pools.allocate(subnet.length if subnet else 0, query.exclude or NOTHING_IN_USE)
        else:
            pools.take(subnet, ip_range)
        return self._grant(query, subnet, ip_range)

    def release_pool(self, pool_id: str, owner: str) -> None:
        grant = self._find(pool_id)
        if grant.owner != owner:
            raise UnknownPool(pool_id)
        del self._grants[pool_id]
        mine = self._by_owner[owner]
        mine.remove(pool_id)
        if not mine:
            del self._by_owner[owner]
        if grant.ip_range:
            grant.addresses.drop_range(grant.ip_range)
        if self._pools[grant.space, grant.subnet.v6].release(grant.subnet, grant.ip_range):
            del self._addresses[grant.space, grant.subnet]

    def request_address(self, query: AddressQuery) -> str:
        grant = self._find(query.pool_id)
        addresses, subnet = grant.addresses, grant.subnet
        if query.address:
            value = _inside(subnet, query.address)
            if query.within and not any(p.start <= value <= p.end for p in map(parse_prefix, query.within)):
                raise AddressOutOfRange
            addresses.take(value, query.owner, query.reason)
        else:
            value = _allocate(grant, query)
        return f"{format_address(value, subnet.v6)}/{subnet.length}"

    def release_address(self, pool_id: str, address: str, owner: str) -> None:
        grant = self._find(pool_id)
        grant.addresses.release(_inside(grant.subnet, address), owner)

    def status(self, pool_id: str) -> SubnetStatus:
        grant = self._find(pool_id)
        return grant.addresses.status(grant.ip_range)

    def leases(self, owner: str) -> list[Lease]:
        """What belongs to a subnet itself (network and broadcast address) is shown as the network's."""
        subnets = {self._grants[pool_id].addresses for pool_id in self._by_owner.get(owner, ())}
        return [
            lease if lease.owner else Lease(lease.address, owner, lease.reason, lease.epoch)
            for addresses in sorted(subnets, key=lambda each: each.subnet)
            for lease in addresses.leases()
        ]

    def endpoints_in(self, pool_id: str, prefix: str) -> int:
        addresses, part = self._find(pool_id).addresses, parse_prefix(prefix)
        addresses.add_range(part)
        return addresses.endpoints_in(part)

    def holder_of(self, space: str, subnet: str) -> str:
        prefix = parse_prefix(subnet)
        found = (grant.owner for grant in self._grants.values() if (grant.space, grant.subnet) == (space, prefix))
        return next(found, "")

    def move(self, pool_id: str, address: str, owner: str, epoch: int) -> Lease:
        grant = self._find(pool_id)
        return grant.addresses.move(_inside(grant.subnet, address), owner, epoch)

    def _grant(self, query: PoolQuery, subnet: Prefix, ip_range: Prefix | None) -> PoolGrant:
        addresses = self._addresses.get((query.space, subnet))
        if addresses is None:
            addresses = self._addresses[query.space, subnet] = Addresses(subnet)
        if ip_range:
            addresses.add_range(ip_range)
        pool_id = f"{query.space}/{subnet}" + (f"/{ip_range}" if ip_range else "")
        self._grants[pool_id] = _Grant(query.space, subnet, ip_range, query.owner, addresses)
        self._by_owner.setdefault(query.owner, []).append(pool_id)
        return PoolGrant(pool_id, str(subnet))

    def _find(self, pool_id: str) -> _Grant:
        try:
            return self._grants[pool_id]
        except KeyError:
            raise UnknownPool(pool_id) from None


def _allocate(grant: _Grant, query: AddressQuery) -> int:
    """The next free address, of the parts that the query names if it names some."""
    serial = query.options.get(SERIAL) == "true"
    for part in query.within:
        block = parse_prefix(part)
        grant.addresses.add_range(block)
        with suppress(NoAddresses):
            return grant.addresses.allocate(query.owner, query.reason, block=block, serial=serial)
    if query.within:
        raise NoAddresses
    return grant.addresses.allocate(query.owner, query.reason, block=grant.ip_range, serial=serial)


def _wanted(query: PoolQuery) -> tuple[Prefix | None, Prefix | None]:
    """Subnet and range of a query, None where it leaves them open."""
    subnet = parse_prefix(query.pool) if query.pool else None
    if not query.subpool:
        return subnet, None
    if subnet is None or subnet.unspecified:
        raise Failure(
            f'failed to parse pool request for address space "{query.space}" pool "" subpool "{query.subpool}": '
            "invalid address subpool"
        )
    ip_range = parse_prefix(query.subpool)
    if ip_range.v6 != subnet.v6:
        raise InvalidParameter("pool and subpool are of incompatible address families")
    return subnet, ip_range


def _inside(subnet: Prefix, address: str) -> int:
    v6, value = parse_address(address)
    if v6 != subnet.v6:
        raise AddressOutOfRange
    return value
