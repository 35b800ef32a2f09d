"""The `Tunnels` contract in the namespace for overlay networks (`apart`), by the names that links have for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from towline.kernel.apart import Apart
from towline.kernel.vxlan import RtnlTunnels
from towline.model.desired import Row, Vxlan, kernel_name
from towline.model.errors import KernelError

Results = list[KernelError | None]


class ApartTunnels:
    """inner: a client in that namespace."""

    def __init__(self, inner: RtnlTunnels, place: Apart) -> None:
        self.inner = inner
        self._place = place

    def close(self) -> None:
        self.inner.close()

    def create(self, tunnels: Sequence[Vxlan]) -> Results:
        return self.inner.create([_there(tunnel) for tunnel in tunnels])

    def repair(self, tunnels: Sequence[Vxlan]) -> Results:
        return self.inner.repair([_there(tunnel) for tunnel in tunnels])

    def silence(self, names: Sequence[str]) -> Results:
        return self.inner.silence([kernel_name(name) for name in names])

    def set_rows(self, name: str, puts: Sequence[Row], gone: Sequence[Row]) -> KernelError | None:
        return self.inner.set_rows(kernel_name(name), puts, gone)

    def announce(self, bridge: str, rows: Sequence[Row]) -> KernelError | None:
        with self._place.inside():
            return self.inner.announce(kernel_name(bridge), rows)

    def rows(self, name: str) -> list[Row]:
        return self.inner.rows(kernel_name(name))


def _there(tunnel: Vxlan) -> Vxlan:
    return msgspec.structs.replace(tunnel, name=kernel_name(tunnel.name), bridge=kernel_name(tunnel.bridge))
