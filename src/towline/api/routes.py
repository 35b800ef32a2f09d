"""The table of everything that is served."""

from __future__ import annotations

from towline.api import (
    cluster,
    containers,
    events,
    networks,
    nodes,
    own,
    sandboxes,
    services,
    swarm,
    swarm_objects,
    system,
)
from towline.api.call import Handler
from towline.api.router import Router

DOCKER: dict[tuple[str, str], Handler] = {
    ("GET", "/_ping"): system.ping,
    ("HEAD", "/_ping"): system.ping,
    ("GET", "/version"): system.version,
    ("GET", "/info"): system.info,
    ("GET", "/events"): events.events,
    ("GET", "/containers/json"): containers.list_containers,
    ("GET", "/networks"): networks.list_networks,
    ("GET", "/networks/"): networks.list_networks,
    ("POST", "/networks/create"): networks.create_network,
    ("POST", "/networks/prune"): networks.prune_networks,
    ("GET", "/swarm"): swarm.inspect,
    ("GET", "/swarm/unlockkey"): swarm.unlock_key,
    ("POST", "/swarm/init"): swarm.init,
    ("POST", "/swarm/join"): swarm.join,
    ("POST", "/swarm/leave"): swarm.leave,
    ("POST", "/swarm/update"): swarm.update,
    ("POST", "/swarm/unlock"): swarm.unlock,
    ("GET", "/nodes"): nodes.list_nodes,
    ("GET", "/services"): services.docker_list,
    **swarm_objects.EXACT,
}
NETWORK: dict[tuple[str, str], Handler] = {
    ("GET", ""): networks.inspect_network,
    ("DELETE", ""): networks.remove_network,
    ("POST", "/connect"): networks.connect,
    ("POST", "/disconnect"): networks.disconnect,
}
CONTAINER: dict[tuple[str, str], Handler] = {
    ("GET", "/json"): containers.inspect_container,
    ("GET", "/top"): containers.top,
    ("GET", "/logs"): containers.logs,
}
OBJECT: dict[tuple[str, str, str], Handler] = {
    ("GET", "/nodes", ""): nodes.inspect_node,
    ("DELETE", "/nodes", ""): nodes.remove_node,
    ("POST", "/nodes", "/update"): nodes.update_node,
    ("GET", "/services", ""): services.docker_inspect,
    ("DELETE", "/services", ""): services.docker_remove,
    **swarm_objects.BY_ID,
}
OWN: dict[tuple[str, str], Handler] = {
    ("GET", "/towline/v1/networks/{id}/leases"): own.leases,
    ("GET", "/towline/v1/diagnose"): own.diagnose,
    ("POST", "/towline/v1/repair"): own.repair,
    ("GET", "/towline/v1/state"): own.state,
    ("GET", "/towline/v1/sandboxes"): sandboxes.list_all,
    ("POST", "/towline/v1/sandboxes"): sandboxes.create,
    ("GET", "/towline/v1/sandboxes/{id}"): sandboxes.inspect,
    ("DELETE", "/towline/v1/sandboxes/{id}"): sandboxes.remove,
    ("POST", "/towline/v1/sandboxes/{id}/start"): sandboxes.start,
    ("POST", "/towline/v1/sandboxes/{id}/stop"): sandboxes.stop,
    ("GET", "/towline/v1/sandboxes/{id}/logs"): containers.logs,
    ("GET", "/towline/v1/sandboxes/{id}/explain"): sandboxes.explain,
    ("GET", "/towline/v1/services"): services.list_own,
    ("POST", "/towline/v1/services"): services.create,
    ("GET", "/towline/v1/services/{id}"): services.inspect,
    ("DELETE", "/towline/v1/services/{id}"): services.remove,
    ("POST", "/towline/v1/services/{id}/update"): services.update,
    ("GET", "/towline/v1/cluster"): cluster.status,
    ("POST", "/towline/v1/cluster/rotate-key"): cluster.rotate_key,
    ("GET", "/towline/v1/cluster/backup"): cluster.backup,
    ("POST", "/towline/v1/cluster/restore"): cluster.restore,
    ("POST", "/towline/v1/cluster/managers"): cluster.managers,
    ("GET", "/towline/v1/openapi.json"): own.openapi,
}


def router() -> Router[Handler]:
    return Router(DOCKER, NETWORK, CONTAINER, OBJECT, OWN)
