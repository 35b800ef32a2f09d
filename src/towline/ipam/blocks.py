"""Which part of a subnet a node gets to hand out addresses of. Pure; docs/design/cluster.md, Addresses."""

from __future__ import annotations

from collections.abc import Sequence

from towline.ipam.prefix import Prefix, parse_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.network import Pool

_SHARE = 4
"""A block is at most 1 / 2**4 of what is still free."""
LARGEST = {False: 24, True: 112}
"""Prefix length of the largest block: of IPv4, of IPv6."""
_KEPT_FREE = 1 << 16
"""The lowest addresses of an IPv6 subnet that blocks are made of last: a block's worth."""


def block_length(subnet: Prefix, given_out: int) -> int:
    """Prefix length of the next block: a sixteenth of what is free, rounded down; at least one address.

    So the first nodes get room for many addresses, and a small subnet still serves many nodes.
    """
    free = max(subnet.size - given_out, 1)
    order = max(free.bit_length() - 1 - _SHARE, 0)
    return max(subnet.bits - order, LARGEST[subnet.v6], subnet.length)


def plan_block(pool: Pool, taken: PrefixSet, given_out: int) -> Prefix | None:
    """The lowest free block of the pool's range that has an address to hand out; smaller ones where only those are
    left; None if there is none. The lowest addresses of a large IPv6 subnet, which people choose, come last."""
    subnet = parse_prefix(pool.subnet)
    within = parse_prefix(pool.ip_range) if pool.ip_range else subnet
    length = max(block_length(subnet, given_out), within.length)
    above = within.start + _KEPT_FREE
    kept_free = within.v6 and not pool.ip_range and above <= within.end
    found = _lowest(pool, within, length, taken, above) if kept_free else None
    return found or _lowest(pool, within, length, taken, within.start)


def _lowest(pool: Pool, within: Prefix, longest: int, taken: PrefixSet, start: int) -> Prefix | None:
    """Not below `start`."""
    reserved = reserved_addresses(pool)
    for length in range(longest, within.bits + 1):
        after = start
        while (block := taken.first_gap(within, length, after)) is not None:
            if block.size > sum(block.start <= address <= block.end for address in reserved):
                return block
            after = block.end + 1
    return None


def plan_block_at(pool: Pool, taken: PrefixSet, address: str) -> Prefix | None:
    """A block of this address alone, or exactly this part of the subnet (CIDR); None if somebody has some of it.
    ValueError if it is not in the subnet. Its neighbours stay free, for whoever asks for those."""
    subnet = parse_prefix(pool.subnet)
    block = parse_prefix(address) if "/" in address else Prefix(*parse_address(address), subnet.bits)
    if block.v6 != subnet.v6 or not subnet.holds(block):
        raise ValueError(f"{address} is not in {subnet}")
    return None if taken.overlaps(block) else block


def reserved_addresses(pool: Pool) -> Sequence[int]:
    """Addresses of the subnet that no endpoint gets: network and broadcast (IPv4 up to /30), the first (IPv6), and the
    gateway; each once."""
    subnet = parse_prefix(pool.subnet)
    reserved = {parse_address(pool.gateway)[1]} if pool.gateway else set()
    if subnet.v6 or subnet.length < 31:
        reserved.add(subnet.start)
    if not subnet.v6 and subnet.length < 31:
        reserved.add(subnet.end)
    return sorted(reserved)
