"""The driver "null": networks without addresses. Texts: moby daemon/libnetwork/ipams/null/null.go."""

from __future__ import annotations

from towline.ipam.contract import AddressQuery, AddressSpaces, Capabilities, PoolGrant, PoolQuery
from towline.model.errors import InvalidParameter

_SPACE = "null"
_SUBNETS = {False: "0.0.0.0/0", True: "::/0"}
_POOL_IDS = frozenset(f"{_SPACE}/{subnet}" for subnet in _SUBNETS.values())


class NullIpam:
    """Grants the same empty pool to everybody; every address it is asked for is ""."""

    name = "null"
    capabilities = Capabilities()
    address_spaces = AddressSpaces(local=_SPACE, cluster=_SPACE)

    def request_pool(self, query: PoolQuery) -> PoolGrant:
        if query.space != _SPACE:
            raise InvalidParameter(f"unknown address space: {query.space}")
        if query.pool:
            raise InvalidParameter("null ipam driver does not handle specific address pool requests")
        if query.subpool:
            raise InvalidParameter("null ipam driver does not handle specific address subpool requests")
        subnet = _SUBNETS[query.v6]
        return PoolGrant(f"{_SPACE}/{subnet}", subnet)

    def release_pool(self, pool_id: str, owner: str) -> None:
        _check(pool_id)

    def request_address(self, query: AddressQuery) -> str:
        _check(query.pool_id)
        return ""

    def release_address(self, pool_id: str, address: str, owner: str) -> None:
        _check(pool_id)


def _check(pool_id: str) -> None:
    if pool_id not in _POOL_IDS:
        raise InvalidParameter(f"unknown pool id: {pool_id}")
