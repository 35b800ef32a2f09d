"""The part of the OpenAPI document that is about clusters."""

from __future__ import annotations

from towline.api import swarm_objects
from towline.api.openapi_parts import ID, Json, array, operation, query, ref
from towline.api.openapi_schemas import (
    BOOL,
    COUNT,
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

_FLAG: Json = {"type": "boolean"}
_NUMBER: Json = {"type": "number"}
_INTEGER: Json = {"type": "integer", "nullable": True}
_SWARM_ID: Json = {"type": "string", "pattern": "^[0-9a-z]{25}$"}
_VERSION = record({"Index": COUNT})
_TLS = record(
    {"TrustRoot": STRING, "CertIssuerSubject": STRING, "CertIssuerPublicKey": STRING},
    optional=("TrustRoot", "CertIssuerSubject", "CertIssuerPublicKey"),
)
_STAMPS: Json = {"ID": _SWARM_ID, "Version": _VERSION, "CreatedAt": TIME, "UpdatedAt": TIME}
_ADDRESSES: Json = {"ListenAddr": STRING, "AdvertiseAddr": MAYBE_TEXT, "DataPathAddr": MAYBE_TEXT}
_SPEC = asked(
    {
        "Name": MAYBE_TEXT,
        "Labels": WORDS,
        "Orchestration": asked({"TaskHistoryRetentionLimit": _INTEGER}),
        "Raft": asked({"SnapshotInterval": _INTEGER, "ElectionTick": _INTEGER, "HeartbeatTick": _INTEGER}),
        "Dispatcher": asked({"HeartbeatPeriod": _INTEGER}),
        "CAConfig": asked({"NodeCertExpiry": _INTEGER}),
        "EncryptionConfig": asked({"AutoLockManagers": MAYBE}),
    }
)
_CLUSTER: Json = {
    **_STAMPS,
    "Spec": {"type": "object"},
    "TLSInfo": _TLS,
    "RootRotationInProgress": BOOL,
    "DefaultAddrPool": list_of(STRING),
    "SubnetSize": COUNT,
    "DataPathPort": COUNT,
}
_MANAGER = record({"Leader": BOOL, "Reachability": STRING, "Addr": STRING}, optional=("Leader",))
_DESCRIPTION = record(
    {
        "Hostname": STRING,
        "Platform": record({"Architecture": STRING, "OS": STRING}),
        "Resources": record({"NanoCPUs": COUNT, "MemoryBytes": COUNT}, optional=("NanoCPUs", "MemoryBytes")),
        "Engine": {"type": "object"},
        "TLSInfo": _TLS,
    }
)
_NODE_PAGE = record(
    {
        "id": STRING,
        "hostname": STRING,
        "role": {"type": "string", "enum": ["worker", "manager"]},
        "availability": {"type": "string", "enum": ["active", "pause", "drain"]},
        "state": {"type": "string", "enum": ["unknown", "down", "ready", "disconnected"]},
        "address": STRING,
        "data_path": STRING,
        "engine_version": STRING,
        "manager": {**record({"address": STRING, "leader": BOOL, "reachable": BOOL}), "nullable": True},
        "revision": {**COUNT, "nullable": True},
        "lag": {**COUNT, "nullable": True},
        "skew": {**_NUMBER, "nullable": True},
        "repairs": {**COUNT, "nullable": True},
        "problem": STRING,
    }
)

SCHEMAS: Json = {
    "InitSwarm": asked(
        {
            **_ADDRESSES,
            "DataPathPort": _INTEGER,
            "ForceNewCluster": MAYBE,
            "Spec": _SPEC,
            "Availability": MAYBE_TEXT,
            "DefaultAddrPool": list_of(STRING, nullable=True),
            "SubnetSize": _INTEGER,
        },
        required=("ListenAddr",),
    ),
    "JoinSwarm": asked(
        {**_ADDRESSES, "RemoteAddrs": list_of(STRING), "JoinToken": MAYBE_TEXT, "Availability": MAYBE_TEXT},
        required=("ListenAddr", "RemoteAddrs"),
    ),
    "Managers": asked({"managers": list_of(STRING)}),
    "SwarmSpec": _SPEC,
    "UnlockSwarm": asked({"UnlockKey": MAYBE_TEXT}),
    "Swarm": record({**_CLUSTER, "JoinTokens": record({"Worker": STRING, "Manager": STRING})}),
    "NodeSpec": asked(
        {"Name": MAYBE_TEXT, "Labels": WORDS, "Role": STRING, "Availability": STRING}, required=("Role", "Availability")
    ),
    "Node": record(
        {
            **_STAMPS,
            "Spec": record(
                {"Name": STRING, "Labels": map_of(STRING), "Role": STRING, "Availability": STRING}, optional=("Name",)
            ),
            "Description": _DESCRIPTION,
            "Status": record({"State": STRING, "Message": STRING, "Addr": STRING}, optional=("Message", "Addr")),
            "ManagerStatus": _MANAGER,
        },
        optional=("ManagerStatus",),
    ),
    "Cluster": record(
        {
            "cluster": STRING,
            "node": STRING,
            "state": {"type": "string", "enum": ["inactive", "pending", "active", "error", "locked"]},
            "manager": BOOL,
            "error": STRING,
            "revision": COUNT,
            "silence": {**_NUMBER, "nullable": True},
            "nodes": list_of(_NODE_PAGE),
        }
    ),
}


def swarm() -> Json:
    version = query(
        "version", "Index of the object that was read before.", {"type": "integer", "minimum": 0}, required=True
    )
    rotate = [
        query(f"rotate{name}Token", f"Make a new token for {name.lower()}s.", _FLAG) for name in ("Worker", "Manager")
    ]
    force = query("force", "Also where it costs the cluster something.", _FLAG)
    refused = (400, 500, 501, 503)
    node_filters = query("filters", "JSON: id, label, node.label, membership, name, role.")
    return {
        "/swarm": {
            "get": operation("inspectSwarm", ok=("The cluster, with its join tokens", ref("Swarm")), refusals=(503,))
        },
        "/swarm/unlockkey": {
            "get": operation(
                "unlockKey", ok=("Empty: there is no lock", record({"UnlockKey": STRING})), refusals=(503,)
            )
        },
        "/swarm/init": {
            "post": operation("initSwarm", body="InitSwarm", ok=("Id of this node", STRING), refusals=refused)
        },
        "/swarm/join": {"post": operation("joinSwarm", body="JoinSwarm", ok=("Joined", None), refusals=refused)},
        "/swarm/leave": {"post": operation("leaveSwarm", [force], ok=("It has left", None), refusals=(500, 503))},
        "/swarm/update": {
            "post": operation(
                "updateSwarm", [version, *rotate], body="SwarmSpec", ok=("Changed", None), refusals=refused
            )
        },
        "/swarm/unlock": {
            "post": operation("unlockSwarm", body="UnlockSwarm", ok=("Unlocked", None), refusals=(400, 409, 503))
        },
        "/nodes": {
            "get": operation("listNodes", [node_filters], ok=("Nodes", array("Node")), refusals=(400, 500, 503))
        },
        "/nodes/{id}": {
            "parameters": [ID],
            "get": operation("inspectNode", ok=("The node", ref("Node")), refusals=(404, 500, 503)),
            "delete": operation("removeNode", [force], ok=("It is gone", None), refusals=(400, 404, 500, 503)),
        },
        "/nodes/{id}/update": {
            "parameters": [ID],
            "post": operation(
                "updateNode", [version], body="NodeSpec", ok=("Changed", None), refusals=(400, 404, 500, 503)
            ),
        },
        **_without_any(),
    }


def own() -> Json:
    blob: Json = {"type": "string", "format": "binary"}
    octets = "application/octet-stream"
    addresses = [
        query(f"{name}-addr", f"As {field} of /swarm/init.")
        for name, field in (("listen", "ListenAddr"), ("advertise", "AdvertiseAddr"), ("data-path", "DataPathAddr"))
    ]
    force = query("force", "Also on a manager that works: what came after the backup is lost.", _FLAG)
    restore = operation(
        "restoreCluster",
        [*addresses, force],
        ok=("This node is the cluster's only manager", record({"node": STRING})),
        refusals=(400, 409, 500, 503),
    )
    restore["requestBody"] = {"required": True, "content": {octets: {"schema": blob}}}
    return {
        "/towline/v1/cluster": {"get": operation("cluster", ok=("How its nodes are", ref("Cluster")), refusals=(503,))},
        "/towline/v1/cluster/rotate-key": {
            "post": operation("rotateKey", ok=("Begun", None), status="204", refusals=(503,))
        },
        "/towline/v1/cluster/backup": {
            "get": operation(
                "backupCluster", ok=("The cluster, its secrets too", blob), media_type=octets, refusals=(503,)
            )
        },
        "/towline/v1/cluster/restore": {"post": restore},
        "/towline/v1/cluster/managers": {
            "post": operation(
                "setManagers", body="Managers", ok=("They are asked from now on", None), refusals=(400, 500, 503)
            )
        },
    }


def _without_any() -> Json:
    """Paths of what there is never any of."""
    empty: Json = {"type": "array", "maxItems": 0, "items": {"type": "object"}}
    filters = query("filters", "JSON, as in Docker.")
    paths: Json = {}
    for (method, path), name in zip(swarm_objects.EXACT, map(_name, swarm_objects.EXACT), strict=True):
        if method == "GET":
            paths[path] = {"get": operation(name, [filters], ok=("None", empty), refusals=(400, 503))}
        else:
            paths[path] = {"post": operation(name, ok=("Never", None), refusals=(501, 503))}
    for method, collection, action in swarm_objects.BY_ID:
        path = f"{collection}/{{id}}{action}"
        never = operation(_name((method, path)), ok=("Never", None), refusals=(404, 501, 503))
        paths.setdefault(path, {"parameters": [ID]})[method.lower()] = never
    return paths


def _name(route: tuple[str, str]) -> str:
    return route[0].lower() + "".join(word.strip("{}").capitalize() for word in route[1].split("/"))
