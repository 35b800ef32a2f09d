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
    """Not so the networks of scope "swarm" whose driver knows one host only: they are read by config-from."""
    driver = drivers.find(network.driver)
    return driver is not None and driver.scope == "global"
