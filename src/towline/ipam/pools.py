"""Subnets of one address space and family: automatic ones out of predefined pools, and given ones.

Rules: moby daemon/libnetwork/ipams/defaultipam/address_space.go (docker-api facts 4.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from towline.ipam.errors import PoolOverlap
from towline.ipam.prefix import Prefix, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.config import LOCAL_POOLS, AddressPool
from towline.model.errors import InvalidParameter

NOTHING_IN_USE = PrefixSet()


class Blocks(NamedTuple):
    """A predefined pool: blocks of prefix length `length` out of `base`."""

    base: Prefix
    length: int


class _Users:
    """Who uses a subnet: one user of all of it, and one for each range."""

    __slots__ = ("ranges", "whole")

    def __init__(self) -> None:
        self.whole = False
        self.ranges: set[Prefix] = set()


class Pools:
    """The allocated subnets of one address space, one family. Requests take microseconds with 100,000 of them."""

    def __init__(self, predefined: Iterable[AddressPool], v6: bool) -> None:
        """Pools of the other family are left out, and pools inside of another one (they would be taken twice)."""
        self._family = "IPv6" if v6 else "IPv4"
        self._predefined = _without_nested(Blocks(parse_prefix(p.base), p.size) for p in predefined if _is_v6(p) == v6)
        self._users: dict[Prefix, _Users] = {}
        self._taken = PrefixSet()

    def allocate(self, length: int = 0, exclude: PrefixSet = NOTHING_IN_USE) -> Prefix:
        """The lowest free block of a predefined pool that overlaps neither an allocated subnet nor `exclude`.

        length: prefix length; 0 is the pool's own. InvalidParameter if all are taken, or no pool is that large.
        """
        candidates = [
            Blocks(pool.base, length or pool.length)
            for pool in self._predefined
            if not length or pool.base.length <= length <= pool.base.bits
        ]
        for pool in candidates:
            if (block := self._lowest(pool, exclude)) is not None:
                self._users_of(block).whole = True
                return block
        raise self._exhausted(candidates, length)

    def take(self, subnet: Prefix, ip_range: Prefix | None = None) -> None:
        """A certain subnet; PoolOverlap if it cannot be had.

        With a range the subnet may overlap others, and may be taken again with other ranges (macvlan networks on one
        wire do): only the same range twice is refused. Without one it must overlap nothing.
        """
        users = self._users.get(subnet)
        if ip_range is None:
            if (other := self._taken.overlapping(subnet)) is not None:
                raise PoolOverlap(str(other))
            self._users_of(subnet).whole = True
        elif users is not None and ip_range in users.ranges:
            raise PoolOverlap(str(subnet))
        else:
            self._users_of(subnet).ranges.add(ip_range)

    def release(self, subnet: Prefix, ip_range: Prefix | None = None) -> bool:
        """Undo one request; True if nobody uses the subnet any more. KeyError if it is not allocated."""
        users = self._users[subnet]
        if ip_range is None:
            users.whole = False
        else:
            users.ranges.remove(ip_range)
        if users.whole or users.ranges:
            return False
        del self._users[subnet]
        self._taken.discard(subnet)
        return True

    def _users_of(self, subnet: Prefix) -> _Users:
        users = self._users.get(subnet)
        if users is None:
            users = self._users[subnet] = _Users()
            self._taken.add(subnet)
        return users

    def _lowest(self, pool: Blocks, exclude: PrefixSet) -> Prefix | None:
        """Both sets skip to their next gap in turn until they agree."""
        block = self._taken.first_gap(pool.base, pool.length)
        while block is not None:
            free = exclude.first_gap(pool.base, pool.length, block.start)
            if free is None or free == block:
                return free
            block = self._taken.first_gap(pool.base, pool.length, free.start)
        return None

    def _exhausted(self, candidates: Sequence[Blocks], length: int) -> InvalidParameter:
        if not candidates:
            wanted = f"is large enough for a /{length}" if length and self._predefined else "is configured"
            return InvalidParameter(f"invalid address pool: no {self._family} address pool {wanted}")
        full = ", ".join(_fullness(pool) for pool in candidates)
        return InvalidParameter(f"all predefined address pools have been fully subnetted: {full}")


def _fullness(pool: Blocks) -> str:
    blocks = 1 << pool.length - pool.base.length
    return f"{pool.base} in /{pool.length}: {blocks} of {blocks} taken"


def _is_v6(pool: AddressPool) -> bool:
    return ":" in pool.base


def _without_nested(pools: Iterable[Blocks]) -> tuple[Blocks, ...]:
    kept: list[Blocks] = []
    for pool in sorted(pools):
        if not (kept and kept[-1].base.holds(pool.base)):
            kept.append(pool)
    return tuple(kept)


def ula_pool(daemon_id: str) -> AddressPool:
    """The IPv6 pool where none is configured: fd00::/8 and 40 bits of a hash of the daemon's id make a /48, networks
    are /64.

    Rule: moby daemon/libnetwork/ipamutils DeriveULABaseNetwork (the low 40 of the hash's first 64 bits); RFC 4193.
    """
    global_id = int.from_bytes(sha256(daemon_id.encode()).digest()[3:8], "big")
    return AddressPool(str(Prefix(True, 0xFD << 120 | global_id << 80, 48)), 64)


def local_pools(configured: Sequence[AddressPool], daemon_id: str) -> tuple[AddressPool, ...]:
    """The pools of the local address space: the configured ones, and Docker's built-in ones for a family without."""
    v4 = tuple(pool for pool in configured if not _is_v6(pool)) or LOCAL_POOLS
    v6 = tuple(pool for pool in configured if _is_v6(pool)) or (ula_pool(daemon_id),)
    return v4 + v6
