"""The refusals of IPAM drivers that callers tell apart. Texts: moby daemon/libnetwork/ipamapi/contract.go."""

from __future__ import annotations

from towline.model.errors import Conflict, Forbidden, InvalidParameter, NotFound, Unavailable
from towline.model.network import Lease


class AddressTaken(Forbidden):
    """held: the lease that is in the way."""

    def __init__(self, held: Lease) -> None:
        super().__init__("Address already in use")
        self.held = held


class AddressOutOfRange(InvalidParameter):
    def __init__(self) -> None:
        super().__init__("requested address is out of range")


class NoAddresses(Unavailable):
    def __init__(self) -> None:
        super().__init__("no available addresses on this pool")


class LeaseMoved(Conflict):
    """A move lost the comparison: the lease has another epoch, or is gone."""


class PoolOverlap(Forbidden):
    """subnet: the allocated pool that is in the way (CIDR)."""

    def __init__(self, subnet: str) -> None:
        super().__init__("invalid pool request: Pool overlaps with other one on this address space")
        self.subnet = subnet


class UnknownPool(NotFound):
    def __init__(self, pool_id: str) -> None:
        super().__init__(f"cannot find address pool for poolID:{pool_id}")
