"""What a node's part of the routing mesh is: a function of the store now."""

from __future__ import annotations

from collections.abc import Iterator

from towline.drivers.endpoint import SYSCTLS
from towline.model.endpoint import EndpointConfig
from towline.model.network import SWARM, Network
from towline.model.sandbox import MESH, PortBinding
from towline.model.service import Service, ServicePort
from towline.model.view import View

_PORTS = 1 << 16
INSIDE, OUTSIDE = "ingress-endpoint", f"gateway_{MESH}"
"""Names of its endpoints, Docker's (libnetwork network.go, default_gateway.go)."""


def ingress_network(view: View) -> Network | None:
    return next((n for n in list(view.networks()) if n.ingress and n.scope == SWARM), None)


def published_ports(view: View) -> tuple[PortBinding, ...]:
    """Each once, in an order that depends on nothing else: what comes for a port goes to the same one inside."""
    found = {(port.protocol, port.published) for service in view.services() for port in usable_ports(service)}
    return tuple(PortBinding(port, protocol, host_port=port) for protocol, port in sorted(found))


def usable_ports(service: Service) -> Iterator[ServicePort]:
    """Of those that every node publishes, those that can be: a record is what managers say."""
    for port in service.ingress_ports:
        if 0 < port.published < _PORTS and 0 < port.target < _PORTS:
            yield port


def mesh_config(network: Network) -> EndpointConfig:
    """It forwards from each of its networks to the other. IPv6 knows no such setting of one interface."""
    settings = ["net.ipv4.conf.IFNAME.forwarding=1"]
    settings += ["net.ipv6.conf.all.forwarding=1"] if network.enable_ipv6 else []
    return EndpointConfig(driver_opts={SYSCTLS: ",".join(settings)})
