"""Addresses of one subnet: table tests of Docker's rules, and a stateful comparison with a naive model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from towline.ipam.addresses import Addresses
from towline.ipam.errors import AddressOutOfRange, AddressTaken, LeaseMoved, NoAddresses
from towline.ipam.prefix import Prefix, format_address, parse_address, parse_prefix
from towline.ipam.sparse import SparseSet
from towline.model.network import Lease, SubnetStatus

UINT64_MAX = 2**64 - 1


def pool(subnet: str) -> Addresses:
    return Addresses(parse_prefix(subnet))


def number(text: str) -> int:
    return parse_address(text)[1]


def held(addresses: Addresses) -> list[tuple[str, str]]:
    return [(lease.address, lease.reason) for lease in addresses.leases()]


@pytest.mark.parametrize(
    ("subnet", "reserved", "first"),
    [
        ("10.5.0.0/24", [("10.5.0.0", "network"), ("10.5.0.255", "broadcast")], "10.5.0.1"),
        ("10.5.0.0/30", [("10.5.0.0", "network"), ("10.5.0.3", "broadcast")], "10.5.0.1"),
        ("10.5.0.0/31", [], "10.5.0.0"),
        ("10.5.0.9/32", [], "10.5.0.9"),
        ("0.0.0.0/0", [("0.0.0.0", "network"), ("255.255.255.255", "broadcast")], "0.0.0.1"),
        ("fd00::/64", [("fd00::", "network")], "fd00::1"),
        ("fd00::/127", [("fd00::", "network")], "fd00::1"),
        ("::/0", [("::", "network")], "::1"),
    ],
)
def test_reserved_addresses_and_the_first_free_one(subnet: str, reserved: list[tuple[str, str]], first: str) -> None:
    addresses = pool(subnet)
    assert held(addresses) == reserved
    assert addresses.allocate("n", "gateway") == number(first)


@pytest.mark.parametrize(
    ("subnet", "status"),
    [
        ("10.5.0.0/24", SubnetStatus(used=2, free=254)),
        ("10.5.0.0/32", SubnetStatus(used=0, free=1)),
        ("fd00::/64", SubnetStatus(used=1, free=UINT64_MAX)),
        ("fd00::/48", SubnetStatus(used=1, free=UINT64_MAX)),
        ("fd00::/65", SubnetStatus(used=1, free=2**63 - 1)),
    ],
)
def test_counters_saturate_at_uint64(subnet: str, status: SubnetStatus) -> None:
    assert pool(subnet).status() == status


def test_released_addresses_are_used_again_at_once_and_serial_goes_on() -> None:
    addresses = pool("10.5.0.0/29")
    assert [addresses.allocate("n", "endpoint") & 7 for _ in range(4)] == [1, 2, 3, 4]
    addresses.release(number("10.5.0.2"), "n")
    assert addresses.allocate("n", "endpoint", serial=True) == number("10.5.0.5")
    assert addresses.allocate("n", "endpoint") == number("10.5.0.2")
    assert addresses.allocate("n", "endpoint", serial=True) == number("10.5.0.6")
    addresses.release(number("10.5.0.1"), "n")
    assert addresses.allocate("n", "endpoint", serial=True) == number("10.5.0.1")
    with pytest.raises(NoAddresses, match="^no available addresses on this pool$"):
        addresses.allocate("n", "endpoint", serial=True)


def test_a_range_limits_dynamic_addresses_only() -> None:
    addresses, block = pool("10.5.0.0/24"), parse_prefix("10.5.0.254/31")
    addresses.take(number("10.5.0.5"), "e", "endpoint")
    addresses.add_range(block)
    assert addresses.status(block) == SubnetStatus(used=3, free=1)
    assert addresses.allocate("n", "gateway", block=block) == number("10.5.0.254")
    with pytest.raises(NoAddresses):
        addresses.allocate("e", "endpoint", block=block)
    assert addresses.status(block) == SubnetStatus(used=4, free=0)


def test_taken_and_foreign_addresses_are_refused() -> None:
    addresses = pool("10.5.0.0/24")
    addresses.take(number("10.5.0.5"), "e1", "endpoint")
    with pytest.raises(AddressTaken, match="^Address already in use$") as taken:
        addresses.take(number("10.5.0.5"), "e2", "endpoint")
    assert taken.value.held == Lease("10.5.0.5", "e1", "endpoint")
    with pytest.raises(AddressOutOfRange, match="^requested address is out of range$"):
        addresses.take(number("10.6.0.5"), "e2", "endpoint")


def test_only_the_owner_releases() -> None:
    addresses = pool("10.5.0.0/30")
    address = addresses.allocate("e1", "endpoint")
    addresses.release(address, "e2")
    addresses.release(number("10.5.0.3"), "e1")
    assert held(addresses) == [("10.5.0.0", "network"), ("10.5.0.1", "endpoint"), ("10.5.0.3", "broadcast")]


def test_moving_a_lease_is_a_compare_and_swap() -> None:
    addresses = pool("10.5.0.0/24")
    address = addresses.allocate("e1", "endpoint")
    assert addresses.move(address, "e2", 1) == Lease("10.5.0.1", "e2", "endpoint", epoch=2)
    with pytest.raises(LeaseMoved, match="at epoch 1: it is at epoch 2"):
        addresses.move(address, "e3", 1)
    with pytest.raises(LeaseMoved, match="nobody has it"):
        addresses.move(address + 1, "e3", 1)
    assert addresses.lease(address).owner == "e2"
    addresses.release(address, "e1")
    assert addresses.lease(address).owner == "e2"


class AddressMachine(RuleBasedStateMachine):
    """A subnet of at most 1,024 addresses (several words of the tree) beside a dictionary."""

    @initialize(length=st.integers(22, 32), v6=st.booleans(), data=st.data())
    def start(self, length: int, v6: bool, data: st.DataObject) -> None:
        base = "fd00::" if v6 else "10.5.0.0"
        self.subnet = parse_prefix(f"{base}/{length + 96 if v6 else length}")
        self.subject = Addresses(self.subnet)
        self.model = {number(lease.address): lease.owner for lease in self.subject.leases()}
        span = data.draw(st.integers(self.subnet.length, self.subnet.bits))
        size = self.subnet.bits - span
        start = data.draw(st.integers(self.subnet.start, self.subnet.end)) >> size << size
        self.block = Prefix(self.subnet.v6, start, span)
        self.subject.add_range(self.block)
        self.last: dict[Prefix, int] = {}

    @rule(owner=st.sampled_from(["a", "b"]), ranged=st.booleans(), serial=st.booleans(), times=st.integers(1, 300))
    def allocate(self, owner: str, ranged: bool, serial: bool, times: int) -> None:
        block = self.block if ranged else self.subnet
        for _ in range(times):
            free = [address for address in range(block.start, block.end + 1) if address not in self.model]
            if not free:
                with pytest.raises(NoAddresses):
                    self.subject.allocate(owner, "endpoint", block=block if ranged else None, serial=serial)
                return
            after = [address for address in free if address > self.last.get(block, -1)]
            wanted = (after or free)[0] if serial else free[0]
            assert self.subject.allocate(owner, "endpoint", block=block if ranged else None, serial=serial) == wanted
            self.model[wanted] = owner
            self.last[block] = wanted

    @rule(owner=st.sampled_from(["a", "b"]), data=st.data())
    def take(self, owner: str, data: st.DataObject) -> None:
        address = data.draw(st.integers(self.subnet.start - 1, self.subnet.end + 1))
        if not self.subnet.start <= address <= self.subnet.end:
            with pytest.raises(AddressOutOfRange):
                self.subject.take(address, owner, "endpoint")
        elif address in self.model:
            with pytest.raises(AddressTaken):
                self.subject.take(address, owner, "endpoint")
        else:
            self.subject.take(address, owner, "endpoint")
            self.model[address] = owner

    @rule(owner=st.sampled_from(["a", "b"]), data=st.data(), count=st.integers(1, 100))
    def release(self, owner: str, data: st.DataObject, count: int) -> None:
        first = data.draw(st.integers(self.subnet.start, self.subnet.end))
        for address in range(first, first + count):
            self.subject.release(address, owner)
            if self.model.get(address) == owner:
                del self.model[address]

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "subject"):
            return
        texts = [(format_address(address, self.subnet.v6), self.model[address]) for address in sorted(self.model)]
        assert [(lease.address, lease.owner) for lease in self.subject.leases()] == texts
        inside = sum(self.block.start <= address <= self.block.end for address in self.model)
        assert self.subject.status() == SubnetStatus(len(self.model), self.subnet.size - len(self.model))
        assert self.subject.status(self.block) == SubnetStatus(len(self.model), self.block.size - inside)


AddressMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestAddresses = AddressMachine.TestCase


def test_sparse_set_finds_the_hole_behind_many_full_words() -> None:
    subject = SparseSet(64)
    for item in range(70_000):
        subject.add(item)
    assert subject.next_absent(0) == 70_000
    subject.remove(66_000)
    assert subject.next_absent(0) == 66_000
    assert subject.next_absent(66_001) == 70_000
    subject.add(66_000)
    assert subject.next_absent(5) == 70_000


def test_a_full_sparse_set_answers_beyond_its_range() -> None:
    subject = SparseSet(16)
    for item in range(2**16):
        subject.add(item)
    assert subject.next_absent(0) >= 2**16
    subject.remove(2**16 - 1)
    assert subject.next_absent(77) == 2**16 - 1
