"""The types of the OpenAPI document."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, optional: tuple[str, ...] = (), closed: bool = True) -> Json:
    """What we answer: everything required but `optional`, nothing else."""
    required = [name for name in properties if name not in optional]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": not closed}
    return {**schema, "required": required} if required else schema


def _asked(properties: Json, *, required: tuple[str, ...] = ()) -> Json:
    """What clients send: members they do not know of are ignored."""
    schema: Json = {"type": "object", "nullable": True, "properties": properties}
    return {**schema, "nullable": False, "required": list(required)} if required else schema


def _map(value: Json, *, nullable: bool = False) -> Json:
    return {"type": "object", "additionalProperties": value, "nullable": nullable}


def _list(item: Json, *, nullable: bool = False) -> Json:
    return {"type": "array", "items": item, "nullable": nullable}


STRING: Json = {"type": "string"}
BOOL: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 0}
WORDS = _map(STRING, nullable=True)
FULL_ID: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
TIME: Json = {"type": "string", "format": "date-time"}
MAYBE_TEXT: Json = {"type": "string", "nullable": True}
MAYBE: Json = {"type": "boolean", "nullable": True}

_ANSWERED_POOL = _object(
    {"Subnet": STRING, "IPRange": STRING, "Gateway": STRING, "AuxiliaryAddresses": _map(STRING)},
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
    "IPAM": _object({"Driver": STRING, "Options": WORDS, "Config": _list(_ANSWERED_POOL, nullable=True)}),
    "Internal": BOOL,
    "Attachable": BOOL,
    "Ingress": BOOL,
    "ConfigFrom": _object({"Network": STRING}),
    "ConfigOnly": BOOL,
    "Options": WORDS,
    "Labels": WORDS,
}
_CONTAINER = _object(
    {"Name": STRING, "EndpointID": STRING, "MacAddress": STRING, "IPv4Address": STRING, "IPv6Address": STRING}
)
_SUBNET = _object({"IPsInUse": COUNT, "DynamicIPsAvailable": COUNT})
_STATUS = _object({"IPAM": _object({"Subnets": _map(_SUBNET)}, optional=("Subnets",))})
_POOL = _asked(
    {
        "Subnet": MAYBE_TEXT,
        "IPRange": MAYBE_TEXT,
        "Gateway": MAYBE_TEXT,
        "AuxiliaryAddresses": _map(STRING, nullable=True),
    }
)

SCHEMAS: Json = {
    "Error": _object({"message": STRING}),
    "Network": _object(_NETWORK),
    "NetworkInspect": _object({**_NETWORK, "Containers": _map(_CONTAINER), "Status": _STATUS}),
    "CreateRequest": _asked(
        {
            "Name": STRING,
            "CheckDuplicate": MAYBE,
            "Driver": MAYBE_TEXT,
            "Scope": MAYBE_TEXT,
            "EnableIPv4": MAYBE,
            "EnableIPv6": MAYBE,
            "IPAM": _asked({"Driver": MAYBE_TEXT, "Options": WORDS, "Config": _list(_POOL, nullable=True)}),
            "Internal": MAYBE,
            "Attachable": MAYBE,
            "Ingress": MAYBE,
            "ConfigOnly": MAYBE,
            "ConfigFrom": _asked({"Network": MAYBE_TEXT}),
            "Options": WORDS,
            "Labels": WORDS,
        },
        required=("Name",),
    ),
    "Created": _object({"Id": FULL_ID, "Warning": STRING}),
    "Pruned": _object({"NetworksDeleted": _list(STRING, nullable=True)}),
    "ConnectRequest": _asked(
        {"Container": STRING, "EndpointConfig": {"type": "object", "nullable": True}}, required=("Container",)
    ),
    "DisconnectRequest": _asked({"Container": STRING, "Force": MAYBE}, required=("Container",)),
    "Event": _object(
        {
            "Type": STRING,
            "Action": STRING,
            "Actor": _object({"ID": STRING, "Attributes": _map(STRING)}),
            "scope": STRING,
            "time": COUNT,
            "timeNano": COUNT,
        }
    ),
    "Lease": _object({"address": STRING, "owner": STRING, "reason": STRING, "epoch": COUNT}),
    "Finding": _object({"object": STRING, "problem": STRING, "repair": STRING}),
    "State": _object(
        {
            "daemon_id": STRING,
            "version": STRING,
            "revision": COUNT,
            "networks": COUNT,
            "memory": COUNT,
            "counters": _map(COUNT),
        }
    ),
    "Version": _object(
        {"Version": STRING, "ApiVersion": STRING, "MinAPIVersion": STRING, "Os": STRING, "Arch": STRING}, closed=False
    ),
    "Info": _object(
        {"ID": STRING, "Name": STRING, "ServerVersion": STRING, "Containers": COUNT, "Swarm": {"type": "object"}},
        closed=False,
    ),
}
