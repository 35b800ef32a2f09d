"""/networks: list, inspect, create, remove, prune, connect, disconnect (moby daemon/server/router/network)."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from towline.api import body, wire_endpoint, wire_in, wire_out, wire_service
from towline.api.call import Call, empty_answer, json_answer, json_value
from towline.api.gotext import parse_bool
from towline.model.endpoint import Endpoint
from towline.model.errors import InvalidParameter, NotFound
from towline.model.network import Network
from towline.model.sandbox import MESH
from towline.policy import resolve
from towline.policy.filters import NetworkFilter, PruneFilter, parse

_PRUNE_SINCE = (1, 25)
_SCOPE_SINCE = (1, 31)

_CREATE = body.shape(wire_in.CreateRequest, wire_in.GO_CREATE)
_CONNECT = body.shape(wire_endpoint.ConnectRequest, wire_endpoint.GO_CONNECT)
_DISCONNECT = body.shape(wire_endpoint.DisconnectRequest, wire_endpoint.GO_DISCONNECT)


async def list_networks(call: Call) -> web.Response:
    engine, fragments = call.engine, call.fragments
    filters = parse(call.query.get("filters", ""))
    everything = engine.networks()
    visible = everything if engine.cluster.state.manager else [n for n in everything if _is_visible(call, n)]
    networks = _select(call, NetworkFilter(filters), visible) if filters else visible
    items = [fragments.of(network) for network in networks]
    if call.version < wire_out.LIST_WITHOUT_CONTAINERS:
        endpoints = (_live(call, network.id) for network in networks)
        items = [wire_out.old_list_item(*pair) for pair in zip(items, endpoints, strict=True)]
    fragments.forget_all_but(everything, len(everything))
    return json_answer(b"[%b]\n" % b",".join(items))


def _select(call: Call, wanted: NetworkFilter, networks: list[Network]) -> list[Network]:
    def in_use(network_id: str) -> bool:
        return bool(_live(call, network_id) or call.engine.services_on(network_id))

    return [network for network in networks if wanted.matches(network, in_use)]


async def inspect_network(call: Call) -> web.Response:
    verbose = parse_bool("verbose", call.query.get("verbose", ""))
    scope = call.query.get("scope", "") if call.version >= _SCOPE_SINCE else ""
    network = resolve.for_get(_Visible(call), call.term, scope)
    with_status = call.version >= wire_out.INSPECT_WITH_STATUS
    return json_answer(
        wire_out.inspect(
            call.fragments.of(network),
            _live(call, network.id),
            call.engine.subnet_status(network.id) if with_status else None,
            call.engine.cluster.peers(network.id) if network.scope == "swarm" else (),
            _services(call, network.id) if verbose and network.scope == "swarm" else None,
        )
    )


def _services(call: Call, network_id: str) -> dict[str, Any]:
    engine = call.engine
    return wire_service.on_network(
        network_id,
        engine.services_on(network_id),
        _live(call, network_id),
        engine.peers_of(network_id),
        engine.cluster.state.address,
    )


async def create_network(call: Call) -> web.Response:
    request = await body.read(call.request, _CREATE)
    created = await call.engine.create_network(wire_in.create_network(request, call.version), wait=_waits(call))
    return json_value({"Id": created.id, "Warning": created.warning}, 201)


async def remove_network(call: Call) -> web.Response:
    state = call.engine.cluster.state
    if state.state != "inactive" and not state.manager:
        _refuse_on_worker(call)
    await call.engine.remove_network(call.term, wait=_waits(call))
    return empty_answer(204)


async def prune_networks(call: Call) -> web.Response:
    if call.version < _PRUNE_SINCE:
        raise InvalidParameter("POST /networks/prune requires minimum API version 1.25")
    spare = PruneFilter(parse(call.query.get("filters", "")), time.time_ns())
    removed = await call.engine.prune_networks(spare.keeps, wait=_waits(call))
    return json_value({"NetworksDeleted": removed or None})


async def connect(call: Call) -> web.Response:
    request: wire_endpoint.ConnectRequest = await body.read(call.request, _CONNECT)
    config = wire_endpoint.endpoint_config(request.endpoint_config, call.version)
    await call.engine.connect(call.term, _container(request.container), config)
    return empty_answer()


async def disconnect(call: Call) -> web.Response:
    request: wire_endpoint.DisconnectRequest = await body.read(call.request, _DISCONNECT)
    await call.engine.disconnect(call.term, _container(request.container), force=bool(request.force))
    return empty_answer()


def _is_visible(call: Call, network: Network) -> bool:
    """A node that is no manager shows a swarm network while it has endpoints on it."""
    return network.scope != "swarm" or call.engine.cluster.state.manager or bool(call.engine.endpoints_of(network.id))


class _Visible:
    """The networks that this node shows, as a `resolve.Lookup`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def network(self, network_id: str, /) -> Network | None:
        return self._shown(self._call.engine.network(network_id))

    def network_named(self, name: str, /) -> Network | None:
        return self._shown(self._call.engine.network_named(name))

    def networks(self) -> list[Network]:
        return [network for network in self._call.engine.networks() if _is_visible(self._call, network)]

    def _shown(self, network: Network | None) -> Network | None:
        return network if network is not None and _is_visible(self._call, network) else None


def _refuse_on_worker(call: Call) -> None:
    """On a worker, swarm networks cannot be removed: Docker says that there are none."""
    if resolve.for_delete(call.engine, call.term).scope == "swarm":
        raise NotFound(f"network {call.term} not found")


def _live(call: Call, network_id: str) -> list[Endpoint]:
    """Of sandboxes that run, the routing mesh's among them; the others have an identity, and are not there."""
    return [endpoint for endpoint in call.engine.endpoints_of(network_id) if _is_there(call, endpoint)]


def _is_there(call: Call, endpoint: Endpoint) -> bool:
    if not endpoint.sandbox or endpoint.sandbox == MESH:
        return not endpoint.sandbox or bool(endpoint.ifname)
    sandbox = call.engine.sandbox(endpoint.sandbox)
    return sandbox is not None and sandbox.state == "running"


def _container(name: str | None) -> str:
    if not name:
        raise InvalidParameter('invalid name or ID supplied: ""')
    return name


def _waits(call: Call) -> bool:
    """Towline's `?wait=1`: answer when the kernel is done, not when the network is gone for its users."""
    return parse_bool("wait", call.query.get("wait", ""))
