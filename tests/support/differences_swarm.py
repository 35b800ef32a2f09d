"""Where Towline answers otherwise than the recorded Docker, on purpose: the swarm of one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.replay import Difference, scenarios

SCENARIO = "one node"
_RECORDED = scenarios()[SCENARIO]
_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")
_SIX = [
    {"Subnet": "10.90.4.0/24", "Gateway": "10.90.4.1"},
    {"Subnet": "fd7a:65b3:b3df::/64", "Gateway": "fd7a:65b3:b3df::1"},
]
_OVERLAP = (
    "invalid pool request: Pool overlaps with other one on this address space: 10.91.0.0/24 overlaps 10.91.0.0/24 "
    "of network two; choose another subnet, or leave it to the cluster"
)


def _changed(step: int, *without: str, **members: object) -> dict[str, Any]:
    body: Mapping[str, Any] = _RECORDED[step]["body"]
    return {name: value for name, value in {**body, **members}.items() if name not in without}


def _status(**subnets: tuple[int, int]) -> dict[str, Any]:
    """Used and free addresses by subnet."""
    shown = {subnet: {"IPsInUse": used, "DynamicIPsAvailable": free} for subnet, (used, free) in subnets.items()}
    return {"IPAM": {"Subnets": shown}}


def _settings() -> dict[str, Any]:
    (settings,) = _RECORDED[40]["body"]["NetworkSettings"]["Networks"].values()
    shown = {**_RECORDED[40]["body"]["NetworkSettings"], "Networks": {"ov1": {**settings, "IPAMConfig": None}}}
    return {"NetworkSettings": shown}


def _events() -> list[dict[str, Any]]:
    """Docker's gateway network was there before the scenario began; ours is made with the cluster."""
    events = [event for event in _RECORDED[45]["body"] if not _is_only_dockers(event)]
    connect = next(event for event in events if event["Action"] == "connect")
    actor = {"ID": "{hex64}", "Attributes": {"name": "docker_gwbridge", "type": "bridge"}}
    return [{**connect, "Action": "create", "Actor": actor}, *events]


def _is_only_dockers(event: Mapping[str, Any]) -> bool:
    half_made = event["Actor"]["ID"] == "{id:over}"
    return half_made or (event["scope"] == "local" and event["Action"] in ("create", "destroy"))


def _nodes() -> list[dict[str, Any]]:
    (node,) = _RECORDED[3]["body"]
    engine = {**node["Description"]["Engine"], "Plugins": [{"Type": "Network", "Name": name} for name in _DRIVERS]}
    return [{**node, "Description": {**node["Description"], "Engine": engine}}]


SWARM_DIFFERENCES: dict[tuple[str, int], Difference] = {
    (SCENARIO, 3): Difference(200, _nodes(), "Towline has drivers of networks only"),
    (SCENARIO, 7): Difference(
        200,
        _changed(7, "Peers", Labels=None, Containers={}, Status=_status(**{"10.90.0.0/24": (3, 253)})),
        "a node has a sandbox of the routing mesh only while services publish ports",
    ),
    (SCENARIO, 25): Difference(403, {"message": _OVERLAP}, "a network is whole or refused"),
    (SCENARIO, 26): Difference(404, {"message": "network over not found"}, "follows from step 25"),
    (SCENARIO, 27): Difference(404, {"message": "network over not found"}, "follows from step 25"),
    (SCENARIO, 32): Difference(
        200,
        _changed(
            32,
            IPAM={**_RECORDED[32]["body"]["IPAM"], "Config": _SIX},
            Status=_status(**{"10.90.4.0/24": (3, 253), "fd7a:65b3:b3df::/64": (2, 2**64 - 2)}),
        ),
        "a network with IPv6 has an IPv6 subnet",
    ),
    (SCENARIO, 40): Difference(200, _settings(), "what was not asked for is not shown as if it were"),
    (SCENARIO, 41): Difference(
        200,
        _changed(
            41,
            Containers={"{id:a1}": _RECORDED[41]["body"]["Containers"]["{id:a1}"]},
            Status=_status(**{"10.90.1.0/24": (4, 252)}),
        ),
        "there is no load balancer of each network on each node",
    ),
    (SCENARIO, 45): Difference(200, _events(), "a network is made once, for the cluster, and whole"),
    (SCENARIO, 47): Difference(204, "", "a node has a sandbox of the routing mesh only while services publish ports"),
    (SCENARIO, 52): Difference(404, {"message": "network docker_gwbridge not found"}, "follows from step 47"),
}
