"""The part of the OpenAPI document that is about services."""

from __future__ import annotations

from towline.api.openapi_parts import ID, Json, array, operation, query, ref
from towline.api.openapi_schemas import (
    BOOL,
    COUNT,
    MAYBE_TEXT,
    STRING,
    TIME,
    WORDS,
    asked,
    list_of,
    map_of,
    record,
)

_MODE: Json = {"type": "string", "enum": ["vip", "dnsrr"]}
_PROTOCOL: Json = {"type": "string", "enum": ["tcp", "udp", "sctp"]}
_PUBLISH: Json = {"type": "string", "enum": ["ingress", "host"]}
_PORT_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": 65535}
_SWARM_ID: Json = {"type": "string", "pattern": "^[0-9a-z]{25}$"}
_PORT = asked(
    {
        "target": {"type": "integer", "minimum": 1, "maximum": 65535},
        "published": {**_PORT_NUMBER, "nullable": True},
        "protocol": {**_PROTOCOL, "nullable": True},
        "mode": {**_PUBLISH, "nullable": True},
        "name": MAYBE_TEXT,
    },
    required=("target",),
)
_ASKED: Json = {
    "mode": {**_MODE, "nullable": True},
    "networks": list_of(STRING, nullable=True),
    "ports": list_of(_PORT, nullable=True),
    "labels": WORDS,
}
_NETWORK = record({"id": STRING, "name": STRING, "ingress": BOOL, "ipv4": STRING, "ipv6": STRING})
_MEMBER = record(
    {
        "sandbox": STRING,
        "name": STRING,
        "node": STRING,
        "hostname": STRING,
        "up": BOOL,
        "addresses": map_of(list_of(STRING)),
    }
)

SCHEMAS: Json = {
    "CreateService": asked({"name": STRING, **_ASKED}, required=("name",)),
    "UpdateService": asked({"version": {**COUNT, "nullable": True}, **_ASKED}),
    "Service": record(
        {
            "id": _SWARM_ID,
            "name": STRING,
            "created": TIME,
            "updated": TIME,
            "version": COUNT,
            "mode": _MODE,
            "networks": list_of(_NETWORK),
            "ports": list_of(
                record(
                    {
                        "target": COUNT,
                        "published": COUNT,
                        "protocol": _PROTOCOL,
                        "mode": _PUBLISH,
                        "name": STRING,
                    }
                )
            ),
            "labels": map_of(STRING),
            "members": list_of(_MEMBER),
        }
    ),
    "DockerService": record(
        {
            "ID": _SWARM_ID,
            "Version": record({"Index": COUNT}),
            "CreatedAt": TIME,
            "UpdatedAt": TIME,
            "Spec": {"type": "object"},
            "Endpoint": {"type": "object"},
            "ServiceStatus": record({"RunningTasks": COUNT, "DesiredTasks": COUNT, "CompletedTasks": COUNT}),
        },
        optional=("ServiceStatus",),
    ),
}

_FILTERS = query("filters", "JSON: id, label, mode, name.")


def docker() -> Json:
    status = query("status", "With the number of members.", {"type": "boolean"})
    return {
        "/services": {
            "get": operation(
                "listServices",
                [_FILTERS, status],
                ok=("Services", array("DockerService")),
                refusals=(400, 403, 503),
            )
        },
        "/services/{id}": {
            "parameters": [ID],
            "get": operation("inspectService", ok=("The service", ref("DockerService")), refusals=(400, 404, 503)),
            "delete": operation("removeService", ok=("It is gone", None), refusals=(400, 404, 503)),
        },
    }


def own() -> Json:
    force = query("force", "Also while it has running members; they go on.", {"type": "boolean"})
    return {
        "/towline/v1/services": {
            "get": operation("services", [_FILTERS], ok=("Services", array("Service")), refusals=(400, 403, 503)),
            "post": operation(
                "createService",
                body="CreateService",
                status="201",
                ok=("It exists", ref("Service")),
                refusals=(400, 403, 409, 500, 503),
            ),
        },
        "/towline/v1/services/{id}": {
            "parameters": [ID],
            "get": operation("service", ok=("The service", ref("Service")), refusals=(400, 404, 503)),
            "delete": operation(
                "removeOwnService", [force], status="204", ok=("It is gone", None), refusals=(400, 404, 409, 503)
            ),
        },
        "/towline/v1/services/{id}/update": {
            "parameters": [ID],
            "post": operation(
                "updateService",
                body="UpdateService",
                ok=("Changed", ref("Service")),
                refusals=(400, 403, 404, 409, 500, 503),
            ),
        },
    }
