"""Address translation: published ports in, masquerade or a fixed source address out; and the loopback's protection."""

from __future__ import annotations

from towline.firewall.builders import (
    ACCEPT,
    CT_STATUS,
    DNAT,
    DROP,
    FIB_DADDR_TYPE,
    FIB_SADDR_TYPE,
    IIF,
    IIFNAME,
    IP6_DADDR,
    IP_DADDR_NET8,
    IP_FAMILIES,
    IP_SADDR_NET8,
    IPV4,
    IPV6,
    L4PROTO,
    LOCAL,
    LOOPBACK6,
    OIFNAME,
    TH_DPORT,
    UNICAST,
    IpFamily,
    any_bit,
    equal,
    host32,
    jump,
    mapped,
    member,
    not_member,
    unequal,
)
from towline.firewall.keys import ifname
from towline.firewall.names import DSTNAT, RAW, SRCNAT
from towline.model.ruleset import Chain, Hook, Masquerade, Nat, Rule

_PREROUTING, _OUTPUT, _POSTROUTING = 0, 3, 4
_SNAT, _DNAT = 0, 1
_NO_INTERFACE = bytes(4)
_LOOPBACK_NET = bytes((127,))


def chains() -> tuple[Chain, ...]:
    return (_raw(), _prerouting(), _output(), _published(), _postrouting())


def _raw() -> Chain:
    """Before DNAT, which would turn a forged packet for 127.0.0.1 into one for a port published there.

    ::1 from the wire is dropped by the kernel before any hook (net/ipv6/ip6_input.c). Every packet comes here, so what
    is cheap to compare comes first.
    """
    wire = unequal(IIFNAME, ifname("lo"))
    return Chain(
        "raw",
        Hook("filter", _PREROUTING, RAW),
        (
            Rule("loopback from the wire", (*IPV4.match, *equal(IP_DADDR_NET8, _LOOPBACK_NET), *wire, *DROP)),
            Rule("loopback from the wire", (*IPV4.match, *equal(IP_SADDR_NET8, _LOOPBACK_NET), *wire, *DROP)),
        ),
    )


def _prerouting() -> Chain:
    return Chain("prerouting", Hook("nat", _PREROUTING, DSTNAT), (_to_this_host(),))


def _output() -> Chain:
    """What comes from ::1 cannot reach a network: there is no `route_localnet` for IPv6. `loopback6` answers it."""
    stay = (*IPV6.match, *equal(IP6_DADDR, LOOPBACK6), ACCEPT)
    return Chain("output", Hook("nat", _OUTPUT, DSTNAT), (Rule("the IPv6 loopback stays here", stay), _to_this_host()))


def _to_this_host() -> Rule:
    return Rule("to this host", (*equal(FIB_DADDR_TYPE, host32(LOCAL)), jump("published")))


def _published() -> Chain:
    return Chain("published", rules=tuple(rule for family in IP_FAMILIES for rule in _dnat(family)))


def _dnat(family: IpFamily) -> tuple[Rule, ...]:
    target = Nat(_DNAT, family.number, addr=8, port=8 + family.address_length // 4)
    one = mapped(f"dnat{family.suffix}", family.daddr, L4PROTO, TH_DPORT)
    every = mapped(f"dnat{family.suffix}_any", L4PROTO, TH_DPORT)
    return (
        Rule("published on one address", (*family.match, *one, target)),
        Rule("published on all addresses", (*family.match, *every, target)),
    )


def _postrouting() -> Chain:
    """With br_netfilter a hairpin packet stays in the bridge; it comes here without an incoming interface, as the
    host's own packets do, which its source address sets it apart from."""
    dnat = any_bit(CT_STATUS, DNAT)
    return Chain(
        "postrouting",
        Hook("nat", _POSTROUTING, SRCNAT),
        (
            Rule("hairpin", (*member("self", IIFNAME, OIFNAME), *dnat, Masquerade())),
            Rule(
                "hairpin, bridged",
                (
                    *equal(IIF, _NO_INTERFACE),
                    *member("bridges", OIFNAME),
                    *dnat,
                    *equal(FIB_SADDR_TYPE, host32(UNICAST)),
                    Masquerade(),
                ),
            ),
            Rule(
                "published, from the loopback",
                (*IPV4.match, *member("bridges", OIFNAME), *equal(IP_SADDR_NET8, _LOOPBACK_NET), *dnat, Masquerade()),
            ),
            *(_to_mesh(family) for family in IP_FAMILIES),
            *(rule for family in IP_FAMILIES for rule in _source(family)),
        ),
    )


def _to_mesh(family: IpFamily) -> Rule:
    """Other hosts have networks with the same addresses, and members on them."""
    match = (*family.match, *member(f"meshes{family.suffix}", family.daddr), *member("bridges", IIFNAME))
    return Rule("from a network of this host to the mesh", (*match, Masquerade()))


def _source(family: IpFamily) -> tuple[Rule, ...]:
    leaving = (*family.match, *not_member("bridges", OIFNAME))
    fixed = mapped(f"snat{family.suffix}", IIFNAME)
    return (
        Rule("fixed source", (*leaving, *fixed, Nat(_SNAT, family.number, addr=8))),
        Rule("masquerade", (*leaving, *member(f"masq{family.suffix}", IIFNAME), Masquerade())),
    )
