"""Global networks are made on a node with its first running endpoint, and go with its last."""

from __future__ import annotations

from towline.drivers.registry import Drivers
from towline.model.desired import NOTHING, Desired
from towline.model.network import SWARM, Network
from towline.model.view import View


def is_present(view: View, network_id: str) -> bool:
    """Has it an endpoint here that is plugged in?"""
    return view.is_plugged(network_id)


def desired_now(network: Network, view: View, drivers: Drivers) -> Desired:
    """What the kernel must hold for a network: a function of the store now."""
    if network.scope == SWARM and not (is_made_here(network, drivers) and is_present(view, network.id)):
        return NOTHING
    return drivers.desired(network)


def is_made_here(network: Network, drivers: Drivers) -> bool:
    """Networks of scope "swarm" whose driver knows one host only are made where a host has a part of its own."""
    return network.whole is not None or is_spanning(network, drivers)


def is_spanning(network: Network, drivers: Drivers) -> bool:
    """Made as the cluster says, the same on every host."""
    driver = drivers.find(network.driver)
    return driver is not None and driver.scope == "global"


def needs_part(network: Network, drivers: Drivers) -> bool:
    """A network of the cluster that this host must make its own part of, before anything can join it here."""
    return network.scope == SWARM and not is_made_here(network, drivers)
