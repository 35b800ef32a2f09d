"""Pools and gateways of a new network.

Order and texts: moby daemon/libnetwork/network.go ipamAllocateVersion (docker-api facts 1.4, 1.9 and 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import msgspec

from towline.ipam.contract import ADDRESS_TYPE, GATEWAY, AddressQuery, IpamDriver, PoolGrant, PoolQuery
from towline.ipam.handles import address_options, plain_id, space_of
from towline.ipam.prefix import format_address, parse_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.errors import Failure, Forbidden, TowlineError
from towline.model.network import Pool
from towline.model.requests import PoolRequest


def allocate_network(
    driver: IpamDriver,
    *,
    network_id: str,
    requests: Sequence[PoolRequest],
    ipv4: bool,
    ipv6: bool,
    scope: str,
    in_use: PrefixSet,
    options: dict[str, str] | None,
    skip_gateway4: bool,
    skip_gateway6: bool,
) -> tuple[Pool, ...]:
    """Take subnets, gateways and auxiliary addresses for a new network; all of them, or an error and nothing.

    Requests of a family that is off are dropped; a family that is on and was not asked for gets an automatic subnet.
    in_use: prefixes that automatic subnets of this host avoid; those of the cluster are the same on every host and do
    not look. The answer is in the order in which Docker shows pools: given ones (IPv4, IPv6), then automatic ones.

    Raises what the driver raises, and Failure when gateway or auxiliary address cannot be had.
    """
    cluster = scope == "global"
    space = space_of(driver, scope)
    pools: list[tuple[bool, Pool]] = []
    with ExitStack() as undo:
        for v6, request in _by_family(requests, ipv4, ipv6):
            query = PoolQuery(
                space=space,
                v6=v6,
                owner=network_id,
                pool=request.subnet,
                subpool=str(parse_prefix(request.ip_range)) if request.ip_range else "",
                options=options or {},
                exclude=None if cluster else in_use,
            )
            pool = _take_pool(driver, query, request, skip_gateway6 if v6 else skip_gateway4, undo)
            pools.append((not request.subnet, pool))
        undo.pop_all()
    return tuple(pool for _, pool in sorted(pools, key=lambda item: (item[0], item[1].is_ipv6)))


def _by_family(requests: Sequence[PoolRequest], ipv4: bool, ipv6: bool) -> Iterator[tuple[bool, PoolRequest]]:
    """(IPv6?, request) in the order of allocation. An entry without a subnet asks for an automatic IPv4 one."""
    for v6, wanted in ((False, ipv4), (True, ipv6)):
        if wanted:
            mine = [request for request in requests if (":" in request.subnet) == v6]
            for request in mine or [PoolRequest()]:
                yield v6, request


def _take_pool(driver: IpamDriver, query: PoolQuery, request: PoolRequest, skip_gateway: bool, undo: ExitStack) -> Pool:
    grant = driver.request_pool(query)
    undo.callback(driver.release_pool, grant.id, query.owner)
    claims = _Claims(driver, grant, query, undo)
    gateway = grant.gateway
    if request.gateway or not (gateway or skip_gateway):
        gateway = claims.gateway(request.gateway)
    return Pool(
        subnet=grant.subnet,
        ip_range=query.subpool,
        gateway=gateway,
        aux={name: claims.auxiliary(name, address) for name, address in sorted(request.aux.items())},
        handle="" if grant.id == plain_id(query.space, grant.subnet, query.subpool) else grant.id,
    )


class _Claims(msgspec.Struct, frozen=True):
    """Addresses of one new pool, each with its undo registered."""

    driver: IpamDriver
    grant: PoolGrant
    query: PoolQuery
    undo: ExitStack

    def gateway(self, address: str) -> str:
        try:
            return self._take(address, "gateway", {ADDRESS_TYPE: GATEWAY})
        except TowlineError as error:
            raise Failure(f"failed to allocate gateway ({address}): {error}") from error

    def auxiliary(self, name: str, address: str) -> str:
        v6, value = parse_address(address)
        subnet = parse_prefix(self.grant.subnet)
        if v6 != subnet.v6 or not subnet.start <= value <= subnet.end:
            raise Forbidden(f"auxiliary address: ({name}:{address}) must belong to the master pool: {subnet}")
        try:
            self._take(address, "auxiliary", {})
        except TowlineError as error:
            raise Failure(f"failed to allocate secondary ip address ({name}:{address}): {error}") from error
        return format_address(value, v6)

    def _take(self, address: str, reason: str, options: dict[str, str]) -> str:
        options = {**address_options(self.query.options), **options}
        query = AddressQuery(self.grant.id, self.query.owner, reason, address=address, options=options)
        taken = self.driver.request_address(query).partition("/")[0]
        if taken:
            self.undo.callback(self.driver.release_address, self.grant.id, taken, self.query.owner)
        return taken
