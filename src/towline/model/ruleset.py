"""nftables as typed values: a static table of chains, rules, sets and maps, and the elements that change.

Expressions mirror the kernel's nf_tables expressions one to one (net/netfilter/nft_*.c), so that encoding them
decides nothing. Registers are NFT_REG32_00.. (8..23), four bytes each. Keys and data are the bytes as the kernel
compares them: big endian for packet fields and addresses, host endian for meta fields such as l4proto's neighbours
mark and iif; interface names are 16 bytes, NUL padded; every part of a concatenation is padded to four bytes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Family = Literal["inet", "ip", "ip6", "bridge", "arp", "netdev"]


class TableId(NamedTuple):
    family: Family
    name: str


class Meta(msgspec.Struct, frozen=True, tag=True):
    """Load a meta field (NFT_META_*) into a register, or with `write` store the register into it."""

    key: int
    reg: int = 8
    write: bool = False


class Payload(msgspec.Struct, frozen=True, tag=True):
    """base: 0 link layer, 1 network, 2 transport header. offset and length in bytes."""

    base: int
    offset: int
    length: int
    reg: int = 8


class PayloadWrite(msgspec.Struct, frozen=True, tag=True):
    """Write a register into the packet. checksum: offset in the same header of the Internet checksum to correct, None
    where there is none (the link layer)."""

    base: int
    offset: int
    length: int
    checksum: int | None
    reg: int = 8


class Cmp(msgspec.Struct, frozen=True, tag=True):
    """op: 0 ==, 1 !=, 2 <, 3 <=, 4 >, 5 >=."""

    op: int
    data: bytes
    reg: int = 8


class Bitwise(msgspec.Struct, frozen=True, tag=True):
    """dst = (src & mask) ^ xor."""

    mask: bytes
    xor: bytes
    src: int = 8
    dst: int = 8


class Ct(msgspec.Struct, frozen=True, tag=True):
    """Load a conntrack field (NFT_CT_*), or with `write` store the register into it. direction: 0 original, 1 reply,
    None where it does not apply."""

    key: int
    reg: int = 8
    direction: int | None = None
    write: bool = False


class Random(msgspec.Struct, frozen=True, tag=True):
    """A random number from 0 to modulus - 1, 32 bits in host order, into a register (nft_numgen)."""

    modulus: int
    reg: int = 8


class LowerTcpOption(msgspec.Struct, frozen=True, tag=True):
    """Write a register into an option of a TCP header that has it (nft_exthdr). The maximum segment size (option 2,
    offset 2, length 2) is lowered only, never raised. length: of the whole field, bytes."""

    option: int
    offset: int
    length: int
    reg: int = 8


class Fib(msgspec.Struct, frozen=True, tag=True):
    """Routing lookup (nft_fib). result: NFT_FIB_RESULT_*, flags: NFTA_FIB_F_*."""

    result: int
    flags: int
    reg: int = 8


class Lookup(msgspec.Struct, frozen=True, tag=True):
    """Match (or with `invert` not match) the key at `reg` in a set; with dreg, load the mapped data there."""

    set: str
    reg: int = 8
    dreg: int | None = None
    invert: bool = False


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """code: NF_ACCEPT 1, NF_DROP 0, NFT_CONTINUE -1, NFT_RETURN -5, NFT_JUMP -3, NFT_GOTO -4 (with chain)."""

    code: int
    chain: str = ""


class Immediate(msgspec.Struct, frozen=True, tag=True):
    """Load constant data into a register."""

    data: bytes
    reg: int = 8


class Nat(msgspec.Struct, frozen=True, tag=True):
    """kind: 0 snat, 1 dnat. family: 2 IPv4, 10 IPv6. Registers of address and port; None = leave as it is."""

    kind: int
    family: int
    addr: int | None = None
    port: int | None = None
    flags: int = 0


class Masquerade(msgspec.Struct, frozen=True, tag=True):
    flags: int = 0


class Reject(msgspec.Struct, frozen=True, tag=True):
    """Answer with a refusal. kind: NFT_REJECT_*, 1 a TCP reset, 2 an ICMP error; code: of that, NFT_REJECT_ICMPX_*."""

    kind: int
    code: int = 0


class Counter(msgspec.Struct, frozen=True, tag=True):
    """Packet and byte counter. Values are not part of the intent."""


class Match(msgspec.Struct, frozen=True, tag=True):
    """An iptables match in its compat form (nft_compat), for the one rule we put where iptables must still read it."""

    name: str
    revision: int
    info: bytes


Expr = (
    Meta
    | Payload
    | PayloadWrite
    | Cmp
    | Bitwise
    | Ct
    | Random
    | LowerTcpOption
    | Fib
    | Lookup
    | Verdict
    | Immediate
    | Nat
    | Masquerade
    | Reject
    | Counter
    | Match
)


class Rule(msgspec.Struct, frozen=True):
    """name: what the rule is for; stored in the rule's comment, by which we recognise it."""

    name: str
    exprs: tuple[Expr, ...]


HookType = Literal["filter", "nat", "route"]
Policy = Literal["accept", "drop"]


class Hook(msgspec.Struct, frozen=True):
    """type: filter, nat or route. hook: NF_INET_*, NF_BR_* or NF_NETDEV_* number. priority as in nft(8). policy: accept
    or drop. device: name of the interface, of a chain of family netdev; the chain goes when that goes."""

    type: HookType
    hook: int
    priority: int
    policy: Policy = "accept"
    device: str = ""


class Chain(msgspec.Struct, frozen=True):
    """ours=False: we create the chain empty and never touch its rules afterwards (the operator's `user` chain)."""

    name: str
    hook: Hook | None = None
    rules: tuple[Rule, ...] = ()
    ours: bool = True


class Set(msgspec.Struct, frozen=True):
    """A set, or a map when data_type is given.

    key_types and data_types: nft(8) datatype names in order ("ifname", "ipv4_addr", "inet_service", ...); more than
    one is a concatenation. Their numbers go into the set's userdata so that `nft list` prints it well.
    """

    name: str
    key_types: tuple[str, ...]
    data_types: tuple[str, ...] = ()
    comment: str = ""


class Table(msgspec.Struct, frozen=True):
    id: TableId
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]


class Element(NamedTuple):
    """One member of a set, or one key -> data pair of a map."""

    table: TableId
    set: str
    key: bytes
    data: bytes = b""


class SetDefinition(NamedTuple):
    """What a set's members look like, in the kernel's numbers (NFTA_SET_*); lengths in bytes, data 0 for plain sets."""

    flags: int
    key_type: int
    key_length: int
    data_type: int
    data_length: int


class TableState(msgspec.Struct, frozen=True):
    """A table as the kernel has it.

    chains: chain name -> names of its rules in order (a rule that does not carry our comment is "").
    sets: set name -> {key: data}. Chains and sets that an operator added to our table are left out.
    hooks: chain name -> where it is hooked in, or None. definitions: of the sets. dormant: no chain of it is hooked in.
    """

    id: TableId
    chains: dict[str, tuple[str, ...]]
    sets: dict[str, dict[bytes, bytes]]
    hooks: dict[str, Hook | None] = {}
    definitions: dict[str, SetDefinition] = {}
    dormant: bool = False


class AddTable(msgspec.Struct, frozen=True):
    """Make the table with its chains, rules and sets, replacing one of the same name; chains that are not `ours` keep
    the rules they have (they are the operator's)."""

    table: Table


class DeleteTable(msgspec.Struct, frozen=True):
    """Remove a table and all in it; no error if it is absent."""

    id: TableId


class ForeignChain(msgspec.Struct, frozen=True):
    """A base chain of somebody else's table. rules: (handle, name) in order; the name is "" unless the rule is ours."""

    table: TableId
    chain: str
    hook: int
    priority: int
    policy: str
    rules: tuple[tuple[int, str], ...]


class InsertForeign(msgspec.Struct, frozen=True):
    """Put one rule of ours first in a foreign chain."""

    table: TableId
    chain: str
    rule: Rule


class DeleteForeign(msgspec.Struct, frozen=True):
    table: TableId
    chain: str
    handle: int


class AddElements(msgspec.Struct, frozen=True):
    """Adding an element that exists with the same data is no error."""

    elements: tuple[Element, ...]


class DeleteElements(msgspec.Struct, frozen=True):
    """ENOENT if one is absent: the transaction fails whole. Callers that do not know read first."""

    elements: tuple[Element, ...]


NftChange = AddTable | DeleteTable | AddElements | DeleteElements | InsertForeign | DeleteForeign
