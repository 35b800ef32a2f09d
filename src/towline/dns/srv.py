"""SRV records of named ports."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from towline.dns import wire


class Port(msgspec.Struct, frozen=True):
    """A named port of a service, which SRV questions `port_name.protocol.name` find. target, address: who answers."""

    name: str
    port_name: str
    protocol: str
    port: int
    target: str
    address: str


def srv_records(ports: Iterable[Port]) -> dict[bytes, tuple[tuple[bytes, bytes], ...]]:
    """By lower case labels of the question: SRV records, each with its target's address record."""
    found: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for port in ports:
        owner = wire.encode_name(f"{port.port_name}.{port.protocol}.{port.name}")
        target = wire.encode_name(port.target)
        if owner is None or target is None:
            continue
        address = wire.named_address_record(target, ip_address(port.address).packed)
        found.setdefault(owner.lower(), []).append((wire.service_record(port.port, target), address))
    return {owner: tuple(records) for owner, records in found.items()}
