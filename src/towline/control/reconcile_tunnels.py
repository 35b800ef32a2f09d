"""The part of reconcile that looks after VXLAN devices and their rows. Runs in the writer thread."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping

from towline.control.compare import Difference
from towline.control.compare_tunnels import compare_rows, compare_tunnel
from towline.control.tunnel_acts import MakeTunnel, RepairTunnel, SetRows
from towline.control.work import Realisation
from towline.drivers.overlay import bridge_of_tunnel
from towline.drivers.registry import Drivers
from towline.kernel.contract import Kernel, Link
from towline.model.desired import Row, Vxlan
from towline.model.errors import KernelError
from towline.model.network import Network
from towline.model.view import View
from towline.plan.presence import desired_now
from towline.plan.rows import rows_of

TunnelAct = MakeTunnel | RepairTunnel | SetRows


class TunnelReconciler:
    def __init__(self, view: View, kernel: Kernel, drivers: Drivers) -> None:
        self._view = view
        self._kernel = kernel
        self._drivers = drivers

    def named(self, name: str) -> tuple[Network, Vxlan] | None:
        """The tunnel of this name that the store wants, and its network; from memory alone."""
        network = self._view.network_with_link(bridge_of_tunnel(name))
        tunnel = desired_now(network, self._view, self._drivers).tunnel if network is not None else None
        return (network, tunnel) if network is not None and tunnel is not None and tunnel.name == name else None

    def compare(self, realisations: Iterable[Realisation], links: Mapping[str, Link]) -> Iterator[Difference]:
        """links: all there are, by name."""
        for realisation in realisations:
            if (tunnel := realisation.desired.tunnel) is not None:
                yield from self._compare(realisation.network, tunnel, links)

    def compare_one(self, network: Network, tunnel: Vxlan) -> list[Difference]:
        """Device and rows."""
        links = {end: self._kernel.links.find(end) for end in (tunnel.name, tunnel.bridge)}
        return list(self._compare(network, tunnel, links))

    def _compare(self, network: Network, tunnel: Vxlan, links: Mapping[str, Link | None]) -> Iterator[Difference]:
        """A device that is not as it should be gets all its rows with its repair."""
        wanted = self._rows(network, tunnel)
        found = compare_tunnel(network, tunnel, wanted, links.get(tunnel.name), links.get(tunnel.bridge))
        if found is not None:
            yield found
        else:
            yield from self.compare_rows(network, tunnel)

    def compare_rows(self, network: Network, tunnel: Vxlan) -> list[Difference]:
        try:
            rows = self._kernel.tunnels.rows(tunnel.name)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return []  # that its device is missing is found on its own
        found = compare_rows(network, tunnel, self._rows(network, tunnel), rows)
        return [] if found is None else [found]

    def _rows(self, network: Network, tunnel: Vxlan) -> tuple[Row, ...]:
        return rows_of(self._view.peers_of(network.id), tunnel.local, tunnel.secure)

    def carry_out(self, act: TunnelAct) -> None:
        """KernelError if the kernel refuses."""
        tunnels = self._kernel.tunnels
        match act:
            case MakeTunnel(tunnel=tunnel, rows=rows):
                _raise(tunnels.create([tunnel])[0])
                _raise(tunnels.set_rows(tunnel.name, rows, ()))
            case RepairTunnel(tunnel, rows):
                _raise(tunnels.repair([tunnel])[0])
                _raise(tunnels.set_rows(tunnel.name, rows, ()))
            case SetRows(name, puts, gone):
                _raise(tunnels.set_rows(name, puts, gone))


def _raise(error: KernelError | None) -> None:
    if error is not None:
        raise error
