"""Which part of a subnet a node gets to hand out addresses of. Pure; docs/design/cluster.md, Addresses."""

from __future__ import annotations

from collections.abc import Sequence

from towline.ipam.prefix import Prefix, parse_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.network import Pool

_SHARE = 4
"""A block is at most 1 / 2**4 of what is still free."""
_LARGEST = {False: 24, True: 112}


def block_length(subnet: Prefix, given_out: int) -> int:
    """Prefix length of the next block: a sixteenth of what is free, rounded down; at least one address.

    So the first nodes get room for many addresses, and a small subnet still serves many nodes.
    """
    free = max(subnet.size - given_out, 1)
    order = max(free.bit_length() - 1 - _SHARE, 0)
    return max(subnet.bits - order, _LARGEST[subnet.v6], subnet.length)


def plan_block(pool: Pool, taken: PrefixSet, given_out: int) -> Prefix | None:
    """The lowest free block of the pool's range that has an address to hand out; smaller ones where only those are
    left; None if there is none."""
    subnet = parse_prefix(pool.subnet)
    within = parse_prefix(pool.ip_range) if pool.ip_range else subnet
    reserved = reserved_addresses(pool)
    for length in range(max(block_length(subnet, given_out), within.length), subnet.bits + 1):
        after = within.start
        while (block := taken.first_gap(within, length, after)) is not None:
            if block.size > sum(block.start <= address <= block.end for address in reserved):
                return block
            after = block.end + 1
    return None


def plan_block_at(pool: Pool, taken: PrefixSet, given_out: int, address: str) -> Prefix | None:
    """The largest free block, up to the usual size, that holds the address; None if somebody's does. ValueError if the
    address is not in the subnet."""
    subnet = parse_prefix(pool.subnet)
    v6, value = parse_address(address)
    if v6 != subnet.v6 or not subnet.start <= value <= subnet.end:
        raise ValueError(f"{address} is not in {subnet}")
    for length in range(block_length(subnet, given_out), subnet.bits + 1):
        shift = subnet.bits - length
        block = Prefix(v6, value >> shift << shift, length)
        if not taken.overlaps(block):
            return block
    return None


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
