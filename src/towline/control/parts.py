"""This host's own parts of networks of the cluster (`plan.part`): made for their first endpoint here, given up after
the last. The kernel holds one as long as it holds any network of the cluster: while an endpoint here is plugged in.
"""

from __future__ import annotations

import asyncio
import logging

from towline.control.host import HostPrefixes
from towline.control.work import Work
from towline.control.writer import Writer
from towline.drivers.registry import Drivers
from towline.ipam.networks import release_network
from towline.ipam.registry import IpamDrivers
from towline.model.errors import NotFound, TowlineError
from towline.model.network import Network
from towline.model.view import View
from towline.plan.part import plan_part, source_of
from towline.plan.presence import needs_part
from towline.store.contract import Put

log = logging.getLogger(__name__)


class Parts:
    """Event loop only."""

    def __init__(self, view: View, writer: Writer, drivers: Drivers, ipams: IpamDrivers, host: HostPrefixes) -> None:
        self._view = view
        self._writer = writer
        self._drivers = drivers
        self._ipams = ipams
        self._host = host
        self._dropping: dict[str, asyncio.Task[None]] = {}

    def needed(self, network: Network) -> bool:
        return needs_part(network, self._drivers)

    async def make(self, network_id: str) -> None:
        """Nothing if it is there. NotFound: the network, or this host's configuration for it; what the driver and the
        addresses refuse."""
        if self._host.stale:
            await self._writer.exclusive(self._host.refresh)
        await self._writer.submit(lambda view: self._making(view, network_id))

    def _making(self, view: View, network_id: str) -> Work:
        network = view.network(network_id)
        if network is None:
            raise NotFound(f"network {network_id} not found")
        if not self.needed(network):
            return Work(changes=[])
        source = source_of(network, view)
        ipam = self._ipams.get(source.ipam_driver or "default")
        driver = self._drivers.get(network.driver)
        part = plan_part(network, source, driver, view, ipam=ipam, in_use=self._host.current)
        return Work(changes=[Put(part)], revert=[Put(network)], abandon=lambda: release_network(ipam, part, ()))

    def drop_if_unused(self, network_id: str) -> None:
        if network_id not in self._dropping and self._is_unused(self._view, network_id) is not None:
            task = asyncio.get_running_loop().create_task(self._drop(network_id))
            self._dropping[network_id] = task
            task.add_done_callback(lambda _: self._dropping.pop(network_id, None))

    def _is_unused(self, view: View, network_id: str) -> Network | None:
        network = view.network(network_id)
        unused = network is not None and network.whole is not None and not view.endpoints_of(network_id)
        return network if unused else None

    async def _drop(self, network_id: str) -> None:
        try:
            await self._writer.submit(lambda view: self._dropped(view, network_id))
        except TowlineError as error:
            what = {"network": network_id, "error": str(error)}
            log.warning("a network of the cluster keeps its addresses on this host", extra={"fields": what})

    def _dropped(self, view: View, network_id: str) -> Work:
        part = self._is_unused(view, network_id)
        if part is None or part.whole is None:
            return Work(changes=[])
        ipam = self._ipams.get(part.ipam_driver)
        return Work(
            changes=[Put(part.whole)], revert=[Put(part)], final=True, settle=lambda: release_network(ipam, part, ())
        )

    async def close(self) -> None:
        """Wait for those that are going."""
        await asyncio.gather(*self._dropping.values(), return_exceptions=True)
