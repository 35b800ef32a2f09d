"""/towline/v1/sandboxes: create, list, inspect, start, stop, remove."""

from __future__ import annotations

import re

from aiohttp import web

from towline.api import body, wire_sandbox
from towline.api.call import Call, empty_answer, json_value
from towline.api.containers import find, joined
from towline.api.gotext import parse_bool
from towline.model.errors import InvalidParameter
from towline.policy.filters import ContainerFilter, parse

_GRACE = 10.0
_LONGEST_GRACE = 24 * 3600


async def create(call: Call) -> web.Response:
    request = await body.read_own(call.request, wire_sandbox.SandboxRequest)
    created = await call.engine.create_sandbox(wire_sandbox.create_sandbox(request))
    return json_value({"id": created.id, "warning": created.warning}, 201)


async def list_all(call: Call) -> web.Response:
    wanted = ContainerFilter(parse(call.query.get("filters", "")))
    pairs = ((sandbox, joined(call, sandbox, whole=True)) for sandbox in call.engine.sandboxes())
    return json_value(
        [
            wire_sandbox.sandbox(sandbox, networks)
            for sandbox, networks in pairs
            if wanted.matches(sandbox, (network for _, network in networks))
        ]
    )


async def inspect(call: Call) -> web.Response:
    sandbox = find(call)
    return json_value(wire_sandbox.sandbox(sandbox, joined(call, sandbox, whole=True)))


async def start(call: Call) -> web.Response:
    request = await body.read_own(call.request, wire_sandbox.StartRequest)
    return json_value(await call.engine.start_sandbox(call.term, process=wire_sandbox.process(request.process)))


async def stop(call: Call) -> web.Response:
    stopped = await call.engine.stop_sandbox(call.term, grace=_grace(call.query.get("t", "")))
    return empty_answer(204 if stopped else 304)


async def explain(call: Call) -> web.Response:
    return json_value(await call.engine.explain(call.term))


async def remove(call: Call) -> web.Response:
    await call.engine.remove_sandbox(call.term, force=parse_bool("force", call.query.get("force", "")))
    return empty_answer(204)


def _grace(text: str) -> float:
    """Seconds; InvalidParameter."""
    if not text:
        return _GRACE
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) > _LONGEST_GRACE:
        raise InvalidParameter(f"invalid value for t: {text[:40]}: whole seconds, at most {_LONGEST_GRACE}")
    return float(text)
