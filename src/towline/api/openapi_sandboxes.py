"""Sandboxes in the OpenAPI document: as Docker's containers, and under /towline/v1/sandboxes."""

from __future__ import annotations

from towline.api.openapi_parts import ID, Json, array, operation, query, ref
from towline.api.openapi_schemas import (
    BOOL,
    COUNT,
    FULL_ID,
    MAYBE,
    MAYBE_TEXT,
    STRING,
    TIME,
    WORDS,
    asked,
    list_of,
    map_of,
    record,
)

_TEXTS = list_of(STRING)
_MAYBE_TEXTS = list_of(STRING, nullable=True)
_MAP = map_of(STRING)
_MOMENT: Json = {"type": "string", "description": 'RFC 3339; "" for never.'}
_PORT_BINDING = record(
    {"port": COUNT, "protocol": STRING, "host_ip": STRING, "host_port": COUNT, "host_port_end": COUNT}
)
_PUBLISHED = record({"protocol": STRING, "host_ip": STRING, "host_port": COUNT, "port": COUNT})
_CONFIG: Json = {
    "ipv4": STRING,
    "ipv6": STRING,
    "link_local": _TEXTS,
    "links": _TEXTS,
    "aliases": _TEXTS,
    "mac": STRING,
    "driver_opts": _MAP,
    "gw_priority": {"type": "integer"},
}
_ENDPOINT = record(
    {
        "id": FULL_ID,
        "name": STRING,
        "network": FULL_ID,
        "network_name": STRING,
        "driver": STRING,
        "mac": STRING,
        "ipv4": STRING,
        "ipv6": STRING,
        "gateway_ipv4": STRING,
        "gateway_ipv6": STRING,
        "ifname": STRING,
        "host_link": STRING,
        "dns_names": _TEXTS,
        "published": list_of(_PUBLISHED),
        "config": record(_CONFIG),
    }
)
_DNS: Json = {"servers": _TEXTS, "search": _TEXTS, "options": _TEXTS}
_PROCESS: Json = {
    "type": "object",
    "nullable": True,
    "properties": {"pid": {"type": "integer", "minimum": 1}, "started": COUNT},
    "required": ["pid", "started"],
}
_WANTED: Json = {
    "network": STRING,
    "ipv4": MAYBE_TEXT,
    "ipv6": MAYBE_TEXT,
    "link_local": _MAYBE_TEXTS,
    "links": _MAYBE_TEXTS,
    "aliases": _MAYBE_TEXTS,
    "mac": MAYBE_TEXT,
    "driver_opts": WORDS,
    "gw_priority": {"type": "integer", "nullable": True},
}

SCHEMAS: Json = {
    "SandboxRequest": asked(
        {
            "name": MAYBE_TEXT,
            "hostname": MAYBE_TEXT,
            "networks": list_of(asked(_WANTED, required=("network",)), nullable=True),
            "command": _MAYBE_TEXTS,
            "environment": _MAYBE_TEXTS,
            "directory": MAYBE_TEXT,
            "restart": MAYBE_TEXT,
            "auto_remove": MAYBE,
            "dns": asked(dict.fromkeys(_DNS, _MAYBE_TEXTS)),
            "extra_hosts": _MAYBE_TEXTS,
            "sysctls": WORDS,
            "ports": _MAYBE_TEXTS,
            "exposed": _MAYBE_TEXTS,
            "labels": WORDS,
            "attach": asked({"netns": MAYBE_TEXT, "process": _PROCESS}),
            "service": MAYBE_TEXT,
        }
    ),
    "SandboxCreated": record({"id": FULL_ID, "warning": STRING}),
    "StartRequest": asked({"process": _PROCESS}),
    "EndpointPath": record(
        {
            "endpoint": FULL_ID,
            "network": STRING,
            "steps": list_of(record({"object": STRING, "text": STRING, "problem": STRING})),
        }
    ),
    "StartedSandbox": record(
        {"id": FULL_ID, "netns": STRING, "hosts": STRING, "resolv_conf": STRING, "hostname": STRING, "hidden": _TEXTS}
    ),
    "Sandbox": record(
        {
            "id": FULL_ID,
            "name": STRING,
            "origin": {"type": "string", "enum": ["run", "attach"]},
            "state": {"type": "string", "enum": ["created", "running", "exited"]},
            "created": TIME,
            "started": _MOMENT,
            "finished": _MOMENT,
            "exit_code": {"type": "integer"},
            "pid": COUNT,
            "netns": STRING,
            "mode": STRING,
            "service": STRING,
            "hostname": STRING,
            "command": _TEXTS,
            "environment": _TEXTS,
            "directory": STRING,
            "restart": STRING,
            "restarts": COUNT,
            "stopped": BOOL,
            "auto_remove": BOOL,
            "dns": record(_DNS),
            "extra_hosts": _TEXTS,
            "sysctls": _MAP,
            "exposed": _TEXTS,
            "labels": _MAP,
            "ports": list_of(_PORT_BINDING),
            "endpoints": list_of(_ENDPOINT),
        }
    ),
    "ContainerSummary": record(
        {"Id": FULL_ID, "Names": _TEXTS, "Created": COUNT, "State": STRING, "Status": STRING}, closed=False
    ),
    "Container": record(
        {
            "Id": FULL_ID,
            "Created": TIME,
            "Name": STRING,
            "State": {"type": "object"},
            "HostConfig": {"type": "object"},
            "Config": {"type": "object"},
            "NetworkSettings": {"type": "object"},
        },
        closed=False,
    ),
    "Top": record({"Titles": _TEXTS, "Processes": list_of(_TEXTS)}),
}

_FLAG: Json = {"type": "boolean"}
_FILTERS = query("filters", "JSON: id, name, label, status, network, exited.")
_FOUND = (400, 404)


def containers() -> Json:
    listed = [query("all", "Also those that do not run.", _FLAG), query("limit", "The newest so many."), _FILTERS]
    streams = [query("stdout", "This stream.", _FLAG), query("stderr", "This stream.", _FLAG)]
    return {
        "/containers/json": {
            "get": operation(
                "containers", listed, ok=("Sandboxes, the newest first", array("ContainerSummary")), refusals=(400,)
            )
        },
        "/containers/{id}/json": {
            "parameters": [ID],
            "get": operation("inspectContainer", ok=("The sandbox", ref("Container")), refusals=_FOUND),
        },
        "/containers/{id}/top": {
            "parameters": [ID],
            "get": operation("top", ok=("Its processes", ref("Top")), refusals=(*_FOUND, 409)),
        },
        "/containers/{id}/logs": {"parameters": [ID], "get": _logs("containerLogs", streams)},
    }


def sandboxes() -> Json:
    grace = query("t", "Seconds between SIGTERM and SIGKILL.", {"type": "integer", "minimum": 0, "maximum": 86400})
    stop = operation(
        "stopSandbox", [grace], status="204", ok=("It does not run any more", None), refusals=(*_FOUND, 500)
    )
    stop["responses"]["304"] = {"description": "It did not run."}
    return {
        "/towline/v1/sandboxes": {
            "get": operation("sandboxes", [_FILTERS], ok=("In order of creation", array("Sandbox")), refusals=(400,)),
            "post": operation(
                "createSandbox",
                body="SandboxRequest",
                status="201",
                ok=("It is recorded", ref("SandboxCreated")),
                refusals=(400, 403, 404, 409, 500, 503),
            ),
        },
        "/towline/v1/sandboxes/{id}": {
            "parameters": [ID],
            "get": operation("inspectSandbox", ok=("The sandbox", ref("Sandbox")), refusals=_FOUND),
            "delete": operation(
                "removeSandbox",
                [query("force", "Also while it runs.", _FLAG)],
                status="204",
                ok=("It is gone", None),
                refusals=(*_FOUND, 409, 500),
            ),
        },
        "/towline/v1/sandboxes/{id}/start": {
            "parameters": [ID],
            "post": operation(
                "startSandbox",
                body="StartRequest",
                ok=("Where it is", ref("StartedSandbox")),
                refusals=(*_FOUND, 409, 500),
            ),
        },
        "/towline/v1/sandboxes/{id}/explain": {
            "parameters": [ID],
            "get": operation("explainSandbox", ok=("A path per endpoint", array("EndpointPath")), refusals=_FOUND),
        },
        "/towline/v1/sandboxes/{id}/stop": {"parameters": [ID], "post": stop},
        "/towline/v1/sandboxes/{id}/logs": {"parameters": [ID], "get": _logs("sandboxLogs", [])},
    }


def _logs(name: str, parameters: list[Json]) -> Json:
    shared = [
        query("follow", "Go on until the command ends.", _FLAG),
        query("tail", "Lines, or all."),
        query("timestamps", "Each with its time.", _FLAG),
    ]
    frames: Json = {"type": "string", "format": "binary"}
    media_type = "application/vnd.docker.multiplexed-stream"
    return operation(name, [*parameters, *shared], ok=("Frames", frames), media_type=media_type, refusals=_FOUND)
