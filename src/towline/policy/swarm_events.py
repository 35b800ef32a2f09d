"""What /events tells of a cluster: its networks, services and nodes, with scope "swarm" (moby daemon/events.go).

A network's creation is told when a node learns of it, with its name only. What happens to it on this host (`connect`,
the first endpoint's `create`, the last one's `destroy`) has the scope "local" and is told by whoever makes it.
"""

from __future__ import annotations

from typing import Literal

from towline.model.cluster import NodeStatus
from towline.model.events import Event
from towline.model.service import Service

Action = Literal["create", "update", "remove"]
SCOPE = "swarm"


CREATED: tuple[Action, Action] = ("create", "update")
"""What Docker tells of a new network: the update is when it has its subnets, which is at once here."""


def network_event(action: Action, network_id: str, name: str, now: int) -> Event:
    """now: nanoseconds since the epoch."""
    return Event("network", action, network_id, {"name": name}, SCOPE, now)


def service_event(action: Action, service: Service, now: int) -> Event:
    """Docker also tells of the progress of updates, of which there is none here: a service is changed at once."""
    return Event("service", action, service.id, {"name": service.name}, SCOPE, now)


def node_event(old: NodeStatus | None, new: NodeStatus | None, now: int) -> Event | None:
    """What became of a node; an update tells what of it changed. None if nothing did that Docker tells of."""
    status = new or old
    if status is None:
        return None
    attributes = {"name": status.node.spec.name or status.node.description.hostname}
    if old is None or new is None:
        return Event("node", "create" if new else "remove", status.node.id, attributes, SCOPE, now)
    if old.node == new.node and _shown(old) == _shown(new):
        return None
    before, after = _shown(old), _shown(new)
    for key in before.keys() & after.keys():
        if before[key] != after[key]:
            attributes |= {f"{key}.old": before[key], f"{key}.new": after[key]}
    return Event("node", "update", status.node.id, attributes, SCOPE, now)


def _shown(status: NodeStatus) -> dict[str, str]:
    """What Docker tells of a change; of its leadership only while it stays a manager."""
    node = status.node
    shown = {
        "availability": node.spec.availability,
        "role": "manager" if node.manager_address else "worker",
        "state": status.state,
    }
    if node.manager_address:
        shown["leader"] = str(status.leader).lower()
        shown["reachability"] = "reachable" if status.reachable else "unreachable"
    return shown
