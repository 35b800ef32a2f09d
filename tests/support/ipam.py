"""Networks and their addresses over a default driver with small pools."""

from __future__ import annotations

from typing import Any

from towline.ipam.default import DefaultIpam
from towline.ipam.networks import (
    allocate_network,
)
from towline.ipam.prefixes import PrefixSet
from towline.model.config import AddressPool
from towline.model.network import Lease, Network
from towline.model.requests import PoolRequest

UINT64_MAX = 2**64 - 1
POOLS = (AddressPool("10.0.0.0/8", 24), AddressPool("fd7a:65b3:b3df::/48", 64))
Ask = PoolRequest


def create(driver: Any, name: str, *requests: Ask, **how: Any) -> Network:
    settings: dict[str, Any] = {
        "ipv4": True,
        "ipv6": False,
        "scope": "local",
        "in_use": PrefixSet(),
        "options": None,
        "skip_gateway4": False,
        "skip_gateway6": False,
        **how,
    }
    pools = allocate_network(driver, network_id=f"id-{name}", requests=requests, **settings)
    return Network(
        id=f"id-{name}",
        name=name,
        created=0,
        driver="bridge",
        scope=settings["scope"],
        pools=pools,
        ipam_options=settings["options"],
    )


def snapshot(driver: DefaultIpam, *networks: str) -> list[list[Lease]]:
    return [driver.leases(f"id-{name}") for name in networks]
