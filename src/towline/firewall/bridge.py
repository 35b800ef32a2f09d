"""Inside a bridge, where IP rules do not look: no talk between endpoints (icc=false), anti-spoofing.

By port, not by bridge: `meta ibrname` needs a kernel option that not every kernel has (NFT_BRIDGE_META).
A lookup by interface name is most of what a frame costs here: what nearly every frame is comes first, with one lookup
in each of the two hooks.

Overlay networks have a table of their own in a namespace of their own, where there are only tunnels and endpoints, and
nothing beyond anti-spoofing to decide: a frame from another host costs one comparison.
"""

from __future__ import annotations

from towline.firewall.builders import (
    ACCEPT,
    ARP_SENDER_IP,
    ARP_SENDER_MAC,
    DROP,
    ETHER_SADDR,
    ETHER_TYPE,
    ICMP6_TYPE,
    IIFNAME,
    IP6_SADDR,
    IP_SADDR,
    L4PROTO,
    ND_TARGET,
    OIFNAME,
    Exprs,
    Field,
    equal,
    goto,
    member,
    not_member,
    unequal,
)
from towline.firewall.names import BRIDGE_FILTER
from towline.model.ruleset import Chain, Hook, Rule

_PREROUTING, _FORWARD = 0, 2
_IP, _ARP, _IP6 = (equal(ETHER_TYPE, number.to_bytes(2, "big")) for number in (0x0800, 0x0806, 0x86DD))
_ICMP6 = bytes((58,))
_GUARDED = Rule("guarded port", (*member("guarded", IIFNAME), goto("guard")))
TUNNEL_PREFIX = b"vx-"
"""How the names of tunnels begin (`drivers.overlay`), and of no endpoint's port."""

_ROUTER_ADVERT, _NEIGHBOUR_SOLICIT, _NEIGHBOUR_ADVERT, _REDIRECT = 134, 135, 136, 137


def chains() -> tuple[Chain, ...]:
    return (_prerouting(*_own_address(), _GUARDED), _guard(), _guard_arp(), _guard_ip6(), _forward())


def overlay_chains() -> tuple[Chain, ...]:
    """The other hosts guard their endpoints; whoever is no node's is not let in by the host's rules."""
    tunnel = Rule("from another host", (*equal(IIFNAME, TUNNEL_PREFIX), ACCEPT))
    rest = Rule("endpoint", (goto("guard"),))
    return (_prerouting(tunnel, *_own_address(), rest), _guard(), _guard_arp(), _guard_ip6())


def _prerouting(*rules: Rule) -> Chain:
    return Chain("prerouting", Hook("filter", _PREROUTING, BRIDGE_FILTER), rules)


def _own_address() -> tuple[Rule, ...]:
    own6 = (*_IP6, *unequal(L4PROTO, _ICMP6), *_own("port_ip6", IP6_SADDR))
    return (
        Rule("own IPv4 address", (*_IP, *_own("port_ip4", IP_SADDR), ACCEPT)),
        Rule("own IPv6 address", (*own6, ACCEPT)),
    )


def _own(name: str, address: Field) -> Exprs:
    """Both source addresses of the frame belong to the port."""
    return member(name, IIFNAME, ETHER_SADDR, address)


def _guard() -> Chain:
    return Chain(
        "guard",
        rules=(
            Rule("forged MAC", (*not_member("port_mac", IIFNAME, ETHER_SADDR), *DROP)),
            Rule("router", (*member("routers", IIFNAME), ACCEPT)),
            Rule("ARP", (*_ARP, goto("guard_arp"))),
            Rule("IPv6", (*_IP6, goto("guard_ip6"))),
            Rule("forged IPv4 address, or another protocol", DROP),
        ),
    )


def _guard_arp() -> Chain:
    return Chain(
        "guard_arp",
        rules=(
            Rule("own ARP sender", (*_ARP, *member("port_ip4", IIFNAME, ARP_SENDER_MAC, ARP_SENDER_IP), ACCEPT)),
            Rule("forged ARP sender", DROP),
        ),
    )


def _guard_ip6() -> Chain:
    """An endpoint of a network without IPv6 has no IPv6 address here, not even a link-local one: it sends none."""
    own_target = member("port_nd6", IIFNAME, *ND_TARGET)
    unspecified = (*_IP6, *equal(IP6_SADDR, bytes(16)))
    return Chain(
        "guard_ip6",
        rules=(
            Rule("router advertisement", (*_icmp6(_ROUTER_ADVERT), *DROP)),
            Rule("redirect", (*_icmp6(_REDIRECT), *DROP)),
            Rule(
                "forged neighbour advertisement",
                (*_icmp6(_NEIGHBOUR_ADVERT), *not_member("port_nd6", IIFNAME, *ND_TARGET), *DROP),
            ),
            Rule("own IPv6 address", (*_IP6, *_own("port_ip6", IP6_SADDR), ACCEPT)),
            Rule(
                "duplicate address detection",
                (*unspecified, *_icmp6(_NEIGHBOUR_SOLICIT), *own_target, ACCEPT),
            ),
            Rule("forged IPv6 address", DROP),
        ),
    )


def _icmp6(kind: int) -> Exprs:
    return (*equal(L4PROTO, _ICMP6), *equal(ICMP6_TYPE, bytes((kind,))))


def _forward() -> Chain:
    """A network has icc on or off for all its ports: the one that sends decides. A port that is not ours is in neither
    set, so it cannot reach one with icc off."""
    return Chain(
        "forward",
        Hook("filter", _FORWARD, BRIDGE_FILTER),
        (
            Rule("between endpoints", (*member("icc", IIFNAME), ACCEPT)),
            Rule("to a hub", (*member("hubs", OIFNAME), ACCEPT)),
            Rule("from a hub", (*member("hubs", IIFNAME), ACCEPT)),
            Rule("between endpoints, refused", (*member("noicc", IIFNAME), *DROP)),
            Rule("between endpoints, refused", (*member("noicc", OIFNAME), *DROP)),
        ),
    )
