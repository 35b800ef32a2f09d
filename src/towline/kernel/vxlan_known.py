"""What this process has put into its VXLAN devices, so that a change of somebody else is told from its own: the kernel
does not say who changed an FDB row (its notification carries port id 0).
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.kernel.vxlan_codec import Fdb, Neighbour

_DEFAULT = "00:00:00:00:00:00"


class KnownDevice:
    """fdb: MAC -> VTEP; neighbours: address -> MAC. As last put here, whether or not the kernel agreed. Only unicast:
    other rows are never ours, and there may be several of one MAC."""

    __slots__ = ("fdb", "name", "neighbours")

    def __init__(self, name: str, rows: Iterable[Fdb | Neighbour] = ()) -> None:
        self.name = name
        self.fdb: dict[str, str] = {}
        self.neighbours: dict[str, str] = {}
        for row in rows:
            if isinstance(row, Fdb):
                if row.mac != _DEFAULT and not int(row.mac[:2], 16) & 1:
                    self.fdb[row.mac] = row.vtep
            else:
                self.neighbours[row.address] = row.mac


class KnownRows:
    """The worker thread writes, the monitor reads: each step is one dict operation."""

    def __init__(self) -> None:
        self._devices: dict[int, KnownDevice] = {}
        self._indexes: dict[str, int] = {}

    def device(self, index: int) -> KnownDevice | None:
        return self._devices.get(index)

    def learn(self, index: int, name: str, rows: Iterable[Fdb | Neighbour] = ()) -> KnownDevice:
        """In place of what was known of this device, and of an older one of its name."""
        self.forget(name)
        self._indexes[name] = index
        self._devices[index] = KnownDevice(name, rows)
        return self._devices[index]

    def forget(self, name: str) -> None:
        self._devices.pop(self._indexes.pop(name, 0), None)

    def vanished(self, index: int) -> None:
        if (device := self._devices.pop(index, None)) is not None and self._indexes.get(device.name) == index:
            self._indexes.pop(device.name, None)

    def drift(self, row: Fdb | Neighbour, *, gone: bool) -> bool:
        """Whether somebody else did this: a row that came, changed or went against what we have put there."""
        device = self._devices.get(row.link)
        if device is None:
            return False
        ours = device.fdb.get(row.mac) if isinstance(row, Fdb) else device.neighbours.get(row.address)
        if gone:
            return ours is not None
        return ours != (row.vtep if isinstance(row, Fdb) else row.mac)
