"""The refusals of IPAM drivers that callers tell apart. Texts: moby daemon/libnetwork/ipamapi/contract.go."""

from __future__ import annotations

from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound, Unavailable
from towline.model.network import Lease, Network


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


class BlockNeeded(Failure):
    """This node has no block of a global network with a free address, or not the one that holds `address` (bare). One
    of any of these subnets (CIDR) would do: lease it, and plan again."""

    def __init__(self, network: Network, subnets: tuple[str, ...], address: str = "") -> None:
        wanted = f"{address} of " if address else ""
        super().__init__(f"this node has no block with {wanted}{', '.join(subnets)} of network {network.name}")
        self.network = network
        self.subnets = subnets
        self.address = address


class PartNeeded(Failure):
    """This host has made no part of its own of a network of the cluster yet: make it, and plan again."""

    def __init__(self, network: Network) -> None:
        super().__init__(f"network {network.name} is not made on this host yet")
        self.network = network


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
