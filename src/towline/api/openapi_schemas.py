"""The types of the OpenAPI document."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Json, *, optional: tuple[str, ...] = (), closed: bool = True) -> Json:
    """What we answer: everything required but `optional`, nothing else."""
    required = [name for name in properties if name not in optional]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": not closed}
    return {**schema, "required": required} if required else schema


def asked(properties: Json, *, required: tuple[str, ...] = ()) -> Json:
    """What clients send: members they do not know of are ignored."""
    schema: Json = {"type": "object", "nullable": True, "properties": properties}
    return {**schema, "nullable": False, "required": list(required)} if required else schema


def map_of(value: Json, *, nullable: bool = False) -> Json:
    return {"type": "object", "additionalProperties": value, "nullable": nullable}


def list_of(item: Json, *, nullable: bool = False) -> Json:
    return {"type": "array", "items": item, "nullable": nullable}


STRING: Json = {"type": "string"}
BOOL: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 0}
WORDS = map_of(STRING, nullable=True)
FULL_ID: Json = {"type": "string", "pattern": "^([0-9a-f]{64}|[0-9a-z]{25})$"}
TIME: Json = {"type": "string", "format": "date-time"}
MAYBE_TEXT: Json = {"type": "string", "nullable": True}
MAYBE: Json = {"type": "boolean", "nullable": True}

_ANSWERED_POOL = record(
    {"Subnet": STRING, "IPRange": STRING, "Gateway": STRING, "AuxiliaryAddresses": map_of(STRING)},
    optional=("IPRange", "Gateway", "AuxiliaryAddresses"),
)
_NETWORK: Json = {
    "Name": STRING,
    "Id": FULL_ID,
    "Created": TIME,
    "Scope": STRING,
    "Driver": STRING,
    "EnableIPv4": BOOL,
    "EnableIPv6": BOOL,
    "IPAM": record({"Driver": STRING, "Options": WORDS, "Config": list_of(_ANSWERED_POOL, nullable=True)}),
    "Internal": BOOL,
    "Attachable": BOOL,
    "Ingress": BOOL,
    "ConfigFrom": record({"Network": STRING}),
    "ConfigOnly": BOOL,
    "Options": WORDS,
    "Labels": WORDS,
}
_CONTAINER = record(
    {"Name": STRING, "EndpointID": STRING, "MacAddress": STRING, "IPv4Address": STRING, "IPv6Address": STRING}
)
_SUBNET = record({"IPsInUse": COUNT, "DynamicIPsAvailable": COUNT})
_STATUS = record({"IPAM": record({"Subnets": map_of(_SUBNET)}, optional=("Subnets",))})
_ENDPOINT_SETTINGS: Json = {
    "IPAMConfig": asked(
        {"IPv4Address": MAYBE_TEXT, "IPv6Address": MAYBE_TEXT, "LinkLocalIPs": list_of(STRING, nullable=True)}
    ),
    "Links": list_of(STRING, nullable=True),
    "Aliases": list_of(STRING, nullable=True),
    "DriverOpts": WORDS,
    "GwPriority": {"type": "integer", "nullable": True},
    "MacAddress": MAYBE_TEXT,
}
_POOL = asked(
    {
        "Subnet": MAYBE_TEXT,
        "IPRange": MAYBE_TEXT,
        "Gateway": MAYBE_TEXT,
        "AuxiliaryAddresses": map_of(STRING, nullable=True),
    }
)

SCHEMAS: Json = {
    "Error": record({"message": STRING}),
    "Network": record(_NETWORK),
    "NetworkInspect": record(
        {
            **_NETWORK,
            "Peers": list_of(record({"Name": STRING, "IP": STRING})),
            "Containers": map_of(_CONTAINER),
            "Services": map_of({"type": "object"}),
            "Status": _STATUS,
        },
        optional=("Peers", "Services"),
    ),
    "CreateRequest": asked(
        {
            "Name": STRING,
            "CheckDuplicate": MAYBE,
            "Driver": MAYBE_TEXT,
            "Scope": MAYBE_TEXT,
            "EnableIPv4": MAYBE,
            "EnableIPv6": MAYBE,
            "IPAM": asked({"Driver": MAYBE_TEXT, "Options": WORDS, "Config": list_of(_POOL, nullable=True)}),
            "Internal": MAYBE,
            "Attachable": MAYBE,
            "Ingress": MAYBE,
            "ConfigOnly": MAYBE,
            "ConfigFrom": asked({"Network": MAYBE_TEXT}),
            "Options": WORDS,
            "Labels": WORDS,
        },
        required=("Name",),
    ),
    "Created": record({"Id": FULL_ID, "Warning": STRING}),
    "Pruned": record({"NetworksDeleted": list_of(STRING, nullable=True)}),
    "ConnectRequest": asked(
        {"Container": STRING, "EndpointConfig": asked(_ENDPOINT_SETTINGS)}, required=("Container",)
    ),
    "DisconnectRequest": asked({"Container": STRING, "Force": MAYBE}, required=("Container",)),
    "Event": record(
        {
            "Type": STRING,
            "Action": STRING,
            "Actor": record({"ID": STRING, "Attributes": map_of(STRING)}),
            "scope": STRING,
            "time": COUNT,
            "timeNano": COUNT,
        }
    ),
    "Lease": record({"address": STRING, "owner": STRING, "reason": STRING, "epoch": COUNT}),
    "Finding": record({"object": STRING, "problem": STRING, "repair": STRING}),
    "State": record(
        {
            "daemon_id": STRING,
            "version": STRING,
            "revision": COUNT,
            "networks": COUNT,
            "sandboxes": COUNT,
            "memory": COUNT,
            "counters": map_of(COUNT),
        }
    ),
    "Version": record(
        {"Version": STRING, "ApiVersion": STRING, "MinAPIVersion": STRING, "Os": STRING, "Arch": STRING}, closed=False
    ),
    "Info": record(
        {"ID": STRING, "Name": STRING, "ServerVersion": STRING, "Containers": COUNT, "Swarm": {"type": "object"}},
        closed=False,
    ),
}
