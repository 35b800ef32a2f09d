"""What a network driver is: it knows its options, which of its networks may coexist, and what the kernel must hold.

A driver does not store, allocate or call back. Everything it needs comes in as arguments.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

from towline.model.desired import Desired, Interface, NetworkRules
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.view import View


class SkipGateways(NamedTuple):
    """Families for which no gateway address is allocated."""

    ipv4: bool = False
    ipv6: bool = False


class Attachment(msgspec.Struct, frozen=True):
    """How an endpoint is plugged into a sandbox.

    gateway4, gateway6: the address of the default gateway that this network offers, "" for an on-link default route,
    None if it offers none. rules: the network's firewall intent, which its endpoints share; None where its packets pass
    by the host (macvlan), which can neither filter nor publish them.
    """

    interface: Interface
    rules: NetworkRules | None
    gateway4: str | None = None
    gateway6: str | None = None


class Driver(Protocol):
    """The records passed in carry the driver's options as the user gave them; a driver parses them itself."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> Literal["local", "global"]:
        """Where its networks are known: on one host, or in the whole cluster."""
        ...

    @property
    def needs_pools(self) -> bool:
        """False for drivers whose networks have no addresses (host, null)."""
        ...

    def check(self, network: Network) -> SkipGateways:
        """Parse the options of a network that has no pools yet; InvalidParameter or Failure as Docker words it."""
        ...

    def admit(self, network: Network, view: View) -> Network:
        """May it exist beside the others, with the pools it got? Answers it with its link name filled in."""
        ...

    def desired(self, network: Network) -> Desired:
        """What the kernel must hold for it; a function of the record alone."""
        ...

    def attach(self, network: Network, endpoint: Endpoint) -> Attachment | None:
        """How this endpoint is plugged in; None where nothing is (host, null). A function of the records alone."""
        ...

    def interface_prefix(self, network: Network) -> str:
        """Interfaces in sandboxes are named by it and a number."""
        ...
