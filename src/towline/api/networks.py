"""/networks: list, inspect, create, remove, prune, connect, disconnect (moby daemon/server/router/network)."""

from __future__ import annotations

import time

from aiohttp import web

from towline.api import body, wire_endpoint, wire_in, wire_out
from towline.api.call import Call, empty_answer, json_answer, json_value
from towline.api.gotext import parse_bool
from towline.model.endpoint import Endpoint
from towline.model.errors import InvalidParameter
from towline.model.network import Network
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
    networks = _select(call, NetworkFilter(filters), everything) if filters else everything
    items = [fragments.of(network) for network in networks]
    if call.version < wire_out.LIST_WITHOUT_CONTAINERS:
        endpoints = (_live(call, network.id) for network in networks)
        items = [wire_out.old_list_item(*pair) for pair in zip(items, endpoints, strict=True)]
    fragments.forget_all_but(everything, len(everything))
    return json_answer(b"[%b]\n" % b",".join(items))


def _select(call: Call, wanted: NetworkFilter, networks: list[Network]) -> list[Network]:
    def in_use(network_id: str) -> bool:
        return bool(_live(call, network_id))

    return [network for network in networks if wanted.matches(network, in_use)]


async def inspect_network(call: Call) -> web.Response:
    parse_bool("verbose", call.query.get("verbose", ""))
    scope = call.query.get("scope", "") if call.version >= _SCOPE_SINCE else ""
    network = resolve.for_get(call.engine, call.term, scope)
    with_status = call.version >= wire_out.INSPECT_WITH_STATUS
    return json_answer(
        wire_out.inspect(
            call.fragments.of(network),
            _live(call, network.id),
            call.engine.subnet_status(network.id) if with_status else None,
        )
    )


async def create_network(call: Call) -> web.Response:
    request = await body.read(call.request, _CREATE)
    created = await call.engine.create_network(wire_in.create_network(request, call.version), wait=_waits(call))
    return json_value({"Id": created.id, "Warning": created.warning}, 201)


async def remove_network(call: Call) -> web.Response:
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


def _live(call: Call, network_id: str) -> list[Endpoint]:
    """Endpoints of sandboxes that run; the others have an identity, and are not there."""
    endpoints = call.engine.endpoints_of(network_id)
    return [endpoint for endpoint in endpoints if not endpoint.sandbox or _runs(call, endpoint.sandbox)]


def _runs(call: Call, sandbox_id: str) -> bool:
    sandbox = call.engine.sandbox(sandbox_id)
    return sandbox is not None and sandbox.state == "running"


def _container(name: str | None) -> str:
    if not name:
        raise InvalidParameter('invalid name or ID supplied: ""')
    return name


def _waits(call: Call) -> bool:
    """Towline's `?wait=1`: answer when the kernel is done, not when the network is gone for its users."""
    return parse_bool("wait", call.query.get("wait", ""))
