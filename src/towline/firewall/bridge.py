"""Inside a bridge, where IP rules do not look: no talk between endpoints (icc=false), anti-spoofing.

By port, not by bridge: `meta ibrname` needs a kernel option that not every kernel has (NFT_BRIDGE_META).
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
    equal,
    goto,
    member,
    not_member,
)
from towline.firewall.names import BRIDGE_FILTER
from towline.model.ruleset import Chain, Hook, Rule

_PREROUTING, _FORWARD = 0, 2
_IP, _ARP, _IP6 = (equal(ETHER_TYPE, number.to_bytes(2, "big")) for number in (0x0800, 0x0806, 0x86DD))
_ROUTER_ADVERT, _NEIGHBOUR_SOLICIT, _NEIGHBOUR_ADVERT, _REDIRECT = 134, 135, 136, 137


def chains() -> tuple[Chain, ...]:
    return (_prerouting(), _guard(), _guard_arp(), _guard_ip6(), _forward())


def _prerouting() -> Chain:
    return Chain(
        "prerouting",
        Hook("filter", _PREROUTING, BRIDGE_FILTER),
        (Rule("guarded port", (*member("guarded", IIFNAME), goto("guard"))),),
    )


def _guard() -> Chain:
    return Chain(
        "guard",
        rules=(
            Rule("forged MAC", (*not_member("port_mac", IIFNAME, ETHER_SADDR), *DROP)),
            Rule("ARP", (*_ARP, goto("guard_arp"))),
            Rule("own IPv4 address", (*_IP, *member("port_ip4", IIFNAME, IP_SADDR), ACCEPT)),
            Rule("IPv6", (*_IP6, goto("guard_ip6"))),
            Rule("forged IPv4 address, or another protocol", DROP),
        ),
    )


def _guard_arp() -> Chain:
    return Chain(
        "guard_arp",
        rules=(
            Rule("forged ARP sender MAC", (*_ARP, *not_member("port_mac", IIFNAME, ARP_SENDER_MAC), *DROP)),
            Rule("own ARP sender", (*_ARP, *member("port_ip4", IIFNAME, ARP_SENDER_IP), ACCEPT)),
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
            Rule("own IPv6 address", (*_IP6, *member("port_ip6", IIFNAME, IP6_SADDR), ACCEPT)),
            Rule(
                "duplicate address detection",
                (*unspecified, *_icmp6(_NEIGHBOUR_SOLICIT), *own_target, ACCEPT),
            ),
            Rule("forged IPv6 address", DROP),
        ),
    )


def _icmp6(kind: int) -> Exprs:
    return (*equal(L4PROTO, bytes((58,))), *equal(ICMP6_TYPE, bytes((kind,))))


def _forward() -> Chain:
    return Chain(
        "forward",
        Hook("filter", _FORWARD, BRIDGE_FILTER),
        (
            Rule("between endpoints, refused", (*member("noicc", IIFNAME), *DROP)),
            Rule("between endpoints, refused", (*member("noicc", OIFNAME), *DROP)),
        ),
    )
