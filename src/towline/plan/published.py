"""Published ports follow the gateway: each family's ports are on the endpoint that is its gateway."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from towline.drivers.contract import Attachment
from towline.model.endpoint import Endpoint, Published
from towline.plan.gateways import Member, choose


def place(members: Sequence[Member], published: Sequence[Published]) -> list[Endpoint]:
    """The members' endpoints with the ports that now belong to them. A routed gateway opens the container's port and
    takes no host port (host_port 0), as in Docker."""
    gateways = choose(members)
    placed = []
    for member in members:
        mine = [
            _as_published(port, member.attachment, v6=":" in port.host_ip)
            for port in published
            if member.attachment.rules and (gateways.ipv6 if ":" in port.host_ip else gateways.ipv4) is member
        ]
        placed.append(replace(member.endpoint, published=tuple(mine)))
    return placed


def _as_published(port: Published, attachment: Attachment, *, v6: bool) -> Published:
    rules = attachment.rules
    family = None if rules is None else rules.ipv6 if v6 else rules.ipv4
    routed = family is not None and family.mode == "routed"
    return replace(port, host_port=0) if routed else port
