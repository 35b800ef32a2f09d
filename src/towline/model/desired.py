"""What must exist in the kernel for a network. Drivers compute it (pure); control applies and reconciles it.

A link is recognised by a restarted daemon by its alias `towline:<kind>:<id>`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ALIAS_PREFIX = "towline:"
GatewayMode = Literal["nat", "nat-unprotected", "routed", "isolated"]


def network_alias(network_id: str) -> str:
    return f"{ALIAS_PREFIX}network:{network_id}"


class Bridge(msgspec.Struct, frozen=True):
    """A bridge device, up.

    mac: set explicitly so that it does not follow the ports. mtu 0: the kernel's default.
    addresses: CIDR with host part, IPv4 and IPv6 (IPv6 is added without duplicate address detection).
    ipv6_off: no IPv6 at all on the device (net.ipv6.conf.<name>.disable_ipv6=1).
    """

    name: str
    alias: str
    mac: str
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    ipv6_off: bool = False


class FamilyRules(msgspec.Struct, frozen=True):
    """Firewall intent for one address family. snat: source address for outgoing traffic, "" = masquerade."""

    mode: GatewayMode = "nat"
    masquerade: bool = True
    snat: str = ""


class NetworkRules(msgspec.Struct, frozen=True):
    """Firewall intent for one network; `firewall.network_elements` turns it into set elements.

    bridge: interface name. icc: endpoints may talk to each other. internal: nothing enters or leaves.
    trusted: host interfaces from which direct access is allowed (com.docker.network.bridge.trusted_host_interfaces).
    """

    bridge: str
    ipv4: FamilyRules | None
    ipv6: FamilyRules | None
    icc: bool = True
    internal: bool = False
    trusted: tuple[str, ...] = ()


class Desired(msgspec.Struct, frozen=True):
    """Everything one network needs in the kernel. Both None for host, null and config-only networks."""

    bridge: Bridge | None = None
    rules: NetworkRules | None = None


NOTHING = Desired()
