"""Tasks, secrets and configs: what a Docker manager answers that has none; and what cannot be done to services by
Docker's API. Towline schedules nothing."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from towline.api.call import Call, Handler, json_value
from towline.model.errors import NotFound, Unsupported
from towline.policy import filters
from towline.policy.swarm import not_a_manager

_LISTED = frozenset({"name", "id", "label"})
_KEYS = {
    "task": _LISTED | {"service", "node", "desired-state", "_up-to-date", "runtime"},
    "secret": _LISTED | {"names"},
    "config": _LISTED,
}


def _require_manager(call: Call) -> None:
    state = call.engine.cluster.state
    if not state.control:
        raise not_a_manager(state)


def _list(kind: str) -> Handler:
    async def answer(call: Call) -> web.Response:
        asked = filters.parse(call.query.get("filters", ""))
        _require_manager(call)
        filters.check_keys(asked, _KEYS[kind])
        return json_value([])

    return answer


def _one(kind: str) -> Handler:
    async def answer(call: Call) -> web.Response:
        _require_manager(call)
        raise NotFound(f"{kind} {call.term} not found")

    return answer


def _make(kind: str) -> Handler:
    async def answer(call: Call) -> web.Response:
        _require_manager(call)
        raise Unsupported(
            "Towline joins sandboxes to services and schedules no containers: use `towline service create` and"
            " `towline service update`, and `towline run --service` for its members"
            if kind == "service"
            else f"{kind}s are not Towline's: it joins sandboxes to networks and schedules nothing"
        )

    return answer


EXACT: dict[tuple[str, str], Handler] = {}
BY_ID: dict[tuple[str, str, str], Handler] = {}
_ACTIONS: dict[str, tuple[tuple[str, str, Callable[[str], Handler]], ...]] = {
    "service": (("POST", "/update", _make), ("GET", "/logs", _one)),
    "task": (("GET", "", _one), ("GET", "/logs", _one)),
    "secret": (("GET", "", _one), ("DELETE", "", _one), ("POST", "/update", _one)),
    "config": (("GET", "", _one), ("DELETE", "", _one), ("POST", "/update", _one)),
}
for _kind, _actions in _ACTIONS.items():
    if _kind != "service":
        EXACT["GET", f"/{_kind}s"] = _list(_kind)
    if _kind != "task":
        EXACT["POST", f"/{_kind}s/create"] = _make(_kind)
    for _method, _action, _handler in _actions:
        BY_ID[_method, f"/{_kind}s", _action] = _handler(_kind)
