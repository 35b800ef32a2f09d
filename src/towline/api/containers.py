"""/containers: sandboxes as Docker shows containers, read-only (moby daemon/server/router/container)."""

from __future__ import annotations

import asyncio
import re
import time

from aiohttp import web

from towline.api import logs as log_stream
from towline.api import processes, wire_container
from towline.api.call import Call, json_value
from towline.api.gotext import parse_bool, quote
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, InvalidParameter, NotFound
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.policy.filters import ContainerFilter, parse

_PS_ARGS = ("", "-ef")


async def list_containers(call: Call) -> web.Response:
    limit = _limit(call.query.get("limit", ""))
    everything = parse_bool("all", call.query.get("all", ""))
    wanted = ContainerFilter(parse(call.query.get("filters", "")))
    everything = everything or limit > 0 or wanted.shows_ended
    now = time.time_ns()
    shown = []
    for sandbox in reversed(call.engine.sandboxes()):
        if not everything and sandbox.state != "running":
            continue
        pairs = joined(call, sandbox)
        if wanted.matches(sandbox, (network for _, network in pairs)):
            shown.append(wire_container.list_item(sandbox, pairs, call.version, now))
        if limit and len(shown) == limit:
            break
    return json_value(shown)


async def inspect_container(call: Call) -> web.Response:
    sandbox = find(call)
    return json_value(wire_container.inspect(sandbox, joined(call, sandbox), call.version))


async def top(call: Call) -> web.Response:
    """What runs in the sandbox. `ps_args` other than the default are refused: no `ps` is called."""
    sandbox = find(call)
    if call.query.get("ps_args", "") not in _PS_ARGS:
        raise InvalidParameter("ps_args is not supported: leave it out")
    if sandbox.state != "running":
        raise Conflict(f"container {sandbox.id} is not running")
    rows = await asyncio.to_thread(processes.table, sandbox)
    return json_value({"Titles": processes.TITLES, "Processes": rows})


async def logs(call: Call) -> web.StreamResponse:
    return await log_stream.send(call, find(call))


def find(call: Call) -> Sandbox:
    """The sandbox that the path names. NotFound; InvalidParameter if several ids begin so."""
    sandbox = call.engine.sandbox(call.term)
    if sandbox is None:
        raise NotFound(f"No such container: {call.term}")
    return sandbox


def joined(call: Call, sandbox: Sandbox, *, whole: bool = False) -> list[tuple[Endpoint, Network]]:
    """Its endpoints and their networks, in order of connection. whole: with its way out of global networks, which
    Docker does not show."""
    shown = (endpoint for endpoint in call.engine.endpoints_in(sandbox.id) if whole or not endpoint.way_out)
    pairs = ((endpoint, call.engine.network(endpoint.network)) for endpoint in shown)
    return [(endpoint, network) for endpoint, network in pairs if network is not None]


def _limit(text: str) -> int:
    """0: no limit, as for negative numbers."""
    if not text:
        return 0
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise InvalidParameter(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    return max(int(text), 0)
