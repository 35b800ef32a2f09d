"""IPAM drivers by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from towline.ipam.contract import IpamDriver
from towline.ipam.default import DefaultIpam
from towline.ipam.null import NullIpam
from towline.ipam.pools import local_pools
from towline.model.config import AddressPool
from towline.model.errors import NotFound


class IpamDrivers:
    def __init__(self, drivers: Iterable[IpamDriver]) -> None:
        self._drivers = {driver.name: driver for driver in drivers}

    def get(self, name: str) -> IpamDriver:
        """Names are case-sensitive. NotFound, at once, for a name that no driver has."""
        try:
            return self._drivers[name]
        except KeyError:
            raise NotFound(f'plugin "{name}" not found') from None


def builtin_drivers(default_address_pools: Sequence[AddressPool], daemon_id: str) -> IpamDrivers:
    """The drivers every daemon has. default_address_pools: as configured, () for Docker's own."""
    return IpamDrivers([DefaultIpam(local_pools(default_address_pools, daemon_id)), NullIpam()])
