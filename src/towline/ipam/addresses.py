"""The addresses of one subnet: who has which, the next free one, how many are left.

Rules: moby daemon/libnetwork/ipams/defaultipam (docker-api facts 4.2). Addresses are integers here.
"""

from __future__ import annotations

from typing import NamedTuple

from towline.ipam.errors import AddressOutOfRange, AddressTaken, LeaseMoved, NoAddresses
from towline.ipam.prefix import Prefix, format_address
from towline.ipam.sparse import SparseSet
from towline.model.network import Lease, SubnetStatus

_UINT64_MAX = (1 << 64) - 1


class Holder(NamedTuple):
    """owner: id of a network or endpoint, "" for the addresses that belong to the subnet itself and stay held."""

    owner: str
    reason: str
    epoch: int = 1


class _Range:
    """A block to allocate from. Nothing in first..lowest-1 is free; `next` is where next-fit goes on. endpoints: how
    many of the used addresses are those of endpoints."""

    __slots__ = ("endpoints", "first", "last", "lowest", "next", "used")

    def __init__(self, block: Prefix, used: int = 0, endpoints: int = 0) -> None:
        self.first = self.lowest = self.next = block.start
        self.last = block.end
        self.used = used
        self.endpoints = endpoints


class Addresses:
    """Allocator of one subnet. A request takes one or two microseconds at any prefix length."""

    def __init__(self, subnet: Prefix) -> None:
        """Reserves network and broadcast address (IPv4 up to /30), or the first address (IPv6, RFC 4291 2.6.1)."""
        self.subnet = subnet
        self._held: dict[int, Holder] = {}
        self._used = SparseSet(subnet.bits - subnet.length)
        self._whole = _Range(subnet)
        self._ranges: dict[Prefix, _Range] = {subnet: self._whole}
        if subnet.v6 or subnet.length < 31:
            self._hold(subnet.start, Holder("", "network"))
        if not subnet.v6 and subnet.length < 31:
            self._hold(subnet.end, Holder("", "broadcast"))

    def add_range(self, block: Prefix) -> None:
        """Prepare to allocate from a part of the subnet; O(addresses held)."""
        if block not in self._ranges:
            inside = [holder for address, holder in self._held.items() if block.start <= address <= block.end]
            self._ranges[block] = _Range(block, len(inside), sum(map(_is_endpoint, inside)))

    def drop_range(self, block: Prefix) -> None:
        if block != self.subnet:
            self._ranges.pop(block, None)

    def allocate(self, owner: str, reason: str, *, block: Prefix | None = None, serial: bool = False) -> int:
        """The lowest free address of `block` (one of the ranges, None: the subnet); with `serial` the next free one
        after the last that was allocated, from the start again at the end. NoAddresses if all are held."""
        span = self._ranges[block] if block else self._whole
        address = self._next_free(span.next if serial else span.lowest)
        if serial and address > span.last:
            address = self._next_free(span.first)
        if address > span.last:
            raise NoAddresses
        if not serial:
            span.lowest = address + 1
        span.next = address + 1
        self._hold(address, Holder(owner, reason))
        return address

    def take(self, address: int, owner: str, reason: str) -> None:
        """A certain address, inside or outside of any range. AddressOutOfRange, AddressTaken."""
        if not self.subnet.start <= address <= self.subnet.end:
            raise AddressOutOfRange
        if address in self._held:
            raise AddressTaken(self.lease(address))
        self._hold(address, Holder(owner, reason))

    def release(self, address: int, owner: str) -> None:
        """Nothing happens if `owner` does not hold it."""
        holder = self._held.get(address)
        if holder is None or holder.owner != owner:
            return
        del self._held[address]
        self._used.remove(address - self.subnet.start)
        for span in self._ranges.values():
            if span.first <= address <= span.last:
                span.used -= 1
                span.endpoints -= _is_endpoint(holder)
                span.lowest = min(span.lowest, address)

    def move(self, address: int, owner: str, epoch: int) -> Lease:
        """Give a held address to another owner if the lease still has that epoch; the new lease has the next one.
        LeaseMoved otherwise: nothing changed."""
        holder = self._held.get(address)
        if holder is None or holder.epoch != epoch:
            found = f"it is at epoch {holder.epoch}" if holder else "nobody has it"
            raise LeaseMoved(f"cannot move {format_address(address, self.subnet.v6)} at epoch {epoch}: {found}")
        self._held[address] = Holder(owner, holder.reason, epoch + 1)
        return self.lease(address)

    def lease(self, address: int) -> Lease:
        """KeyError if nobody holds it."""
        return Lease(format_address(address, self.subnet.v6), *self._held[address])

    def leases(self) -> list[Lease]:
        """In address order."""
        return [self.lease(address) for address in sorted(self._held)]

    def status(self, block: Prefix | None = None) -> SubnetStatus:
        """Docker's counters: addresses held in the subnet, and free ones in `block`; both saturate at 2**64-1."""
        span = self._ranges[block] if block else self._whole
        free = span.last - span.first + 1 - span.used
        return SubnetStatus(used=min(len(self._held), _UINT64_MAX), free=min(free, _UINT64_MAX))

    def endpoints_in(self, block: Prefix) -> int:
        """How many addresses of one of the ranges endpoints have."""
        return self._ranges[block].endpoints

    def _next_free(self, address: int) -> int:
        return self._used.next_absent(address - self.subnet.start) + self.subnet.start

    def _hold(self, address: int, holder: Holder) -> None:
        self._held[address] = holder
        self._used.add(address - self.subnet.start)
        for span in self._ranges.values():
            if span.first <= address <= span.last:
                span.used += 1
                span.endpoints += _is_endpoint(holder)


def _is_endpoint(holder: Holder) -> bool:
    return holder.reason == "endpoint"
