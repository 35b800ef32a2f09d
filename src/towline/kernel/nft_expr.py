"""Rule expressions as nf_tables attributes. Numbers on the wire are big endian; constants are bytes already.

Source: include/uapi/linux/netfilter/nf_tables.h; each encoder names its attributes NFTA_<EXPRESSION>_*.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from towline.kernel.netlink import attr, nest
from towline.model.ruleset import (
    Bitwise,
    Cmp,
    Counter,
    Ct,
    Expr,
    Fib,
    Immediate,
    Lookup,
    LowerTcpOption,
    Masquerade,
    Match,
    Meta,
    Nat,
    Payload,
    PayloadWrite,
    Random,
    Reject,
    Verdict,
)

_BE32 = struct.Struct(">I")
_LIST_ELEM = 1
_EXPR_NAME, _EXPR_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_REGISTER = 0
_CSUM_INET = 1
_NUMGEN_RANDOM = 1
_EXTHDR_TCPOPT = 1


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute, big endian; negative values in two's complement."""
    return attr(kind, _BE32.pack(value & 0xFFFFFFFF))


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def value(kind: int, data: bytes) -> bytes:
    return nest(kind, attr(_DATA_VALUE, data))


def expressions(exprs: tuple[Expr, ...]) -> bytes:
    """The children of NFTA_RULE_EXPRESSIONS."""
    return b"".join([_expression(expr) for expr in exprs])


def _expression(expr: Expr) -> bytes:
    name, encode = _ENCODERS[type(expr)]
    return nest(_LIST_ELEM, text(_EXPR_NAME, name), nest(_EXPR_DATA, encode(expr)))


def _meta(expr: Meta) -> bytes:
    dreg, key, sreg = 1, 2, 3
    return number(key, expr.key) + number(sreg if expr.write else dreg, expr.reg)


def _payload(expr: Payload) -> bytes:
    return number(1, expr.reg) + number(2, expr.base) + number(3, expr.offset) + number(4, expr.length)


def _payload_write(expr: PayloadWrite) -> bytes:
    field = number(2, expr.base) + number(3, expr.offset) + number(4, expr.length)
    if expr.checksum is None:
        return field + number(5, expr.reg)
    return field + number(5, expr.reg) + number(6, _CSUM_INET) + number(7, expr.checksum)


def _cmp(expr: Cmp) -> bytes:
    return number(1, expr.reg) + number(2, expr.op) + value(3, expr.data)


def _bitwise(expr: Bitwise) -> bytes:
    registers = number(1, expr.src) + number(2, expr.dst) + number(3, len(expr.mask))
    return registers + value(4, expr.mask) + value(5, expr.xor)


def _ct(expr: Ct) -> bytes:
    dreg, key, sreg = 1, 2, 4
    direction = b"" if expr.direction is None else attr(3, bytes((expr.direction,)))
    return number(sreg if expr.write else dreg, expr.reg) + number(key, expr.key) + direction


def _random(expr: Random) -> bytes:
    return number(1, expr.reg) + number(2, expr.modulus) + number(3, _NUMGEN_RANDOM)


def _lower_tcp_option(expr: LowerTcpOption) -> bytes:
    place = attr(2, bytes((expr.option,))) + number(3, expr.offset) + number(4, expr.length)
    return place + number(6, _EXTHDR_TCPOPT) + number(7, expr.reg)


def _fib(expr: Fib) -> bytes:
    return number(1, expr.reg) + number(2, expr.result) + number(3, expr.flags)


def _lookup(expr: Lookup) -> bytes:
    destination = b"" if expr.dreg is None else number(3, expr.dreg)
    return text(1, expr.set) + number(2, expr.reg) + destination + (number(5, 1) if expr.invert else b"")


def _verdict(expr: Verdict) -> bytes:
    verdict = number(1, expr.code) + (text(2, expr.chain) if expr.chain else b"")
    return number(1, _VERDICT_REGISTER) + nest(2, nest(_DATA_VERDICT, verdict))


def _immediate(expr: Immediate) -> bytes:
    return number(1, expr.reg) + value(2, expr.data)


def _nat(expr: Nat) -> bytes:
    registers = b"" if expr.addr is None else number(3, expr.addr)
    registers += b"" if expr.port is None else number(5, expr.port)
    return number(1, expr.kind) + number(2, expr.family) + registers + (number(7, expr.flags) if expr.flags else b"")


def _masquerade(expr: Masquerade) -> bytes:
    return number(1, expr.flags) if expr.flags else b""


def _reject(expr: Reject) -> bytes:
    return number(1, expr.kind) + attr(2, bytes((expr.code,)))


def _counter(_: Counter) -> bytes:
    return attr(1, bytes(8)) + attr(2, bytes(8))


def _match(expr: Match) -> bytes:
    return text(1, expr.name) + number(2, expr.revision) + attr(3, expr.info)


_ENCODERS: dict[type[Expr], tuple[str, Callable[[Any], bytes]]] = {
    Meta: ("meta", _meta),
    Payload: ("payload", _payload),
    PayloadWrite: ("payload", _payload_write),
    Cmp: ("cmp", _cmp),
    Bitwise: ("bitwise", _bitwise),
    Ct: ("ct", _ct),
    Random: ("numgen", _random),
    LowerTcpOption: ("exthdr", _lower_tcp_option),
    Fib: ("fib", _fib),
    Lookup: ("lookup", _lookup),
    Verdict: ("immediate", _verdict),
    Immediate: ("immediate", _immediate),
    Nat: ("nat", _nat),
    Masquerade: ("masq", _masquerade),
    Reject: ("reject", _reject),
    Counter: ("counter", _counter),
    Match: ("match", _match),
}
