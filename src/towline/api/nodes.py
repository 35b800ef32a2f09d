"""/nodes: list, inspect, update, remove (moby daemon/server/router/swarm)."""

from __future__ import annotations

from aiohttp import web

from towline.api import body, wire_node
from towline.api.call import Call, empty_answer, json_value
from towline.api.gotext import loose_bool, parse_uint
from towline.policy import filters
from towline.policy.swarm_nodes import NodeFilter, check_spec, find

_SPEC = body.shape(wire_node.NodeSpecRequest, wire_node.GO_NODE_SPEC)


async def list_nodes(call: Call) -> web.Response:
    asked = filters.parse(call.query.get("filters", ""))
    nodes = await call.engine.cluster.nodes()
    wanted = NodeFilter(asked)
    ca = _ca(call)
    return json_value([wire_node.node(status, ca) for status in nodes if wanted.matches(status)])


async def inspect_node(call: Call) -> web.Response:
    nodes = await call.engine.cluster.nodes()
    return json_value(wire_node.node(find(nodes, call.term, _own(call)), _ca(call)))


async def update_node(call: Call) -> web.Response:
    request: wire_node.NodeSpecRequest = await body.read(call.request, _SPEC)
    version = parse_uint("node version", call.query.get("version", ""))
    cluster = call.engine.cluster
    nodes = await cluster.nodes()
    spec = check_spec(request.role, request.availability, request.name, request.labels or {})
    await cluster.update_node(find(nodes, call.term, _own(call)).node.id, version, spec)
    return empty_answer()


async def remove_node(call: Call) -> web.Response:
    cluster = call.engine.cluster
    found = find(await cluster.nodes(), call.term, _own(call))
    await cluster.remove_node(found.node.id, force=loose_bool(call.query.get("force", "")))
    return empty_answer()


def _own(call: Call) -> str:
    return call.engine.cluster.state.node_id


def _ca(call: Call) -> str:
    cluster = call.engine.cluster.state.cluster
    return cluster.ca if cluster is not None else ""
