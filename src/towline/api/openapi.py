"""The OpenAPI 3 document of what is served, at /towline/v1/openapi.json. Imported when somebody asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline import __version__
from towline.api.openapi_schemas import SCHEMAS, ref
from towline.api.versions import NEWEST, OLDEST

Json = dict[str, Any]

_DESCRIPTION = f"""Docker's network API, versions {OLDEST} to {NEWEST}, and Towline's own under /towline/v1.
Docker's paths also exist under /v{{version}}; without it the newest version is meant. Unknown paths and wrong
methods are 404. Network ids in paths are full ids, names (which may hold slashes) or unique prefixes of ids."""

_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_REASONS = {
    400: "The request itself is wrong.",
    403: "A rule forbids it.",
    404: "There is no such network, container or plugin.",
    409: "The name is taken, or another prune runs.",
    500: "It could not be carried out; some mistakes in create requests and the filter `type` have this status too.",
    503: "A resource is exhausted.",
}


def document() -> Json:
    return {
        "openapi": "3.0.3",
        "info": {"title": "Towline", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": {**_system(), **_networks(), **_own()},
        "components": {"schemas": SCHEMAS},
    }


def _system() -> Json:
    ping = {"200": _answer("OK", {"type": "string"}, "text/plain")}
    return {
        "/_ping": {
            "get": {"operationId": "ping", "responses": ping},
            "head": {"operationId": "pingHead", "responses": {"200": {"description": "Headers of GET."}}},
        },
        "/version": {"get": _operation("version", ok=("Versions", ref("Version")))},
        "/info": {"get": _operation("info", ok=("What the daemon is and does", ref("Info")))},
        "/events": {
            "get": _operation(
                "events",
                [
                    _query("since", "Unix time, with a fraction if wanted; kept events from then on."),
                    _query("until", "Unix time; without it the answer goes on for ever.", required=True),
                    _query("filters", "JSON: type, event, network, scope, label, container."),
                ],
                ok=("Events, one JSON object a line", ref("Event")),
                media_type="application/jsonl",
                refusals=(400,),
            )
        },
        "/containers/json": {
            "get": _operation("containers", ok=("Always empty", {"type": "array", "maxItems": 0, "items": {}}))
        },
    }


def _networks() -> Json:
    filters = _query("filters", "JSON: driver, scope, id, name, label, type, dangling.")
    prune_filters = _query("filters", "JSON: label, label!, until.")
    flag = {"type": "boolean"}
    wait = _query("wait", "Towline: answer when the kernel is done.", flag)
    inspect_query = [_query("verbose", "Accepted.", flag), _query("scope", "Only a network of this scope.")]
    return {
        "/networks": {
            "get": _operation("listNetworks", [filters], ok=("Networks", _array("Network")), refusals=(400, 500))
        },
        "/networks/create": {
            "post": _operation(
                "createNetwork",
                [wait],
                body="CreateRequest",
                status="201",
                ok=("It exists", ref("Created")),
                refusals=(400, 403, 404, 409, 500, 503),
            )
        },
        "/networks/prune": {
            "post": _operation(
                "pruneNetworks", [prune_filters, wait], ok=("Removed", ref("Pruned")), refusals=(400, 409, 500)
            )
        },
        "/networks/{id}": {
            "parameters": [_ID],
            "get": _operation(
                "inspectNetwork", inspect_query, ok=("The network", ref("NetworkInspect")), refusals=(400, 404)
            ),
            "delete": _operation(
                "removeNetwork", [wait], status="204", ok=("It is gone", None), refusals=(400, 403, 404, 500)
            ),
        },
        "/networks/{id}/connect": {
            "parameters": [_ID],
            "post": _operation("connect", body="ConnectRequest", ok=("Connected", None), refusals=(400, 403, 404, 500)),
        },
        "/networks/{id}/disconnect": {
            "parameters": [_ID],
            "post": _operation(
                "disconnect", body="DisconnectRequest", ok=("Disconnected", None), refusals=(400, 403, 404, 500)
            ),
        },
    }


def _own() -> Json:
    findings = _array("Finding")
    return {
        "/towline/v1/networks/{id}/leases": {
            "parameters": [_ID],
            "get": _operation(
                "leases", ok=("Addresses that are taken, in order", _array("Lease")), refusals=(400, 404)
            ),
        },
        "/towline/v1/diagnose": {
            "get": _operation("diagnose", ok=("Differences between store and kernel", findings), refusals=(500,))
        },
        "/towline/v1/repair": {
            "post": _operation("repair", ok=("Differences that were repaired", findings), refusals=(500,))
        },
        "/towline/v1/state": {"get": _operation("state", ok=("The daemon's state", ref("State")))},
        "/towline/v1/openapi.json": {"get": _operation("openapi", ok=("This document", {"type": "object"}))},
    }


def _operation(
    name: str,
    parameters: list[Json] | None = None,
    *,
    ok: tuple[str, Json | None],
    status: str = "200",
    media_type: str = "application/json",
    body: str = "",
    refusals: tuple[int, ...] = (),
) -> Json:
    responses: dict[str, Json] = {status: _answer(*ok, media_type)}
    responses |= {str(code): _answer(_REASONS[code], ref("Error"), "application/json") for code in refusals}
    operation: Json = {"operationId": name, "parameters": parameters or [], "responses": responses}
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(body)}}}
    return operation


def _answer(description: str, schema: Mapping[str, Any] | None, media_type: str) -> Json:
    answer: Json = {"description": description}
    if schema is not None:
        answer["content"] = {media_type: {"schema": schema}}
    return answer


def _query(name: str, description: str, schema: Json | None = None, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def _array(name: str) -> Json:
    return {"type": "array", "items": ref(name)}
