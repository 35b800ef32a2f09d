"""A node of a cluster as Docker's API has it, in and out (moby api/types/swarm/node.go)."""

from __future__ import annotations

from typing import Any

import msgspec

from towline.api.gojson.decode import STRING, Map, Struct
from towline.api.wire_out import rfc3339_nano
from towline.api.wire_swarm import tls_info
from towline.model.cluster import Description, Node, NodeSpec, NodeStatus

GO_NODE_SPEC = Struct("swarm.NodeSpec", {"Name": STRING, "Labels": Map(STRING), "Role": STRING, "Availability": STRING})


class NodeSpecRequest(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""
    labels: dict[str, str] | None = None
    role: str = ""
    availability: str = ""


def node(status: NodeStatus, ca: str) -> dict[str, Any]:
    """ca: certificate of the cluster's root, PEM; every node trusts the same."""
    found = status.node
    state = {"State": status.state, "Message": status.message, "Addr": found.address}
    shown: dict[str, Any] = {
        "ID": found.id,
        "Version": {"Index": found.index},
        "CreatedAt": rfc3339_nano(found.created),
        "UpdatedAt": rfc3339_nano(found.updated or found.created),
        "Spec": _spec(found.spec),
        "Description": {**_description(found.description), "TLSInfo": tls_info(ca)},
        "Status": {key: value for key, value in state.items() if value},
    }
    return {**shown, "ManagerStatus": _manager(status, found)} if found.manager_address else shown


def _spec(spec: NodeSpec) -> dict[str, Any]:
    named = {"Name": spec.name} if spec.name else {}
    labels = dict(sorted(spec.labels.items()))
    return {**named, "Labels": labels, "Role": spec.role, "Availability": spec.availability}


def _description(said: Description) -> dict[str, Any]:
    resources = {"NanoCPUs": said.nano_cpus, "MemoryBytes": said.memory}
    engine: dict[str, Any] = {
        "EngineVersion": said.engine_version,
        "Plugins": [{"Type": "Network", "Name": driver} for driver in sorted(said.network_drivers)],
    }
    return {
        "Hostname": said.hostname,
        "Platform": {"Architecture": said.architecture, "OS": said.os},
        "Resources": {key: value for key, value in resources.items() if value},
        "Engine": {key: value for key, value in engine.items() if value},
    }


def _manager(status: NodeStatus, found: Node) -> dict[str, Any]:
    leader = {"Leader": True} if status.leader else {}
    reachability = "reachable" if status.reachable else "unreachable"
    return {**leader, "Reachability": reachability, "Addr": found.manager_address}
