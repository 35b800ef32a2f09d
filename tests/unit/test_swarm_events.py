from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.fake_swarm import member
from towline.model.cluster import NodeSpec, NodeStatus
from towline.model.events import Event
from towline.model.network import Network
from towline.policy.filters import EventFilter
from towline.policy.swarm_events import network_event, node_event

NODE = member("n1", "web")
MANAGER = member("n1", "web", manager_address="192.0.2.2:2377")
NAME = {"name": "web"}


def test_networks_are_told_with_their_name_only() -> None:
    network = Network("x" * 25, "ov", 1, "overlay", "ready", "swarm")
    assert network_event("create", network.id, network.name, 7) == Event(
        "network", "create", "x" * 25, {"name": "ov"}, "swarm", 7
    )


@pytest.mark.parametrize(
    ("old", "new", "action", "attributes"),
    [
        (None, NODE, "create", {}),
        (NODE, None, "remove", {}),
        (NODE, replace(NODE, state="down"), "update", {"state.old": "ready", "state.new": "down"}),
        (
            NODE,
            replace(NODE, node=replace(NODE.node, spec=NodeSpec(availability="drain"))),
            "update",
            {"availability.old": "active", "availability.new": "drain"},
        ),
        (NODE, MANAGER, "update", {"role.old": "worker", "role.new": "manager"}),
        (MANAGER, replace(MANAGER, leader=False), "update", {"leader.old": "true", "leader.new": "false"}),
        (
            MANAGER,
            replace(MANAGER, reachable=False),
            "update",
            {"reachability.old": "reachable", "reachability.new": "unreachable"},
        ),
        (NODE, replace(NODE, node=replace(NODE.node, spec=NodeSpec(labels={"a": "b"}))), "update", {}),
    ],
)
def test_nodes(old: NodeStatus | None, new: NodeStatus | None, action: str, attributes: dict[str, str]) -> None:
    event = node_event(old, new, 7)
    assert event == Event("node", action, "n1", {**NAME, **attributes}, "swarm", 7)
    assert EventFilter({"type": {"node": True}, "node": {"web": True}, "scope": {"swarm": True}}).matches(event)


def test_a_report_alone_is_no_event() -> None:
    assert node_event(NODE, replace(NODE, alive=None), 7) is None
    assert node_event(None, None, 7) is None
