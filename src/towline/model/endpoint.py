"""A sandbox's attachment to a network: what was asked for, and what it got."""

from __future__ import annotations

from typing import Literal

import msgspec

Protocol = Literal["tcp", "udp", "sctp"]


class EndpointConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the client asked for (Docker's EndpointSettings as sent). Addresses are bare; "" is "any".

    mac: the configured MAC; the actual one is Endpoint.mac. links: "sandbox:alias" or "sandbox".
    """

    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mac: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0


ANYTHING = EndpointConfig()


class Published(msgspec.Struct, frozen=True):
    """A published port as it is: traffic to host_ip:host_port goes to the endpoint's own address, port `port`.

    host_ip "0.0.0.0" or "::": all addresses of that family.
    """

    protocol: Protocol
    host_ip: str
    host_port: int
    port: int


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addresses are CIDR, or "" when the family is off. mac: the actual one, stable over restarts of the sandbox.

    ifname: in the sandbox, "" while it is not running. host_link: the veth's host end, made from the endpoint's id.
    dns_names: the first one is what PTR answers. published: only on the endpoint that is the sandbox's gateway.
    way_out: made by us for a sandbox that has no other gateway than its global networks, which have none; it is there
    while the sandbox runs, and is none of its networks for a client. service: its sandbox's, on global networks.
    """

    id: str
    name: str
    network: str
    sandbox: str = ""
    mac: str = ""
    ipv4: str = ""
    ipv6: str = ""
    ifname: str = ""
    host_link: str = ""
    dns_names: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    config: EndpointConfig = ANYTHING
    way_out: bool = False
    service: str = ""
