"""Networks of the cluster as records of this node: one commit for all that came and went."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from towline.control.work import Work
from towline.drivers.registry import Drivers
from towline.ipam.networks import release_network
from towline.ipam.registry import IpamDrivers
from towline.ipam.restore import restore_network
from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.errors import TowlineError
from towline.model.network import SWARM, Network
from towline.model.view import View
from towline.plan.presence import is_spanning
from towline.store.contract import Change, Delete, Put

log = logging.getLogger(__name__)


class Mirror:
    """Plans on the event loop, as all planners do: addresses are taken at once."""

    def __init__(self, drivers: Drivers, ipams: IpamDrivers) -> None:
        self._drivers = drivers
        self._ipams = ipams

    def plan(self, view: View, puts: Sequence[Network], gone: Sequence[str]) -> Work:
        changes: list[Change] = []
        taken: list[Network] = []
        for network in puts:
            if (record := self._record(network, view)) is not None:
                changes.append(Put(record))
                if view.network(record.id) is None and self._restore(record):
                    taken.append(record)
        lost = [n for n in map(view.network, gone) if n is not None and n.scope == SWARM]
        held = [(network, view.endpoints_of(network.id)) for network in lost]
        for network, endpoints in held:
            changes += _deletions(view, network, endpoints)

        def settle() -> None:
            for network, endpoints in held:
                self._release(network, endpoints)

        def abandon() -> None:
            for network in taken:
                self._release(network, ())

        return Work(changes=changes, settle=settle, abandon=abandon)

    def _record(self, network: Network, view: View) -> Network | None:
        """As this node keeps it; None for one that it cannot keep."""
        if network.scope != SWARM:
            fields = {"network": network.id, "scope": network.scope}
            log.error("a network of the cluster that is none is ignored", extra={"fields": fields})
            return None
        other = view.network_named(network.name)
        if other is not None and other.id != network.id:
            fields = {"network": network.name, "here": other.id, "cluster": network.id}
            log.warning("two networks have one name: name them by their ids", extra={"fields": fields})
        ready = replace(network, phase="ready")
        known = view.network(network.id)
        if known is not None and known.whole is not None:
            return replace(known, whole=ready)
        if ready.link or not is_spanning(ready, self._drivers):
            return ready
        try:
            return self._drivers.get(ready.driver).admit(ready, view)
        except TowlineError as error:
            fields = {"network": network.name, "error": str(error)}
            log.error("a network of the cluster cannot be made on this node", extra={"fields": fields})
            return ready

    def _restore(self, network: Network) -> bool:
        if not network.pools:
            return False
        try:
            restore_network(self._ipams.get(network.ipam_driver), network, ())
        except TowlineError as error:
            fields = {"network": network.name, "error": str(error)}
            log.error("addresses of a network of the cluster cannot be handed out", extra={"fields": fields})
            return False
        return True

    def _release(self, network: Network, endpoints: Sequence[Endpoint]) -> None:
        if network.pools:
            release_network(self._ipams.get(network.ipam_driver), network, endpoints)


def _deletions(view: View, network: Network, endpoints: Sequence[Endpoint]) -> list[Change]:
    return [
        Delete(Network, network.id),
        *(Delete(Endpoint, endpoint.id) for endpoint in endpoints),
        *(Delete(Peer, peer.id) for peer in view.peers_of(network.id)),
        *(Delete(Block, block.id) for block in view.blocks_of(network.id)),
    ]
