"""Our tables, their sets and maps, the mark of admitted packets, and the priorities of our chains.

Priorities are fixed: they are part of the interface towards other software on the host (docs/design/firewall.md).
"""

from __future__ import annotations

from towline.firewall.builders import IP_FAMILIES
from towline.model.ruleset import Set, TableId

INET = TableId("inet", "towline")
BRIDGE = TableId("bridge", "towline")
OVERLAY = TableId("bridge", "towline-overlay")
"""In the node's namespace for overlay networks, not in the host's."""

ADMITTED = 0x10000000
"""Mark bit on every forwarded packet that our rules admitted."""

RAW, DSTNAT, FILTER, SRCNAT = -300, -110, -10, 90
BRIDGE_FILTER = -210

INET_SETS = (
    Set("bridges", ("ifname",), comment="bridges of all networks"),
    Set("self", ("ifname", "ifname"), comment="each bridge with itself"),
    Set("icc", ("ifname", "ifname"), comment="bridges whose endpoints may talk to each other"),
    Set("trusted", ("ifname", "ifname"), comment="host interface, bridge: published ports at container addresses"),
    Set("vxlan_ports", ("inet_service",), comment="the cluster's data path"),
    Set("secure_ports", ("inet_service",), comment="the data path of encrypted networks"),
    Set("secure_links", ("ifname",), comment="WireGuard interfaces: the only way of encrypted networks"),
)
OVERLAY_SETS = (
    Set("routers", ("ifname",), comment="ports that may send from any address"),
    Set("port_mac", ("ifname", "ether_addr"), comment="port, its MAC"),
    Set("port_ip4", ("ifname", "ether_addr", "ipv4_addr"), comment="port, its MAC, its IPv4 addresses"),
    Set("port_ip6", ("ifname", "ether_addr", "ipv6_addr"), comment="port, its MAC, its IPv6 addresses"),
    Set("port_nd6", ("ifname", "@th,64,64", "@th,128,64"), comment="port, what it may answer neighbours for"),
)
BRIDGE_SETS = (
    Set("icc", ("ifname",), comment="ports that may talk to other ports"),
    Set("noicc", ("ifname",), comment="ports that may not talk to other ports"),
    Set("hubs", ("ifname",), comment="ports that all others may talk to, and they to all"),
    Set("guarded", ("ifname",), comment="ports that may only use their own addresses"),
    *OVERLAY_SETS,
)


def family_sets() -> tuple[Set, ...]:
    """The sets of `inet towline` that exist once per address family, with suffix 4 or 6."""
    sets: list[Set] = []
    for family in IP_FAMILIES:
        n, ip = family.suffix, family.address_type
        service = ("inet_proto", "inet_service")
        target = (ip, "inet_service")
        sets += (
            Set(f"vteps{n}", (ip,), comment="the cluster's nodes: who may send on its data path"),
            Set(f"internal{n}", ("ifname",), comment="bridges that nothing enters or leaves"),
            Set(f"leave{n}", ("ifname",), comment="bridges that packets may leave"),
            Set(f"off{n}", ("ifname",), comment="bridges without this address family"),
            Set(f"masq{n}", ("ifname",), comment="bridges behind the host's address"),
            Set(f"open{n}", ("ifname",), comment="bridges that anybody may reach directly"),
            Set(f"routed{n}", ("ifname",), comment="bridges that are routed, no NAT"),
            Set(f"allow{n}", ("ifname", "inet_proto", ip, "inet_service"), comment="published container ports"),
            Set(f"meshes{n}", (ip,), comment="the routing mesh's sandbox: this host's networks go to it as this host"),
            Set(f"snat{n}", ("ifname",), (ip,), comment="bridge: source address of what leaves it"),
            Set(f"dnat{n}", (ip, *service), target, comment="published ports of one host address"),
            Set(f"dnat{n}_any", service, target, comment="published ports of all host addresses"),
        )
    return tuple(sets)
