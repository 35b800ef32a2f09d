"""A stateful fake of the `Tunnels` contract, with named faults."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from ipaddress import ip_address

import msgspec

from towline.kernel.contract import ELSEWHERE, Link, VxlanState
from towline.kernel.fake import FakeLinks
from towline.kernel.faults import Faults
from towline.model.desired import Row, Vxlan, kernel_name
from towline.model.errors import KernelError

_NAME_MAX, _ALIAS_MAX = 15, 255


class FakeTable:
    """May be changed at will. fdb: MAC -> VTEP; neighbours: address -> MAC."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.fdb: dict[str, str] = {}
        self.neighbours: dict[str, str] = {}


class FakeTunnels:
    """A device is a link of `links`; `tables` has what is in it; `announced` what was announced, in order.

    Fault steps, named by the device: "create" (nothing is made), "repair", "silence", "rows"; "put_row" and
    "delete_row" once for each row of a call (that one is refused, the others are done); by the bridge "announce".
    """

    def __init__(self, links: FakeLinks, *, faults: Faults | None = None) -> None:
        self.links = links
        self.faults = faults or Faults()
        self.tables: dict[str, FakeTable] = {}
        self.announced: list[tuple[str, Row]] = []

    def close(self) -> None:
        pass

    def create(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        return [self._create(vxlan) for vxlan in tunnels]

    def repair(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        return [self._repair(vxlan) for vxlan in tunnels]

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        for name in names:
            if name in self.tables:
                self.tables[name].neighbours.clear()  # as the kernel does with a link that goes down
        return self.links.silence(names)

    def set_rows(self, name: str, puts: Sequence[Row], gone: Sequence[Row]) -> KernelError | None:
        operation = f"set rows of {name}"
        found = self._find(name, operation)
        if isinstance(found, KernelError):
            return found
        link, table = found
        try:
            for text in (text for row in (*puts, *gone) for text in (row.vtep, *row.addresses)):
                if text not in ("", ELSEWHERE):
                    ip_address(text)
        except ValueError as error:
            return KernelError(errno.EINVAL, operation, str(error))
        local = link.vxlan.local if link.vxlan else ""
        stale = {row for row in gone if row.vtep and table.fdb.get(row.mac, row.vtep) != row.vtep}
        put = [self._put(name, table, row, local, operation) for row in puts]
        macs, addresses = {row.mac for row in puts}, {address for row in puts for address in row.addresses}
        deleted = [
            self._delete(name, table, row, operation, kept=row.mac in macs, addresses=addresses)
            for row in gone
            if row.mac in macs or row not in stale
        ]
        return next((error for error in (*put, *deleted) if error), None)

    def announce(self, bridge: str, rows: Sequence[Row]) -> KernelError | None:
        operation = f"announce endpoints of other hosts on {bridge}"
        if self.links.find(bridge) is None:
            return KernelError(errno.ENODEV, operation)
        if refused := self.faults.check("announce", bridge, operation):
            return refused
        self.announced += [(bridge, row) for row in rows]
        return None

    def rows(self, name: str) -> list[Row]:
        operation = f"list rows of {name}"
        found = self._find(name, operation)
        if isinstance(found, KernelError):
            raise found
        if refused := self.faults.check("rows", name, operation):
            raise refused
        _, table = found
        addresses: dict[str, list[str]] = {}
        for address, mac in table.neighbours.items():
            addresses.setdefault(mac, []).append(address)
        rows = [Row(mac, vtep, tuple(sorted(addresses.get(mac, ())))) for mac, vtep in table.fdb.items()]
        return rows + [Row(mac, "", tuple(sorted(own))) for mac, own in addresses.items() if mac not in table.fdb]

    def _create(self, vxlan: Vxlan) -> KernelError | None:
        operation = f"create tunnel {vxlan.name}"
        bridge = self.links.find(vxlan.bridge)
        if bridge is None:
            return KernelError(errno.ENODEV, f"plug {vxlan.name} into bridge {vxlan.bridge}")
        if len(kernel_name(vxlan.name).encode()) > _NAME_MAX or len(vxlan.alias.encode()) > _ALIAS_MAX:
            return KernelError(errno.ERANGE, operation)
        if vxlan.name in self.links.links or self._taken(vxlan):
            return KernelError(errno.EEXIST, operation)
        if refused := self.faults.check("create", vxlan.name, operation):
            return refused
        made = self.links.add_foreign(vxlan.name, "vxlan")
        self._change(made, vxlan, bridge)
        self.tables[vxlan.name] = FakeTable(made.index)
        return None

    def _taken(self, vxlan: Vxlan) -> bool:
        states = [link.vxlan for link in self.links.links.values() if link.vxlan is not None]
        return any((state.vni, state.port) == (vxlan.vni, vxlan.port) for state in states)

    def _change(self, link: Link, vxlan: Vxlan, bridge: Link) -> None:
        self.links.links[vxlan.name] = msgspec.structs.replace(
            link,
            alias=vxlan.alias,
            up=True,
            mtu=vxlan.mtu,
            mac=vxlan.mac.lower(),
            master=bridge.index,
            vxlan=VxlanState(vxlan.vni, vxlan.port, vxlan.local),
        )

    def _repair(self, vxlan: Vxlan) -> KernelError | None:
        operation = f"repair tunnel {vxlan.name}"
        link, bridge = self.links.find(vxlan.name), self.links.find(vxlan.bridge)
        if link is None:
            return KernelError(errno.ENODEV, operation)
        if link.vxlan is None:
            return KernelError(errno.EEXIST, operation, f"a link of kind {link.kind or 'none'} has this name")
        if bridge is None:
            return KernelError(errno.ENODEV, f"plug {vxlan.name} into bridge {vxlan.bridge}")
        if refused := self.faults.check("repair", vxlan.name, operation):
            return refused
        self._change(link, vxlan, bridge)
        return None

    def _find(self, name: str, operation: str) -> tuple[Link, FakeTable] | KernelError:
        """A link that was removed and made anew by others has an empty table."""
        link = self.links.find(name)
        if link is None:
            return KernelError(errno.ENODEV, operation)
        table = self.tables.get(name)
        if table is None or table.index != link.index:
            table = self.tables[name] = FakeTable(link.index)
        return link, table

    def _put(self, name: str, table: FakeTable, row: Row, local: str, operation: str) -> KernelError | None:
        if refused := self.faults.check("put_row", name, operation):
            return refused
        if row.vtep and (":" in row.vtep) != (":" in local):
            return KernelError(errno.EAFNOSUPPORT, operation)
        if row.vtep:
            table.fdb[row.mac] = row.vtep
        table.neighbours.update(dict.fromkeys(row.addresses, row.mac))
        return None

    def _delete(
        self, name: str, table: FakeTable, row: Row, operation: str, *, kept: bool, addresses: Collection[str]
    ) -> KernelError | None:
        if refused := self.faults.check("delete_row", name, operation):
            return refused
        if row.vtep and not kept:
            table.fdb.pop(row.mac, None)
        for address in row.addresses:
            if address not in addresses and table.neighbours.get(address) == row.mac:
                del table.neighbours[address]
        return None
