"""Which endpoint carries a sandbox's default routes and published ports (moby daemon/libnetwork/sandbox.go
Endpoint.Less and default_gateway.go; docker-api facts 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from towline.drivers.contract import Attachment
from towline.model.endpoint import Endpoint
from towline.model.network import Network


class Member(NamedTuple):
    """One endpoint of a sandbox, its network, and how the driver plugs it in."""

    endpoint: Endpoint
    network: Network
    attachment: Attachment


class Gateways(NamedTuple):
    """The members that are the gateway of each address family; they may differ."""

    ipv4: Member | None = None
    ipv6: Member | None = None


def choose(members: Sequence[Member]) -> Gateways:
    ordered = sorted(members, key=_rank)
    return Gateways(
        next((m for m in ordered if m.attachment.gateway4 is not None), None),
        next((m for m in ordered if m.attachment.gateway6 is not None), None),
    )


def _rank(member: Member) -> tuple[int, bool, int, str]:
    offered = (member.attachment.gateway4, member.attachment.gateway6)
    return (
        -member.endpoint.config.gw_priority,
        member.network.internal,
        -sum(gateway is not None for gateway in offered),
        member.network.name,
    )
