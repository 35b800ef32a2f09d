"""The table that leads port 53 of 127.0.0.11 to the ports our sockets have, so that a server in the sandbox may own 53.

Rule names carry the ports: a restarted daemon reads them back and takes the same ports again.

The port is written into the packets, without NAT: one NAT chain would make the kernel track every connection of the
sandbox, which costs each of its packets more than our rules on the host do. Where the sandbox has rules of its own that
track connections, a question and its answer are one connection, to our port: questions change before conntrack sees
them, answers after it has.
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
    Payload,
    PayloadWrite,
    Rule,
    Table,
    TableId,
    TableState,
)

TABLE = TableId("ip", "towline-dns")

_ADDRESS = ip_address(RESOLVER).packed
_DOMAIN = (53).to_bytes(2, "big")
_OUTPUT, _BEFORE_CONNTRACK, _AFTER_CONNTRACK = 3, -300, -100
_ICMP, _UNREACHABLE = 1, bytes((3,))
_TARGET_OF_REFUSED = 8 + 20 + 2
"""Behind the ICMP header and the refused packet's IP header: where its UDP header has the port it was sent to."""


class _Protocol(NamedTuple):
    """checksum: its offset in the header."""

    name: str
    number: int
    checksum: int


_PROTOCOLS = (_Protocol("udp", 17, 6), _Protocol("tcp", 6, 16))
_NAME = re.compile(r"(udp|tcp) to port ([0-9]{1,5})")


class Ports(NamedTuple):
    udp: int
    tcp: int


def redirect(ports: Ports) -> Table:
    """Questions to our ports, answers and refusals back from port 53."""
    pairs = list(zip(_PROTOCOLS, ports, strict=True))
    there = tuple(_to_server(protocol, port) for protocol, port in pairs)
    back = tuple(_from_server(protocol, port) for protocol, port in pairs)
    chains = (
        Chain("questions", Hook("filter", _OUTPUT, _BEFORE_CONNTRACK), there),
        Chain("answers", Hook("filter", _OUTPUT, _AFTER_CONNTRACK), (*back, _refused(ports.udp))),
    )
    return Table(TABLE, (), chains)


def ports_of(state: TableState | None) -> Ports | None:
    """The ports that a table in the kernel leads to; None if it is absent or not exactly ours."""
    if state is None:
        return None
    matches = [_NAME.fullmatch(name) for name in state.chains.get("questions", ())]
    found = {match[1]: int(match[2]) for match in matches if match is not None}
    if found.keys() != {"udp", "tcp"} or not all(0 < port < 65536 for port in found.values()):
        return None
    ports = Ports(found["udp"], found["tcp"])
    expected = {chain.name: tuple(rule.name for rule in chain.rules) for chain in redirect(ports).chains}
    return ports if state.chains == expected else None


def _to_server(protocol: _Protocol, port: int) -> Rule:
    match = (*_address_is(16), *_protocol_is(protocol.number), *_port_is(2, _DOMAIN))
    return Rule(f"{protocol.name} to port {port}", (*match, Counter(), *_write(2, _port(port), protocol.checksum)))


def _from_server(protocol: _Protocol, port: int) -> Rule:
    match = (*_address_is(12), *_protocol_is(protocol.number), *_port_is(0, _port(port)))
    return Rule(f"{protocol.name} from port {port}", (*match, Counter(), *_write(0, _DOMAIN, protocol.checksum)))


def _refused(port: int) -> Rule:
    """Where nobody listens (the daemon is away) the kernel says so; the client must see that it means its question."""
    unreachable = (*_protocol_is(_ICMP), Payload(2, 0, 1), Cmp(0, _UNREACHABLE))
    match = (*_address_is(12), *unreachable, *_port_is(_TARGET_OF_REFUSED, _port(port)))
    return Rule(f"udp refused at port {port}", (*match, Counter(), *_write(_TARGET_OF_REFUSED, _DOMAIN, 2)))


def _address_is(offset: int) -> tuple[Expr, ...]:
    return (Payload(1, offset, 4), Cmp(0, _ADDRESS))


def _protocol_is(number: int) -> tuple[Expr, ...]:
    return (Meta(16), Cmp(0, bytes((number,))))


def _port_is(offset: int, port: bytes) -> tuple[Expr, ...]:
    return (Payload(2, offset, 2), Cmp(0, port))


def _write(offset: int, port: bytes, checksum: int) -> tuple[Expr, ...]:
    return (Immediate(port), PayloadWrite(2, offset, 2, checksum))


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")
