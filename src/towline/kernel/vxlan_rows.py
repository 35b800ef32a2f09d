"""From rows to messages and back: pure, apart from what is known of the device, which it brings up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from towline.kernel.netlink import Message
from towline.kernel.vxlan_codec import (
    Fdb,
    Neighbour,
    delete_fdb,
    delete_neighbour,
    put_fdb,
    put_neighbour,
)
from towline.kernel.vxlan_known import KnownDevice
from towline.model.desired import Row


def row_messages(device: KnownDevice, index: int, puts: Sequence[Row], gone: Sequence[Row]) -> list[Message]:
    """Puts first. ValueError if a MAC or an address is none: nothing is noted then."""
    fdb = {row.mac: row.vtep for row in puts if row.vtep}
    neighbours = {address: row.mac for row in puts for address in row.addresses}
    kept = {row.mac for row in puts}
    going = [r for r in gone if r.mac in kept or not r.vtep or device.fdb.get(r.mac, r.vtep) == r.vtep]
    leaving = [row for row in going if row.vtep and row.mac not in kept]
    deserted = [
        Neighbour(index, address, row.mac)
        for row in going
        for address in row.addresses
        if address not in neighbours and device.neighbours.get(address, row.mac) == row.mac
    ]
    messages = [
        *(put_fdb(Fdb(index, mac, vtep)) for mac, vtep in fdb.items()),
        *(put_neighbour(Neighbour(index, address, mac)) for address, mac in neighbours.items()),
        *(delete_fdb(Fdb(index, row.mac, row.vtep)) for row in leaving),
        *map(delete_neighbour, deserted),
    ]
    device.fdb |= fdb
    device.neighbours |= neighbours
    for row in leaving:
        device.fdb.pop(row.mac, None)
    for neighbour in deserted:
        device.neighbours.pop(neighbour.address, None)
    return messages


def as_rows(found: Iterable[Fdb | Neighbour]) -> list[Row]:
    """One row per MAC and VTEP, with all addresses of the MAC; of a MAC without VTEP one with its addresses."""
    vteps: dict[str, list[str]] = {}
    addresses: dict[str, list[str]] = {}
    for row in found:
        if isinstance(row, Fdb):
            vteps.setdefault(row.mac, []).append(row.vtep)
        else:
            addresses.setdefault(row.mac, []).append(row.address)
    rows = [Row(mac, vtep, tuple(sorted(addresses.get(mac, ())))) for mac, targets in vteps.items() for vtep in targets]
    return rows + [Row(mac, "", tuple(sorted(own))) for mac, own in addresses.items() if mac not in vteps]
