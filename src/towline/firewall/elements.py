"""From intent to set elements: one network, one endpoint's port, one published port. A few elements each, no rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from towline.firewall import keys
from towline.firewall.names import BRIDGE, INET, OVERLAY
from towline.model.desired import FamilyRules, NetworkRules, is_apart, kernel_name
from towline.model.ruleset import Element

_ANY = ("", "0.0.0.0", "::")


class PublishedPort(msgspec.Struct, frozen=True):
    """A container's port, and where on this host it is reached.

    host_ip: "" or the unspecified address for all addresses of the family of `address`. protocol: tcp, udp or sctp.
    """

    host_ip: str
    host_port: int
    protocol: str
    address: str
    port: int


def network_elements(rules: NetworkRules) -> tuple[Element, ...]:
    """Everything that the firewall must know of one network.

    Trusted interfaces need not exist (Docker checks nothing there); a name that none can have is passed over.
    """
    bridge = keys.ifname(rules.bridge)
    elements = [Element(INET, "bridges", bridge), Element(INET, "self", bridge + bridge)]
    if rules.icc:
        elements.append(Element(INET, "icc", bridge + bridge))
    for suffix, family in (("4", rules.ipv4), ("6", rules.ipv6)):
        if family is None:
            elements.append(Element(INET, f"off{suffix}", bridge))
        elements += _family(bridge, suffix, family, internal=rules.internal)
    names = [name for name in dict.fromkeys(rules.trusted) if keys.is_ifname(name)]
    elements += [Element(INET, "trusted", keys.ifname(name) + bridge) for name in names]
    return tuple(elements)


def _family(bridge: bytes, suffix: str, family: FamilyRules | None, *, internal: bool) -> Iterator[Element]:
    """A family that is off, and the gateway mode `isolated`, is an internal one."""
    if internal or family is None or family.mode == "isolated":
        yield Element(INET, f"internal{suffix}", bridge)
        return
    yield Element(INET, f"leave{suffix}", bridge)
    if family.mode == "routed":
        yield Element(INET, f"routed{suffix}", bridge)
        return
    if family.mode == "nat-unprotected":
        yield Element(INET, f"open{suffix}", bridge)
    if family.masquerade and family.snat:
        yield Element(INET, f"snat{suffix}", bridge, keys.address(family.snat))
    elif family.masquerade:
        yield Element(INET, f"masq{suffix}", bridge)


def data_path_elements(port: int) -> tuple[Element, ...]:
    """While this node is in a cluster, whose encapsulated packets go to this UDP port: only VTEPs may send here."""
    return (Element(INET, "vxlan_ports", keys.port(port)),)


def secure_elements(port: int) -> tuple[Element, ...]:
    """While this node is in a cluster: packets to this UDP port come and go through WireGuard only."""
    return (*data_path_elements(port), Element(INET, "secure_ports", keys.port(port)))


def secure_link_elements(names: Iterable[str]) -> tuple[Element, ...]:
    """The WireGuard interfaces of this node."""
    return tuple(Element(INET, "secure_links", keys.ifname(name)) for name in names)


def vtep_elements(addresses: Iterable[str]) -> tuple[Element, ...]:
    """The data path addresses of nodes, bare, this one's too; "" (not known yet) is passed over."""
    packed = dict.fromkeys(keys.address(text) for text in addresses if text)
    return tuple(Element(INET, "vteps4" if len(each) == 4 else "vteps6", each) for each in packed)


def endpoint_elements(
    rules: NetworkRules, port: str, mac: str, addresses: Sequence[str], *, router: bool = False, hub: bool = False
) -> tuple[Element, ...]:
    """One bridge port: it may send from its MAC, its addresses and its own link-local address, and with icc=false to
    nobody but the gateway.

    port: what the kernel calls the bridge port. addresses: bare or CIDR, both families. router: it may send from any
    address, because it forwards. hub: it and all others may talk, whatever icc says. In the namespace for overlay
    networks every port is guarded, and all ports may talk.
    """
    table = OVERLAY if is_apart(rules.bridge) else BRIDGE
    interface = keys.ifname(port)
    mac_key = keys.concat(interface, keys.ether(mac))
    elements = [Element(table, "port_mac", mac_key)]
    if table == BRIDGE:
        talk = Element(BRIDGE, "hubs" if hub else "icc" if rules.icc else "noicc", interface)
        elements += [Element(BRIDGE, "guarded", interface), talk]
    elements += [Element(table, "routers", interface)] if router else []
    own = [text.split("/")[0] for text in addresses]
    if rules.ipv6 is not None:
        own.append(keys.link_local(mac))
    for packed in dict.fromkeys(map(keys.address, own)):
        elements.append(Element(table, "port_ip4" if len(packed) == 4 else "port_ip6", mac_key + packed))
        if len(packed) == 16:
            elements.append(Element(table, "port_nd6", interface + packed))
    return tuple(elements)


def mesh_address_elements(addresses: Iterable[str]) -> tuple[Element, ...]:
    """The addresses, bare or CIDR, at which this host's networks reach the routing mesh's sandbox."""
    packed = [keys.address(text.partition("/")[0]) for text in addresses]
    return tuple(Element(INET, "meshes4" if len(each) == 4 else "meshes6", each) for each in packed)


def guards(element: Element, ports: Collection[str]) -> bool:
    """Whether it restrains one of these bridge ports."""
    tables = {True: OVERLAY, False: BRIDGE}
    return any(
        element.table == tables[is_apart(port)] and element.key.startswith(keys.ifname(kernel_name(port)))
        for port in ports
    )


def published_elements(rules: NetworkRules, published: PublishedPort) -> tuple[Element, ...]:
    """One published port of a container on this network; () where the gateway mode publishes nothing."""
    address = keys.address(published.address)
    suffix, family = ("4", rules.ipv4) if len(address) == 4 else ("6", rules.ipv6)
    if family is None or rules.internal or family.mode == "isolated":
        return ()
    elements = [] if family.mode == "routed" else [_dnat(suffix, address, published)]
    if family.mode == "routed" or rules.trusted:
        elements.append(_allow(suffix, rules.bridge, address, published))
    return tuple(elements)


def _dnat(suffix: str, address: bytes, published: PublishedPort) -> Element:
    target = keys.concat(address, keys.port(published.port))
    service = keys.concat(keys.protocol(published.protocol), keys.port(published.host_port))
    if published.host_ip in _ANY:
        return Element(INET, f"dnat{suffix}_any", service, target)
    return Element(INET, f"dnat{suffix}", keys.address(published.host_ip) + service, target)


def _allow(suffix: str, bridge: str, address: bytes, published: PublishedPort) -> Element:
    parts = (keys.ifname(bridge), keys.protocol(published.protocol), address, keys.port(published.port))
    return Element(INET, f"allow{suffix}", keys.concat(*parts))
