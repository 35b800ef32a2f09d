"""A service: sandboxes of one name on all nodes of a cluster, with virtual addresses and published ports of their own.

Ids are 25 digits of base 36, as Docker's. Membership: a sandbox names its service when it is made; its endpoints carry
the service's id, and so do the peers that other nodes know them as. Members on a network are the running ones among
those that carry the id, where the service is on that network.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from towline.model.endpoint import Protocol

EndpointMode = Literal["vip", "dnsrr"]
PublishMode = Literal["ingress", "host"]
FIRST_DYNAMIC_PORT, LAST_DYNAMIC_PORT = 30000, 32767


class ServicePort(msgspec.Struct, frozen=True, omit_defaults=True):
    """target: in the members. published: on the nodes; 0: any free one of the node of each member (mode host), or, in
    a request only, any free one from 30000 to 32767 (mode ingress). mode "ingress": on every node, to any member;
    "host": on the node of each member, to that one. name: SRV questions find it, "" for none.
    """

    target: int
    published: int = 0
    protocol: Protocol = "tcp"
    mode: PublishMode = "ingress"
    name: str = ""


class VirtualIP(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addresses of the service on a network: CIDR with the subnet's length, "" for a family that the network has not.
    No endpoint is ever given one of them."""

    network: str
    ipv4: str = ""
    ipv6: str = ""


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """created, updated: nanoseconds since the epoch. networks: ids in the order of the request, the ingress network not
    among them. vips: of mode "vip", one for each network, and one on the ingress network for ports of mode ingress.
    index: revision of its last change.
    """

    id: str
    name: str
    created: int
    updated: int = 0
    mode: EndpointMode = "vip"
    networks: tuple[str, ...] = ()
    vips: tuple[VirtualIP, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    labels: dict[str, str] = {}
    index: int = 0

    @property
    def ingress_ports(self) -> tuple[ServicePort, ...]:
        """Published on every node: its running members have an endpoint on the ingress network."""
        return tuple(port for port in self.ports if port.mode == "ingress")

    @property
    def ingress(self) -> str:
        """Id of the ingress network while it has ports of mode ingress, else ""."""
        return next((vip.network for vip in self.vips if vip.network not in self.networks), "")

    def vip_on(self, network_id: str) -> VirtualIP | None:
        return next((vip for vip in self.vips if vip.network == network_id), None)


def places_of(service: Service) -> set[str]:
    """Ids of the networks that it is on, or has a virtual address on."""
    return {*service.networks, *(vip.network for vip in service.vips)}


class Member(msgspec.Struct, frozen=True):
    """A running sandbox of a service as managers know it. up: its node is alive. addresses: network id -> CIDRs."""

    sandbox: str
    name: str
    node: str
    hostname: str
    up: bool
    addresses: dict[str, tuple[str, ...]]


class ServiceStatus(msgspec.Struct, frozen=True):
    """members: those with an endpoint on one of its networks, the ingress network included."""

    service: Service
    members: tuple[Member, ...] = ()
