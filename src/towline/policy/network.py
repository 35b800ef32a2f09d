"""Admission of a network create request: the checks of Docker's daemon and controller in their order, and defaults.

Order and texts: moby daemon/network.go, daemon/libnetwork/controller.go and network.go (docker-api facts 1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from towline.drivers.contract import Driver
from towline.drivers.options import parse_go_bool
from towline.drivers.registry import Drivers
from towline.ipam.validate import validate
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound
from towline.model.network import RESERVED_NAMES, SWARM, Network
from towline.model.requests import ENABLE_IPV4, ENABLE_IPV6, CreateNetwork
from towline.model.view import View
from towline.policy.endpoint import live_endpoints
from towline.policy.swarm import NOT_IN_SWARM

_ADVERTISE = (
    ("com.docker.network.advertise_addr_nmsgs", 0, 3, "an integer"),
    ("com.docker.network.advertise_addr_ms", 100, 2000, "integer milliseconds"),
)


class ThisNode(NamedTuple):
    """Whether it is part of a cluster, and a manager of it."""

    active: bool = False
    manager: bool = False


class Admission:
    """What the checks need besides the request: drivers, the daemon's `--default-network-opt`, what this node is."""

    def __init__(
        self,
        drivers: Drivers,
        default_options: Mapping[str, Mapping[str, str]],
        this_node: Callable[[], ThisNode] = ThisNode,
    ) -> None:
        self._drivers = drivers
        self._default_options = default_options
        self._this_node = this_node

    def is_global(self, request: CreateNetwork) -> bool:
        """Does it ask for a network of the cluster (whether it may or not)?"""
        driver = self._drivers.find(request.driver)
        return not request.config_only and (request.scope == SWARM or (driver is not None and driver.scope == "global"))

    def admit(self, request: CreateNetwork, view: View) -> tuple[CreateNetwork, Driver | None]:
        """The request with every default filled in, and its driver (None for a config-only network). One for a network
        of the cluster (`is_global`) comes through on a manager only; the managers have checks of their own.

        Raises the error of the first check that fails; nothing has been changed then.
        """
        node = self._this_node()
        if node.active and (known := view.network_named(request.name)) is not None and known.scope == SWARM:
            raise Conflict(f"network with name {request.name} already exists")
        if request.name in RESERVED_NAMES:
            raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
        if request.driver == "overlay" and not node.manager:
            raise Forbidden(NOT_IN_SWARM)
        request = switch_families(self._with_default_options(request))
        validate(request.pools, bool(request.enable_ipv4), bool(request.enable_ipv6))
        _check_name(request, view)
        _check_config_rules(request)
        if request.config_only:
            return replace(request, driver="null", scope="local"), None
        driver = self._drivers.get(request.driver)
        _check_scope(request, driver)
        if request.config_from:
            request = _apply_configuration(request, view)
        _check_swarm(request, driver, node)
        return replace(request, scope=request.scope or driver.scope), driver

    def _with_default_options(self, request: CreateNetwork) -> CreateNetwork:
        driver = request.driver or "bridge"
        options = request.options
        if not request.config_from and driver in self._default_options:
            options = {**self._default_options[driver], **options}
        return replace(request, driver=driver, ipam_driver=request.ipam_driver or "default", options=options)


def switch_families(request: CreateNetwork) -> CreateNetwork:
    """Which families it has, where only a driver option says so. InvalidParameter."""

    def switch(asked: bool | None, key: str, default: bool) -> bool:
        if asked is not None:
            return asked
        if (text := request.options.get(key)) is None:
            return default
        if (value := parse_go_bool(text)) is None:
            raise InvalidParameter(f'driver-opt "{key}" is not a valid bool')
        return value

    return replace(
        request,
        enable_ipv4=switch(request.enable_ipv4, ENABLE_IPV4, True),
        enable_ipv6=switch(request.enable_ipv6, ENABLE_IPV6, False),
    )


def _check_name(request: CreateNetwork, view: View) -> None:
    if not request.name.strip():
        raise InvalidParameter("invalid name: name is empty")
    if view.network_named(request.name) is not None:
        raise Conflict(f"network with name {request.name} already exists")


def _check_config_rules(request: CreateNetwork) -> None:
    operator_fields = request.ingress or request.internal or request.attachable or request.scope
    if request.config_only and operator_fields:
        raise Forbidden(
            "configuration network can only contain network specific fields. "
            "Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
        )
    if not request.config_from:
        _check_advertise(request.options)
        return
    if request.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    specific = (
        request.enable_ipv6
        or request.labels
        or request.ipam_options
        or request.pools
        or request.ipam_driver != "default"
    )
    if specific:
        raise Forbidden(
            "user-specified configurations are not supported if the network depends on a configuration network"
        )
    if request.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")


def _check_advertise(options: Mapping[str, str]) -> None:
    for key, low, high, kind in _ADVERTISE:
        if (text := options.get(key)) is None:
            continue
        try:
            value = int(text)
        except ValueError:
            raise Failure(f'value for option {key} "{text}" must be {kind}') from None
        if not low <= value <= high:
            raise Failure(f"{key} must be in the range {low} to {high}")


def _check_scope(request: CreateNetwork, driver: Driver) -> None:
    if request.scope == "local" and driver.scope == "global":
        raise Forbidden(f"cannot downgrade network scope for {driver.name} networks")
    if request.ingress and driver.scope != "global":
        raise Forbidden("Ingress network can only be global scope network")


def _apply_configuration(request: CreateNetwork, view: View) -> CreateNetwork:
    """Take over what the configuration network holds (controller.go applyConfigurationTo)."""
    source = view.network_named(request.config_from)
    if source is None or not source.config_only:
        raise NotFound(f'configuration network "{request.config_from}" does not exist')
    return replace(
        request,
        enable_ipv4=source.enable_ipv4,
        enable_ipv6=source.enable_ipv6,
        ipam_driver=source.ipam_driver,
        ipam_options=source.ipam_options,
        pools=source.requests,
        labels=source.labels,
        options=source.options,
    )


def _check_swarm(request: CreateNetwork, driver: Driver, node: ThisNode) -> None:
    if request.scope != SWARM and driver.scope != "global":
        return
    if not request.enable_ipv4:
        raise InvalidParameter("IPv4 cannot be disabled in a Swarm scoped network")
    if not node.active:
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if not node.manager:
        raise Forbidden(
            "Cannot create a multi-host network from a worker node. Please create the network from a manager node."
        )


def check_removal(network: Network, view: View) -> None:
    """May this network go? Texts of docker-api facts 1.7."""
    if network.predefined:
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
    if network.config_only and any(d.scope != SWARM or d.whole is not None for d in view.dependants_of(network.name)):
        raise Forbidden(f'error while removing network: configuration network "{network.name}" is in use')
    if endpoints := live_endpoints(view, network.id):
        named = ", ".join(f'name:"{e.name}" id:"{e.id[:12]}"' for e in endpoints)
        raise Forbidden(f"error while removing network: network {network.name} has active endpoints ({named})")
