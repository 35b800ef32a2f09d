"""/swarm: begin, join, leave, inspect, update, unlock (moby daemon/server/router/swarm)."""

from __future__ import annotations

from aiohttp import web

from towline.api import body, wire_swarm
from towline.api.call import Call, empty_answer, json_value
from towline.api.gotext import loose_bool, parse_uint
from towline.api.gotext import parse_bool as parse_go_bool
from towline.model.errors import InvalidParameter
from towline.model.requests import UpdateSwarm

_INIT = body.shape(wire_swarm.InitRequest, wire_swarm.GO_INIT)
_JOIN = body.shape(wire_swarm.JoinRequest, wire_swarm.GO_JOIN)
_SPEC = body.shape(wire_swarm.SpecRequest, wire_swarm.GO_SPEC)
_UNLOCK = body.shape(wire_swarm.UnlockRequest, wire_swarm.GO_UNLOCK)


async def init(call: Call) -> web.Response:
    request = await body.read(call.request, _INIT)
    return json_value(await call.engine.cluster.init_swarm(wire_swarm.init_swarm(request, call.version)))


async def join(call: Call) -> web.Response:
    request = await body.read(call.request, _JOIN)
    await call.engine.cluster.join_swarm(wire_swarm.join_swarm(request))
    return empty_answer()


async def leave(call: Call) -> web.Response:
    await call.engine.cluster.leave_swarm(force=loose_bool(call.query.get("force", "")))
    return empty_answer()


async def inspect(call: Call) -> web.Response:
    return json_value(wire_swarm.swarm(await call.engine.cluster.swarm()))


async def update(call: Call) -> web.Response:
    request: wire_swarm.SpecRequest = await body.read(call.request, _SPEC)
    await call.engine.cluster.update_swarm(
        UpdateSwarm(
            version=parse_uint("swarm version", call.query.get("version", "")),
            spec=request.members(),
            rotate_worker_token=_flag(call, "rotateWorkerToken"),
            rotate_manager_token=_flag(call, "rotateManagerToken"),
            rotate_unlock_key=_flag(call, "rotateManagerUnlockKey"),
        )
    )
    return empty_answer()


async def unlock(call: Call) -> web.Response:
    request = await body.read(call.request, _UNLOCK)
    await call.engine.cluster.unlock_swarm(request.unlock_key)
    return empty_answer()


async def unlock_key(call: Call) -> web.Response:
    return json_value({"UnlockKey": await call.engine.cluster.unlock_key()})


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name, "")
    try:
        return parse_go_bool(name, text)
    except InvalidParameter:
        raise InvalidParameter(f"invalid value for {name}: {text}") from None
