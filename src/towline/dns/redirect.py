"""The table that leads port 53 of 127.0.0.11 to the ports our sockets have, so that a server in the sandbox may own 53.

Rule names carry the ports: a restarted daemon reads them back and takes the same ports again.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from towline.dns.config import RESOLVER
from towline.model.ruleset import (
    Chain,
    Cmp,
    Counter,
    Expr,
    Hook,
    Immediate,
    Meta,
    Nat,
    Payload,
    Rule,
    Table,
    TableId,
    TableState,
)

TABLE = TableId("ip", "towline-dns")

_ADDRESS = ip_address(RESOLVER).packed
_DOMAIN = (53).to_bytes(2, "big")
_OUTPUT, _POSTROUTING, _DSTNAT, _SRCNAT = 3, 4, -100, 100
_IPV4, _SNAT, _DNAT = 2, 0, 1
_PROTOCOLS = (("udp", 17), ("tcp", 6))
_NAME = re.compile(r"(udp|tcp) to port ([0-9]{1,5})")


class Ports(NamedTuple):
    udp: int
    tcp: int


def redirect(ports: Ports) -> Table:
    """DNAT of queries, and SNAT of an answer whose connection is forgotten, so that it still comes from port 53."""
    pairs = list(zip(_PROTOCOLS, ports, strict=True))
    there = tuple(_to_server(name, number, port) for (name, number), port in pairs)
    back = tuple(_from_server(name, number, port) for (name, number), port in pairs)
    chains = (
        Chain("output", Hook("nat", _OUTPUT, _DSTNAT), there),
        Chain("postrouting", Hook("nat", _POSTROUTING, _SRCNAT), back),
    )
    return Table(TABLE, (), chains)


def ports_of(state: TableState | None) -> Ports | None:
    """The ports that a table in the kernel leads to; None if it is absent or not exactly ours."""
    if state is None:
        return None
    matches = [_NAME.fullmatch(name) for name in state.chains.get("output", ())]
    found = {match[1]: int(match[2]) for match in matches if match is not None}
    if found.keys() != {"udp", "tcp"} or not all(0 < port < 65536 for port in found.values()):
        return None
    ports = Ports(found["udp"], found["tcp"])
    expected = {chain.name: tuple(rule.name for rule in chain.rules) for chain in redirect(ports).chains}
    return ports if state.chains == expected else None


def _to_server(name: str, number: int, port: int) -> Rule:
    match = (*_address_is(16), *_protocol_is(number), *_port_is(2, _DOMAIN))
    target = (Immediate(_ADDRESS, 8), Immediate(_port(port), 9), Nat(_DNAT, _IPV4, addr=8, port=9))
    return Rule(f"{name} to port {port}", (*match, Counter(), *target))


def _from_server(name: str, number: int, port: int) -> Rule:
    match = (*_address_is(12), *_protocol_is(number), *_port_is(0, _port(port)))
    return Rule(f"{name} from port {port}", (*match, Counter(), Immediate(_DOMAIN, 8), Nat(_SNAT, _IPV4, port=8)))


def _address_is(offset: int) -> tuple[Expr, ...]:
    return (Payload(1, offset, 4), Cmp(0, _ADDRESS))


def _protocol_is(number: int) -> tuple[Expr, ...]:
    return (Meta(16), Cmp(0, bytes((number,))))


def _port_is(offset: int, port: bytes) -> tuple[Expr, ...]:
    return (Payload(2, offset, 2), Cmp(0, port))


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")
