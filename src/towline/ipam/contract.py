"""What an IPAM driver is. The verbs are those of Docker's remote IPAM protocol, so that a client for plugins fits in.

Docker's remote calls (moby daemon/libnetwork/ipams/remote; JSON over HTTP POST, errors in the field `Error`):

    /IpamDriver.GetCapabilities          {} -> RequiresMACAddress, RequiresRequestReplay        capabilities
    /IpamDriver.GetDefaultAddressSpaces  {} -> LocalDefaultAddressSpace, GlobalDefault...       address_spaces
    /IpamDriver.RequestPool     AddressSpace, Pool, SubPool, Options, V6 -> PoolID, Pool, Data  request_pool
    /IpamDriver.ReleasePool     PoolID ->                                                       release_pool
    /IpamDriver.RequestAddress  PoolID, Address, Options -> Address (CIDR), Data                request_address
    /IpamDriver.ReleaseAddress  PoolID, Address ->                                              release_address

What the remote protocol has no word for (`owner`, `reason`, `exclude`) a remote client leaves out. A plugin's pool may
overlap prefixes of this host: then the client asks again while it holds what it got, and gives the rest back.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from towline.ipam.prefixes import PrefixSet
from towline.model.network import Lease, SubnetStatus

ADDRESS_TYPE = "RequestAddressType"
GATEWAY = "com.docker.network.gateway"
SERIAL = "com.docker.network.ipam.serial"
ENDPOINT_NAME = "com.docker.network.endpoint.name"
ENDPOINT_MAC = "com.docker.network.endpoint.macaddress"


class Capabilities(msgspec.Struct, frozen=True):
    """requires_mac: requests for an endpoint's address carry its MAC. requires_replay: what the store holds is asked
    for again when the daemon starts."""

    requires_mac: bool = False
    requires_replay: bool = False


class AddressSpaces(NamedTuple):
    """Names of the spaces for networks of one host and of scope "global"; subnets of two spaces may overlap. swarm: for
    the networks of a cluster; "": the driver keeps them with those of scope "global"."""

    local: str
    cluster: str
    swarm: str = ""


class PoolQuery(msgspec.Struct, frozen=True):
    """pool: CIDR, "" for any, 0.0.0.0/N or ::/N for any of that prefix length. subpool: the range inside of `pool` that
    dynamic addresses come from, "" for all of it. exclude: prefixes that an automatic pool must not overlap.
    owner: id of the network."""

    space: str
    v6: bool
    owner: str
    pool: str = ""
    subpool: str = ""
    options: dict[str, str] = {}
    exclude: PrefixSet | None = None


class PoolGrant(msgspec.Struct, frozen=True):
    """id: the driver's handle. subnet: CIDR. gateway: bare address if the driver fixes it, else ""."""

    id: str
    subnet: str
    gateway: str = ""


class AddressQuery(msgspec.Struct, frozen=True):
    """address: bare, "" for any. owner: id of the network or endpoint. reason: as in model.network.Lease. within: CIDR
    of the parts of the subnet that the address must be in, tried in order; empty: anywhere."""

    pool_id: str
    owner: str
    reason: str
    address: str = ""
    options: dict[str, str] = {}
    within: tuple[str, ...] = ()


class IpamDriver(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def address_spaces(self) -> AddressSpaces: ...

    def request_pool(self, query: PoolQuery) -> PoolGrant:
        """Raises PoolOverlap (a Forbidden), or InvalidParameter when nothing is left or the query makes no sense."""
        ...

    def release_pool(self, pool_id: str, owner: str) -> None:
        """Its addresses have been released one by one before. UnknownPool (a NotFound), also if another network has
        it."""
        ...

    def request_address(self, query: AddressQuery) -> str:
        """CIDR with the subnet's prefix length; "" from a driver whose networks have no addresses.

        Raises NoAddresses (an Unavailable), AddressTaken (a Forbidden), AddressOutOfRange (an InvalidParameter),
        UnknownPool.
        """
        ...

    def release_address(self, pool_id: str, address: str, owner: str) -> None:
        """`address` is bare. Nothing happens if `owner` does not hold it. UnknownPool."""
        ...


@runtime_checkable
class LeaseBook(Protocol):
    """A driver that can tell what it handed out; the default driver does, a remote one cannot."""

    def status(self, pool_id: str) -> SubnetStatus: ...
    def leases(self, owner: str) -> list[Lease]:
        """Every address that is taken in the pools of a network, in address order; [] if it has none."""
        ...

    def endpoints_in(self, pool_id: str, prefix: str) -> int:
        """How many addresses of this part of the pool's subnet endpoints have."""
        ...

    def holder_of(self, space: str, subnet: str) -> str:
        """Id of a network that has this pool, "" if none has."""
        ...

    def move(self, pool_id: str, address: str, owner: str, epoch: int) -> Lease:
        """Hand a lease to another owner by compare-and-swap on its epoch. Conflict if it has moved on."""
        ...
