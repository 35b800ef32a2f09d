"""What must exist in the kernel for a network. Drivers compute it (pure); control applies and reconciles it.

A link is recognised by a restarted daemon by its alias `towline:<kind>:<id>`.

Where a link is, its name says: `eth0` is in the host's network namespace, `overlay/br-1` is `br-1` in the node's own
namespace for overlay networks (the kernel allows no slash in a name).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec

ALIAS_PREFIX = "towline:"
SlaveKind = Literal["macvlan", "ipvlan"]
ParentKind = Literal["", "vlan", "dummy"]
GatewayMode = Literal["nat", "nat-unprotected", "routed", "isolated"]
_HEX_ID = 64
_APART = "overlay/"


def apart(name: str) -> str:
    """The link of this name in the namespace for overlay networks."""
    return _APART + name


def is_apart(name: str) -> bool:
    return name.startswith(_APART)


def kernel_name(name: str) -> str:
    """What the kernel calls the link, wherever it is."""
    return name.removeprefix(_APART)


def network_alias(network_id: str) -> str:
    return f"{ALIAS_PREFIX}network:{network_id}"


def endpoint_alias(endpoint_id: str) -> str:
    return f"{ALIAS_PREFIX}endpoint:{endpoint_id}"


def tunnel_alias(network_id: str) -> str:
    return f"{ALIAS_PREFIX}tunnel:{network_id}"


def parent_alias(name: str) -> str:
    return f"{ALIAS_PREFIX}parent:{name}"


def stable_mac(record_id: str) -> str:
    """A locally administered unicast address made from the id: the same after every restart and repair. Of an id of 64
    hex digits its first ten; another one (25 digits of base 36) is hashed."""
    digits = record_id if len(record_id) == _HEX_ID else sha256(record_id.encode()).hexdigest()
    return "02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))


class Bridge(msgspec.Struct, frozen=True):
    """A bridge device, up.

    mac: set explicitly so that it does not follow the ports. mtu 0: the kernel's default.
    addresses: CIDR with host part, IPv4 and IPv6 (IPv6 is added without duplicate address detection).
    ipv6_off: no IPv6 at all on the device (net.ipv6.conf.<name>.disable_ipv6=1); otherwise it believes no router
    advertisement (accept_ra=0). route_localnet: net.ipv4.conf.<name>.route_localnet, for ports published on 127.0.0.1.
    """

    name: str
    alias: str
    mac: str
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    ipv6_off: bool = False
    route_localnet: bool = False


class Vxlan(msgspec.Struct, frozen=True):
    """A VXLAN device, up, a port of a bridge: the way from this host to the others for one network.

    It learns nothing and floods nothing: frames go where its rows say (`Row`), and ARP and neighbour solicitation for
    their addresses are answered from them on this host. vni: VXLAN id, 24 bits. port: UDP. local: bare address of this
    host, IPv4 or IPv6, that packets are sent from ("::": what the route says); the rows' VTEPs are of its family.
    bridge: name of the link. secure: for an encrypted network the prefix of tunnel addresses, to which its rows lead.
    """

    name: str
    alias: str
    mac: str
    vni: int
    port: int
    local: str
    mtu: int
    bridge: str
    secure: str = ""


class Row(msgspec.Struct, frozen=True):
    """An endpoint on another host as a VXLAN device knows it: one FDB row (MAC -> VTEP), and one neighbour row (address
    -> MAC) per address. vtep, addresses: bare. As read from the kernel, vtep is "" where only neighbour rows are."""

    mac: str
    vtep: str
    addresses: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """destination: CIDR, "0.0.0.0/0" or "::/0" for a default route. gateway "": on-link."""

    destination: str
    gateway: str = ""


class Parent(msgspec.Struct, frozen=True):
    """A link of the host, up, that interfaces of sandboxes are made on (`Slave`).

    kind "": the host's own, which must be there. "vlan": 802.1Q, id `vlan` on the link `lower`; ours, unless a link of
    that name was there before. "dummy": ours, leads nowhere. alias: what ours carries. Networks may share one.
    """

    name: str
    kind: ParentKind = ""
    alias: str = ""
    lower: str = ""
    vlan: int = 0


class Slave(msgspec.Struct, frozen=True):
    """How an interface is made on a link of the host. mode, flag: the kernel's words ("bridge", "private", "l2")."""

    parent: str
    kind: SlaveKind = "macvlan"
    mode: str = "bridge"
    flag: str = ""


class Interface(msgspec.Struct, frozen=True):
    """One endpoint's veth pair: the host end on its bridge, the other end in the sandbox's namespace.

    host_name, alias: the host end. bridge: name of the bridge it is plugged into. name: in the sandbox. addresses:
    CIDR, both families, added without duplicate address detection. sysctls: (path relative to /proc/sys, value) in the
    sandbox's namespace. ipv6_off: no IPv6 on the sandbox's end. Default routes belong to the sandbox, not to one
    interface: see `Defaults`. fixed: the bridge holds the MAC at this port by a permanent row, learns nothing from it
    and floods nothing to it; so the endpoint is reached however long it was silent, and nobody can take its place.
    slave: instead of a pair, a link in the sandbox alone, made on one of the host; bridge is "" then, and no link of
    the host has host_name.
    """

    host_name: str
    alias: str
    bridge: str
    name: str
    mac: str
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    ipv6_off: bool = False
    fixed: bool = False
    slave: Slave | None = None


class Defaults(msgspec.Struct, frozen=True):
    """Where a sandbox's default routes go: (interface name, gateway address or "" for on-link) per family, or None."""

    ipv4: tuple[str, str] | None = None
    ipv6: tuple[str, str] | None = None


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
    """Everything one network needs in the kernel; nothing for host, null and config-only networks. rules: None where
    the bridge is not in the host's namespace. tunnel: made after the bridge. What goes through it is known later and
    elsewhere: its rows. parent: what its interfaces are made on."""

    bridge: Bridge | None = None
    rules: NetworkRules | None = None
    tunnel: Vxlan | None = None
    parent: Parent | None = None


NOTHING = Desired()
