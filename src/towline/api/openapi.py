"""The OpenAPI 3 document of what is served, at /towline/v1/openapi.json. Imported when somebody asks for it."""

from __future__ import annotations

from towline import __version__
from towline.api import openapi_cluster, openapi_sandboxes, openapi_services
from towline.api.openapi_parts import ID, Json, answer, array, operation, query, ref
from towline.api.openapi_schemas import SCHEMAS
from towline.api.versions import NEWEST, OLDEST

_DESCRIPTION = f"""Docker's network API, versions {OLDEST} to {NEWEST}, and Towline's own under /towline/v1.
Docker's paths also exist under /v{{version}}; without it the newest version is meant. Unknown paths and wrong
methods are 404. Network ids in paths are full ids, names (which may hold slashes) or unique prefixes of ids."""


def document() -> Json:
    return {
        "openapi": "3.0.3",
        "info": {"title": "Towline", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": {
            **_system(),
            **openapi_sandboxes.containers(),
            **_networks(),
            **openapi_cluster.swarm(),
            **openapi_services.docker(),
            **_own(),
        },
        "components": {
            "schemas": {**SCHEMAS, **openapi_sandboxes.SCHEMAS, **openapi_cluster.SCHEMAS, **openapi_services.SCHEMAS}
        },
    }


def _system() -> Json:
    ping = {"200": answer("OK", {"type": "string"}, "text/plain")}
    return {
        "/_ping": {
            "get": {"operationId": "ping", "responses": ping},
            "head": {"operationId": "pingHead", "responses": {"200": {"description": "Headers of GET."}}},
        },
        "/version": {"get": operation("version", ok=("Versions", ref("Version")))},
        "/info": {"get": operation("info", ok=("What the daemon is and does", ref("Info")))},
        "/events": {
            "get": operation(
                "events",
                [
                    query("since", "Unix time, with a fraction if wanted; kept events from then on."),
                    query("until", "Unix time; without it the answer goes on for ever.", required=True),
                    query("filters", "JSON: type, event, network, scope, label, container."),
                ],
                ok=("Events, one JSON object a line", ref("Event")),
                media_type="application/jsonl",
                refusals=(400,),
            )
        },
    }


def _networks() -> Json:
    filters = query("filters", "JSON: driver, scope, id, name, label, type, dangling.")
    prune_filters = query("filters", "JSON: label, label!, until.")
    flag = {"type": "boolean"}
    wait = query("wait", "Towline: answer when the kernel is done.", flag)
    inspect_query = [query("verbose", "Accepted.", flag), query("scope", "Only a network of this scope.")]
    return {
        "/networks": {
            "get": operation("listNetworks", [filters], ok=("Networks", array("Network")), refusals=(400, 500))
        },
        "/networks/create": {
            "post": operation(
                "createNetwork",
                [wait],
                body="CreateRequest",
                status="201",
                ok=("It exists", ref("Created")),
                refusals=(400, 403, 404, 409, 500, 503),
            )
        },
        "/networks/prune": {
            "post": operation(
                "pruneNetworks", [prune_filters, wait], ok=("Removed", ref("Pruned")), refusals=(400, 409, 500)
            )
        },
        "/networks/{id}": {
            "parameters": [ID],
            "get": operation(
                "inspectNetwork", inspect_query, ok=("The network", ref("NetworkInspect")), refusals=(400, 404)
            ),
            "delete": operation(
                "removeNetwork", [wait], status="204", ok=("It is gone", None), refusals=(400, 403, 404, 500, 503)
            ),
        },
        "/networks/{id}/connect": {
            "parameters": [ID],
            "post": operation(
                "connect", body="ConnectRequest", ok=("Connected", None), refusals=(400, 403, 404, 409, 500)
            ),
        },
        "/networks/{id}/disconnect": {
            "parameters": [ID],
            "post": operation(
                "disconnect", body="DisconnectRequest", ok=("Disconnected", None), refusals=(400, 403, 404, 500)
            ),
        },
    }


def _own() -> Json:
    findings = array("Finding")
    return {
        "/towline/v1/networks/{id}/leases": {
            "parameters": [ID],
            "get": operation("leases", ok=("Addresses that are taken, in order", array("Lease")), refusals=(400, 404)),
        },
        **openapi_sandboxes.sandboxes(),
        **openapi_cluster.own(),
        **openapi_services.own(),
        "/towline/v1/diagnose": {
            "get": operation("diagnose", ok=("Differences between store and kernel", findings), refusals=(500,))
        },
        "/towline/v1/repair": {
            "post": operation("repair", ok=("Differences that were repaired", findings), refusals=(500,))
        },
        "/towline/v1/state": {"get": operation("state", ok=("The daemon's state", ref("State")))},
        "/towline/v1/openapi.json": {"get": operation("openapi", ok=("This document", {"type": "object"}))},
    }
