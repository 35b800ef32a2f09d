"""A network as the store keeps it, and the parts it is made of."""

from __future__ import annotations

from typing import Literal

import msgspec

from towline.model.requests import PoolRequest

Phase = Literal["creating", "ready"]
Scope = str  # "local", "swarm", "global"; Docker keeps whatever the client sent
SWARM = "swarm"
"""Scope of the networks of the cluster, which the store mirrors; no client can make one that is not."""

PREDEFINED = frozenset({"bridge", "host", "none"})
RESERVED_NAMES = PREDEFINED | {"default"}


class Pool(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subnet of a network.

    subnet and ip_range are CIDR with host bits clear; gateway and aux values are bare addresses. handle: the IPAM
    driver's id of the pool where it is not simply space/subnet[/range].
    """

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    aux: dict[str, str] = {}
    handle: str = ""

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.subnet


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """Shape follows Docker's network.Network; pools are in the order in which inspect shows them.

    created: nanoseconds since the epoch. ipam_options: None is Docker's null. link: name of the kernel link, or "".
    requests: what a config-only network passes on to those made from it; of a network of the cluster whose driver makes
    it on each host alone, the pools that were asked for. whole: of such a network, the cluster's record, where this
    host has made its own part of it; pools, options and link are the host's then.
    """

    id: str
    name: str
    created: int
    driver: str
    phase: Phase = "creating"
    scope: Scope = "local"
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    pools: tuple[Pool, ...] = ()
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    link: str = ""
    requests: tuple[PoolRequest, ...] = ()
    whole: Network | None = None

    @property
    def address_scope(self) -> Scope:
        """Where its addresses are unique."""
        return "local" if self.whole is not None else self.scope

    @property
    def spans(self) -> bool:
        """Of the cluster, and one network on all its hosts."""
        return self.scope == SWARM and self.whole is None

    @property
    def predefined(self) -> bool:
        return self.name in PREDEFINED


class Lease(msgspec.Struct, frozen=True):
    """An address that is taken, by whom and why.

    owner: id of a network or endpoint. reason: "network", "broadcast", "gateway", "auxiliary", "endpoint".
    epoch: counts the changes of owner; moving a lease is a compare-and-swap on it.
    """

    address: str
    owner: str
    reason: str
    epoch: int = 1


class SubnetStatus(msgspec.Struct, frozen=True):
    """Docker's SubnetStatus (API 1.52): used counts reserved addresses too; free counts the dynamic range only."""

    used: int
    free: int
