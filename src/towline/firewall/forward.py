"""What may be forwarded between networks, the host's interfaces and the world; what internal networks may reach here.

A packet that is admitted gets our mark bit, so that a foreign chain at the same hook can recognise it (`foreign`).
"""

from __future__ import annotations

from towline.firewall.builders import (
    ACCEPT,
    CT_STATE,
    CT_STATUS,
    DNAT,
    DROP,
    ESTABLISHED_OR_RELATED,
    FIB_DADDR_TYPE_HERE,
    IIFNAME,
    IP6_DADDR,
    IP_FAMILIES,
    IPV6,
    L4PROTO,
    LOOPBACK6,
    MARK,
    OIFNAME,
    RESET,
    TH_DPORT,
    UNICAST,
    UNREACHABLE_PORT,
    IpFamily,
    any_bit,
    equal,
    goto,
    host32,
    jump,
    load,
    mapped,
    member,
    no_bit,
    not_member,
)
from towline.firewall.names import ADMITTED, FILTER
from towline.model.ruleset import Bitwise, Chain, Hook, Meta, Rule

_INPUT, _FORWARD, _OUTPUT = 1, 2, 3
_UDP = bytes((17,))
_SECURE = member("secure_ports", TH_DPORT)
_DECRYPTED = (*IPV6.match, *member("secure_links", IIFNAME))
"""What other nodes send by WireGuard, unseen by the operator's rules for the uplink: only the data path passes."""
_DATA_PATH = (*equal(L4PROTO, _UDP), *member("vxlan_ports", TH_DPORT))
"""Encapsulated packets; the set is empty while the node is in no cluster."""


def chains() -> tuple[Chain, ...]:
    inbound = (_input(), _from_vtep(), _from_secure(), _loopback6())
    return (_forward(), _inbound(), _direct(), _to_vtep(), _admit(), *inbound, _secure_output())


def _forward() -> Chain:
    """What leaves a network that may not is an internal one's. One lookup for both: answers of published ports and
    all that goes to the world come this way."""
    leaving = [(*family.match, *member(f"leave{family.suffix}", IIFNAME), goto("admit")) for family in IP_FAMILIES]
    return Chain(
        "forward",
        Hook("filter", _FORWARD, FILTER),
        (
            Rule("the operator's rules", (jump("user"),)),
            Rule("to a network", (*member("bridges", OIFNAME), goto("inbound"))),
            Rule("to a data path", (*_DATA_PATH, jump("to_vtep"))),
            *(Rule("to the world", match) for match in leaving),
            Rule("out of an internal network", (*member("bridges", IIFNAME), *DROP)),
            Rule("through this host by another node's encryption", (*_DECRYPTED, *DROP)),
        ),
    )


def _inbound() -> Chain:
    admit = goto("admit")
    return Chain(
        "inbound",
        rules=(
            Rule("established", (*any_bit(CT_STATE, ESTABLISHED_OR_RELATED), admit)),
            Rule("between endpoints", (*member("icc", IIFNAME, OIFNAME), admit)),
            Rule("between endpoints, refused", (*member("self", IIFNAME, OIFNAME), *no_bit(CT_STATUS, DNAT), *DROP)),
            *(rule for family in IP_FAMILIES for rule in _internal(family)),
            Rule("published", (*any_bit(CT_STATUS, DNAT), admit)),
            *(rule for family in IP_FAMILIES for rule in _modes(family)),
            Rule("trusted interface", (*member("trusted", IIFNAME, OIFNAME), jump("direct"))),
            Rule("not published", DROP),
        ),
    )


def _internal(family: IpFamily) -> tuple[Rule, ...]:
    name = f"internal{family.suffix}"
    return (
        Rule("out of an internal network", (*family.match, *member(name, IIFNAME), *DROP)),
        Rule("into an internal network", (*family.match, *member(name, OIFNAME), *DROP)),
    )


def _modes(family: IpFamily) -> tuple[Rule, ...]:
    routed = (*family.match, *member(f"routed{family.suffix}", OIFNAME))
    return (
        Rule("unprotected", (*family.match, *member(f"open{family.suffix}", OIFNAME), goto("admit"))),
        Rule("routed, ICMP", (*routed, *equal(L4PROTO, bytes((family.icmp,))), goto("admit"))),
        Rule("routed", (*routed, jump("direct"))),
    )


def _direct() -> Chain:
    """Published ports, addressed at the container itself."""
    rules = [
        Rule(
            "published container port",
            (*f.match, *member(f"allow{f.suffix}", OIFNAME, L4PROTO, f.daddr, TH_DPORT), goto("admit")),
        )
        for f in IP_FAMILIES
    ]
    return Chain("direct", rules=tuple(rules))


def _to_vtep() -> Chain:
    """Behind this host's address a packet from a network would be taken for this node's own."""
    rules = []
    for f in IP_FAMILIES:
        match = (*f.match, *member(f"vteps{f.suffix}", f.daddr), *member("bridges", IIFNAME))
        rules.append(Rule("forged encapsulation", (*match, *DROP)))
    rules.append(Rule("into another's encryption", (*member("secure_links", OIFNAME), *DROP)))
    return Chain("to_vtep", rules=tuple(rules))


def _from_vtep() -> Chain:
    """Nodes come first: this is every packet of every overlay network. Networks cannot have their addresses: their
    ports are guarded."""
    nodes = [Rule("a node", (*f.match, *member(f"vteps{f.suffix}", f.saddr), ACCEPT)) for f in IP_FAMILIES]
    secure = Rule("encrypted", (*_SECURE, goto("from_secure")))
    return Chain("from_vtep", rules=(secure, *nodes, Rule("not a node", DROP)))


def _from_secure() -> Chain:
    """What a node's key has encrypted; WireGuard has checked its source address."""
    decrypted = Rule("decrypted", (*member("secure_links", IIFNAME), ACCEPT))
    return Chain("from_secure", rules=(decrypted, Rule("in the clear", DROP)))


def _secure_output() -> Chain:
    """Whatever the routes say: packets of encrypted networks leave by WireGuard, or not at all."""
    clear = (*equal(L4PROTO, _UDP), *_SECURE, *not_member("secure_links", OIFNAME), *DROP)
    return Chain("secure_output", Hook("filter", _OUTPUT, FILTER), (Rule("in the clear", clear),))


def _admit() -> Chain:
    keep = host32(0xFFFFFFFF ^ ADMITTED)
    mark = (*load(MARK), Bitwise(keep, host32(ADMITTED)), Meta(3, write=True), ACCEPT)
    return Chain("admit", rules=(Rule("admitted", mark),))


def _input() -> Chain:
    rules = [rule for family in IP_FAMILIES for rule in _to_this_host(family)]
    tunnel = Rule("data path", (*_DATA_PATH, jump("from_vtep")))
    other = Rule("from another node's encryption, no data path", (*_DECRYPTED, *DROP))
    home = Rule("the IPv6 loopback", (*IPV6.match, *equal(IP6_DADDR, LOOPBACK6), jump("loopback6")))
    return Chain("input", Hook("filter", _INPUT, FILTER), (tunnel, other, *rules, home))


def _loopback6() -> Chain:
    """A published port is refused at once on ::1, so that clients go on to 127.0.0.1 ("localhost" is both)."""
    published = (
        mapped("dnat6", IP6_DADDR, L4PROTO, TH_DPORT),
        mapped("dnat6_any", L4PROTO, TH_DPORT),
    )
    rules: list[Rule] = []
    for match in published:
        rules.append(Rule("published, TCP", (*equal(L4PROTO, bytes((6,))), *match, RESET)))
        rules.append(Rule("published", (*match, UNREACHABLE_PORT)))
    return Chain("loopback6", rules=tuple(rules))


def _to_this_host(family: IpFamily) -> tuple[Rule, ...]:
    """Linux answers on every interface for all its addresses; an internal network reaches only those of its bridge."""
    elsewhere = equal(FIB_DADDR_TYPE_HERE, host32(UNICAST))
    return (
        Rule("address family is off", (*family.match, *member(f"off{family.suffix}", IIFNAME), *DROP)),
        Rule(
            "from an internal network to another address of this host",
            (*family.match, *member(f"internal{family.suffix}", IIFNAME), *elsewhere, *DROP),
        ),
    )
