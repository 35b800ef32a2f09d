"""Docker's events of a swarm, from what changed in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from towline.cluster.contract import Update
from towline.cluster.copy import ClusterCopy
from towline.model.events import Event
from towline.policy.swarm_events import CREATED, network_event, node_event, service_event


def news(update: Update, before: ClusterCopy, now: int) -> Iterator[Event]:
    """A snapshot is no news. before: the copy without the update. now: nanoseconds since the epoch."""
    if update.snapshot:
        return
    for network in update.networks:
        for action in CREATED if network.id not in before.networks else CREATED[1:]:
            yield network_event(action, network.id, network.name, now)
    for network_id in update.gone_networks:
        yield network_event("remove", network_id, before.networks.get(network_id, ""), now)
    for service in update.services:
        yield service_event("update" if service.id in before.services else "create", service, now)
    for service_id in update.gone_services:
        if (gone := before.services.get(service_id)) is not None:
            yield service_event("remove", gone, now)
    changed = [node.id for node in update.nodes] + [alive.node for alive in update.alive]
    concerned = dict.fromkeys([*changed, *update.gone_nodes, *update.gone_alive])
    after = before.part(concerned)
    after.apply(update)
    for node_id in concerned:
        event = node_event(before.status(node_id), after.status(node_id), now)
        if event is not None:
            yield event
