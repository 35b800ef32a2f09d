"""Small words from which rules are written: fields of a packet, matches, verdicts.

Numbers: include/uapi/linux/netfilter/nf_tables.h, nf_conntrack_common.h; header offsets of the protocols' RFCs.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import msgspec

from towline.model.ruleset import Bitwise, Cmp, Counter, Ct, Expr, Fib, Lookup, Meta, Payload, Reject, Verdict

Exprs = tuple[Expr, ...]


class Field(NamedTuple):
    """What can be loaded into registers, and its length in bytes."""

    load: Meta | Payload | Ct | Fib
    length: int


IIF = Field(Meta(4), 4)
IIFNAME, OIFNAME = Field(Meta(6), 16), Field(Meta(7), 16)
MARK, NFPROTO, L4PROTO = Field(Meta(3), 4), Field(Meta(15), 1), Field(Meta(16), 1)
CT_STATE, CT_STATUS = Field(Ct(0), 4), Field(Ct(2), 4)
ETHER_SADDR, ETHER_TYPE = Field(Payload(0, 6, 6), 6), Field(Payload(0, 12, 2), 2)
ARP_SENDER_MAC, ARP_SENDER_IP = Field(Payload(1, 8, 6), 6), Field(Payload(1, 14, 4), 4)
IP_SADDR, IP_DADDR = Field(Payload(1, 12, 4), 4), Field(Payload(1, 16, 4), 4)
IP_SADDR_NET8, IP_DADDR_NET8 = Field(Payload(1, 12, 1), 1), Field(Payload(1, 16, 1), 1)
IP6_SADDR, IP6_DADDR = Field(Payload(1, 8, 16), 16), Field(Payload(1, 24, 16), 16)
TH_DPORT = Field(Payload(2, 2, 2), 2)
ICMP6_TYPE = Field(Payload(2, 0, 1), 1)
ND_TARGET = (Field(Payload(2, 8, 8), 8), Field(Payload(2, 16, 8), 8))
"""In two halves: as a whole, some versions of `nft` print a name for it that others cannot read back."""

FIB_SADDR_TYPE, FIB_DADDR_TYPE = Field(Fib(3, 1), 4), Field(Fib(3, 2), 4)
FIB_DADDR_TYPE_HERE = Field(Fib(3, 2 | 8), 4)
"""As the interface sees it that the packet came in by: another interface's address is `unicast`, not `local`."""

UNICAST, LOCAL = 1, 2
LOOPBACK6 = bytes(15) + b"\1"
ESTABLISHED_OR_RELATED = 2 | 4
DNAT = 1 << 5

ACCEPT = Verdict(1)
DROP: Exprs = (Counter(), Verdict(0))
RESET, UNREACHABLE_PORT = Reject(1), Reject(2, 1)


def goto(chain: str) -> Verdict:
    return Verdict(-4, chain)


def jump(chain: str) -> Verdict:
    return Verdict(-3, chain)


def host32(number: int) -> bytes:
    """A 32-bit meta, ct or fib value in host order."""
    return number.to_bytes(4, sys.byteorder)


def load(*fields: Field) -> Exprs:
    """The fields one after the other from register 8, each from a register of its own, as a concatenation wants it."""
    exprs: list[Expr] = []
    reg = 8
    for field in fields:
        exprs.append(msgspec.structs.replace(field.load, reg=reg))
        reg += field.length + 3 >> 2
    return tuple(exprs)


def member(name: str, *fields: Field) -> Exprs:
    """The fields' concatenation is in the set."""
    return (*load(*fields), Lookup(name))


def not_member(name: str, *fields: Field) -> Exprs:
    return (*load(*fields), Lookup(name, invert=True))


def mapped(name: str, *fields: Field) -> Exprs:
    """The fields are a key of the map, whose data is now in register 8 and following."""
    return (*load(*fields), Lookup(name, dreg=8))


def equal(field: Field, data: bytes) -> Exprs:
    return (*load(field), Cmp(0, data))


def unequal(field: Field, data: bytes) -> Exprs:
    return (*load(field), Cmp(1, data))


def any_bit(field: Field, bits: int) -> Exprs:
    """At least one of the bits of a 32-bit host-order field is set."""
    return (*load(field), Bitwise(host32(bits), bytes(4)), Cmp(1, bytes(4)))


def no_bit(field: Field, bits: int) -> Exprs:
    """None of the bits of a 32-bit host-order field is set."""
    return (*load(field), Bitwise(host32(bits), bytes(4)), Cmp(0, bytes(4)))


class IpFamily(NamedTuple):
    """What differs between IPv4 and IPv6. suffix: of our sets' names; number: NFPROTO_*."""

    suffix: str
    number: int
    address_type: str
    address_length: int
    icmp: int
    saddr: Field
    daddr: Field

    @property
    def match(self) -> Exprs:
        return equal(NFPROTO, bytes((self.number,)))


IPV4 = IpFamily("4", 2, "ipv4_addr", 4, 1, IP_SADDR, IP_DADDR)
IPV6 = IpFamily("6", 10, "ipv6_addr", 16, 58, IP6_SADDR, IP6_DADDR)
IP_FAMILIES = (IPV4, IPV6)
