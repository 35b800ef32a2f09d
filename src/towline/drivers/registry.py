"""The drivers by name. Names are case-sensitive, as in Docker."""

from __future__ import annotations

from collections.abc import Iterable

from towline.drivers.bridge import BridgeDriver
from towline.drivers.contract import Driver
from towline.drivers.macvlan import IpvlanDriver, MacvlanDriver
from towline.drivers.overlay import OverlayDriver, UnderlayHolder
from towline.drivers.single import SingleDriver
from towline.model.desired import NOTHING, Desired
from towline.model.errors import NotFound
from towline.model.network import Network


class Drivers:
    def __init__(self, drivers: Iterable[Driver]) -> None:
        self._by_name = {driver.name: driver for driver in drivers}

    def get(self, name: str) -> Driver:
        """NotFound with Docker's text, at once (Docker retries plugin discovery for 15 s first)."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(f'plugin "{name}" not found') from None

    def find(self, name: str) -> Driver | None:
        return self._by_name.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._by_name))

    def desired(self, network: Network) -> Desired:
        return NOTHING if network.config_only else self.get(network.driver).desired(network)


def builtin_drivers(place: UnderlayHolder | None = None) -> Drivers:
    """place: of this node in the underlay; without one it is in no cluster."""
    overlay = OverlayDriver(place or UnderlayHolder())
    return Drivers(
        [BridgeDriver(), MacvlanDriver(), IpvlanDriver(), overlay, SingleDriver("host"), SingleDriver("null")]
    )
