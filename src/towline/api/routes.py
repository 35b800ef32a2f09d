"""The table of everything that is served."""

from __future__ import annotations

from towline.api import containers, events, networks, own, sandboxes, system
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
    ("GET", "/towline/v1/openapi.json"): own.openapi,
}


def router() -> Router[Handler]:
    return Router(DOCKER, NETWORK, CONTAINER, OWN)
