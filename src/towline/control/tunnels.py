"""VXLAN devices of networks that come and go on this node. Runs in the writer thread."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence

from towline.kernel.contract import Kernel
from towline.model.desired import Vxlan
from towline.model.errors import TowlineError
from towline.model.network import Network
from towline.model.view import View
from towline.plan.rows import rows_of

log = logging.getLogger(__name__)


class TunnelMaker:
    """retire, reclaim, need_repair: see `Applier`."""

    def __init__(
        self,
        kernel: Kernel,
        view: View,
        *,
        retire: Callable[[Sequence[str]], None],
        reclaim: Callable[[str], None],
        need_repair: Callable[[], None],
    ) -> None:
        self._kernel = kernel
        self._view = view
        self._retire = retire
        self._reclaim = reclaim
        self._need_repair = need_repair
        self._leaving: dict[tuple[int, int], str] = {}

    def make(self, network: Network, tunnel: Vxlan) -> TowlineError | None:
        """With the rows of the peers that are known. A row that is refused is drift, not a reason to fail."""
        self._reclaim(tunnel.name)
        if (former := self._leaving.pop((tunnel.vni, tunnel.port), "")) not in ("", tunnel.name):
            self._reclaim(former)  # until it is unlinked it holds the VXLAN id
        if (error := self._kernel.tunnels.create([tunnel])[0]) is not None:
            return error
        refused = self._kernel.tunnels.set_rows(tunnel.name, rows_of(self._view.peers_of(network.id), tunnel.local), ())
        if refused is not None:
            fields = {"network": network.name, "link": tunnel.name, "error": str(refused)}
            log.error("rows of a tunnel could not be set", extra={"fields": fields})
            self._need_repair()
        return None

    def discard(self, tunnel: Vxlan) -> None:
        """What `make` made. Its MAC is made from the network's id: a link with another one was not made by us."""
        link = self._kernel.links.find(tunnel.name)
        if link is not None and link.mac == tunnel.mac:
            self.drop([tunnel])

    def drop(self, tunnels: Sequence[Vxlan]) -> None:
        """Silent at once, unlinked later."""
        names = [tunnel.name for tunnel in tunnels]
        if not names:
            return
        for name, error in zip(names, self._kernel.tunnels.silence(names), strict=True):
            if error is not None and error.errno != errno.ENODEV:
                log.warning("link could not be set down", extra={"fields": {"link": name, "error": str(error)}})
        self._leaving.update({(tunnel.vni, tunnel.port): tunnel.name for tunnel in tunnels})
        self._retire(names)
