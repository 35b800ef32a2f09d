"""The macvlan and ipvlan drivers: interfaces of sandboxes made on a link of the host, past the host's own network.

Options, order and texts: moby daemon/libnetwork/drivers/macvlan and ipvlan (docker-api facts 5.4). The host and its
sandboxes on such a network do not reach each other; there is nothing for a firewall of ours, and no port to publish.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from msgspec.structs import replace

from towline.drivers.contract import Attachment, SkipGateways
from towline.drivers.endpoint import DEFAULT_PREFIX, interface_sysctls
from towline.drivers.endpoint import PREFIX as IFACE_PREFIX
from towline.drivers.parent import PARENT, parent_of
from towline.model.desired import Desired, Interface, Parent, Slave, endpoint_alias
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, InvalidParameter
from towline.model.network import Network
from towline.model.view import View

ON_A_PARENT = frozenset({"macvlan", "ipvlan"})
"""Drivers whose networks name a link (`Network.link`) that may be the host's own."""
_MODES = ("bridge", "private", "vepa", "passthru")
_IP_MODES = ("l2", "l3", "l3s")
_IP_FLAGS = ("bridge", "private", "vepa")


class _OnParent:
    """What the two drivers share."""

    name: ClassVar[str]
    scope: Literal["local"] = "local"
    needs_pools = True
    _dummy: ClassVar[Literal["dm", "di"]]

    def check(self, network: Network) -> SkipGateways:
        """No gateway unless it is given: it is a router of that wire, which nobody here can know."""
        self._slave(network)
        if network.options.get(PARENT) == "lo":
            raise Failure(f"loopback interface is not a valid {self.name} parent link")
        return SkipGateways(ipv4=True, ipv6=True)

    def admit(self, network: Network, view: View) -> Network:
        """Whether the parent is there, the host knows; that is found when the network is made."""
        _check_pools(network)
        parent = self._parent(network)
        for other in view.networks_with_link(parent.name):
            if other.id != network.id and not other.config_only and other.driver in ON_A_PARENT:
                self._check_beside(network, other, parent)
        return replace(network, link=parent.name)

    def desired(self, network: Network) -> Desired:
        return Desired(parent=self._parent(network))

    def attach(self, network: Network, endpoint: Endpoint) -> Attachment:
        link_local = (f"{address}/{64 if ':' in address else 16}" for address in endpoint.config.link_local)
        interface = Interface(
            host_name=endpoint.host_link,
            alias=endpoint_alias(endpoint.id),
            bridge="",
            name=endpoint.ifname,
            mac=endpoint.mac,
            addresses=tuple(filter(None, (endpoint.ipv4, endpoint.ipv6, *link_local))),
            sysctls=interface_sysctls(endpoint.config.driver_opts, endpoint.ifname),
            ipv6_off=not network.enable_ipv6,
            slave=self._slave(network),
        )
        return Attachment(
            interface=interface,
            rules=None,
            gateway4=self._gateway(network, endpoint.ipv4),
            gateway6=self._gateway(network, endpoint.ipv6),
        )

    def interface_prefix(self, network: Network) -> str:
        return network.options.get(IFACE_PREFIX) or DEFAULT_PREFIX

    def _parent(self, network: Network) -> Parent:
        return parent_of(network.options.get(PARENT, ""), self._dummy, network.id)

    def _gateway(self, network: Network, address: str) -> str | None:
        """None on a network that is internal, as one without a parent is."""
        if not address or network.internal or not network.options.get(PARENT):
            return None
        subnet = str(ipaddress.ip_interface(address).network)
        return next((pool.gateway for pool in network.pools if pool.subnet == subnet and pool.gateway), None)

    def _slave(self, network: Network) -> Slave:
        raise NotImplementedError

    def _check_beside(self, network: Network, other: Network, parent: Parent) -> None:
        raise NotImplementedError


class MacvlanDriver(_OnParent):
    name = "macvlan"
    _dummy = "dm"

    def _slave(self, network: Network) -> Slave:
        mode = _choice(network.options, "macvlan_mode", _MODES, "macvlan mode", "'bridge' mode is the macvlan driver")
        return Slave(self._parent(network).name, "macvlan", mode)

    def _check_beside(self, network: Network, other: Network, parent: Parent) -> None:
        if other.driver != self.name:
            raise Failure(f"{other.driver} network {other.id} is already using parent interface {parent.name}")
        if self._slave(network).mode == "passthru":
            text = f"macvlan network {other.id} is already using parent interface {parent.name}"
            raise Failure(f"cannot use mode passthru, {text}")
        if self._slave(other).mode == "passthru":
            raise Failure(
                f"macvlan network {other.id} is already using parent interface {parent.name} in mode passthru"
            )


class IpvlanDriver(_OnParent):
    name = "ipvlan"
    _dummy = "di"

    def _slave(self, network: Network) -> Slave:
        mode = _choice(network.options, "ipvlan_mode", _IP_MODES, "ipvlan mode", "'l2' mode is the ipvlan driver")
        flag = _choice(network.options, "ipvlan_flag", _IP_FLAGS, "ipvlan flag", "'bridge' is the ipvlan driver")
        return Slave(self._parent(network).name, "ipvlan", mode, flag)

    def _gateway(self, network: Network, address: str) -> str | None:
        """In the modes l3 and l3s the host routes: an on-link default route."""
        if not address or network.internal or not network.options.get(PARENT):
            return None
        return super()._gateway(network, address) if self._slave(network).mode == "l2" else ""

    def _check_beside(self, network: Network, other: Network, parent: Parent) -> None:
        raise Failure(f"network di-{other.id[:12]} is already using parent interface {parent.name}")


def _choice(options: Mapping[str, str], key: str, known: tuple[str, ...], what: str, default: str) -> str:
    text = options.get(key) or known[0]
    if text not in known:
        raise Failure(f"requested {what} '{text[:64]}' is not valid, {default} default")
    return text


def _check_pools(network: Network) -> None:
    for on, word, first in (
        (network.enable_ipv4, "ipv4", next(_subnets(network, v6=False), "0.0.0.0/0")),
        (network.enable_ipv6, "ipv6", next(_subnets(network, v6=True), "::/0")),
    ):
        if on and first in ("0.0.0.0/0", "::/0"):
            raise InvalidParameter(f"{word} pool is empty")


def _subnets(network: Network, *, v6: bool) -> Iterator[str]:
    return (pool.subnet for pool in network.pools if pool.is_ipv6 == v6)
