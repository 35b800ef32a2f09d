"""Nodes: which one is meant, which are shown, what may be changed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.fake_swarm import member
from towline.model.cluster import NodeSpec, NodeStatus
from towline.model.errors import Failure, InvalidParameter, NotFound
from towline.policy.swarm_nodes import LARGEST_LABELS, NodeFilter, check_removal, check_spec, check_update, find

MANAGER = NodeSpec(role="manager")


def _manager(node_id: str, *, reachable: bool = True) -> NodeStatus:
    status = member(node_id, f"h-{node_id}", MANAGER, manager_address="192.0.2.2:2377")
    return replace(status, reachable=reachable)


WEB = member("web1", "Web", NodeSpec(labels={"disk": "ssd", "rack": ""}))
DATABASE = member("data2", "db", NodeSpec(labels={"disk": "hdd"}))
TWIN = member("data3", "db")
ONE = _manager("one")
NODES = [WEB, DATABASE, TWIN, ONE]


@pytest.mark.parametrize(
    ("term", "found"),
    [("web1", WEB), ("Web", WEB), ("wEB", WEB), ("w", WEB), ("data2", DATABASE), ("self", TWIN), ("o", ONE)],
)
def test_find(term: str, found: NodeStatus) -> None:
    assert find(NODES, term, "data3") is found


def test_a_name_wins_over_self_and_over_a_prefix() -> None:
    named = member("zzz", "self")
    assert find([*NODES, named], "self", "web1") is named
    assert find([*NODES, member("yyy", "web1x"), member("xxx", "o")], "o").node.id == "xxx"


@pytest.mark.parametrize(
    ("term", "refusal"),
    [
        ("nope", NotFound("node nope not found")),
        ("self", NotFound("node self not found")),
        ("db", Failure("node db is ambiguous (2 matches found)")),
        ("data", Failure("node data is ambiguous (2 matches found)")),
    ],
)
def test_not_found(term: str, refusal: Exception) -> None:
    with pytest.raises(type(refusal)) as refused:
        find(NODES, term)
    assert str(refused.value) == str(refusal)


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ({}, NODES),
        ({"name": {"we": True}}, [WEB]),
        ({"name": {"WEB": True, "h-": True}}, [WEB, ONE]),
        ({"id": {"data": True}}, [DATABASE, TWIN]),
        ({"role": {"Manager": True}}, [ONE]),
        ({"role": {"": True}}, NODES),
        ({"membership": {"accepted": True}}, NODES),
        ({"membership": {"pending": True}}, []),
        ({"label": {"disk": True}}, [WEB, DATABASE]),
        ({"node.label": {"disk=ssd": True}}, [WEB]),
        ({"label": {"disk=": True}}, [WEB, DATABASE]),
        ({"label": {"disk=ssd": True, "nope": True}}, []),
    ],
)
def test_filters(filters: dict[str, dict[str, bool]], shown: list[NodeStatus]) -> None:
    wanted = NodeFilter(filters)
    assert [status for status in NODES if wanted.matches(status)] == shown


@pytest.mark.parametrize(
    ("filters", "refusal"),
    [
        ({"nope": {"x": True}}, InvalidParameter("invalid filter 'nope'")),
        ({"role": {"king": True}}, Failure("Invalid role filter: 'king'")),
        ({"membership": {"x": True}}, Failure("Invalid membership filter: 'x'")),
    ],
)
def test_refused_filters(filters: dict[str, dict[str, bool]], refusal: Exception) -> None:
    with pytest.raises(type(refusal)) as refused:
        NodeFilter(filters)
    assert str(refused.value) == str(refusal)


def test_spec() -> None:
    assert check_spec("Manager", "DRAIN", "", {"b": "2", "a": "1"}) == NodeSpec(
        "manager", "drain", "", {"a": "1", "b": "2"}
    )


@pytest.mark.parametrize(
    ("role", "availability", "label", "text"),
    [
        ("", "active", "", 'invalid Role: ""'),
        ("king", "active", "", 'invalid Role: "king"'),
        ("worker", "", "", 'invalid Availability: ""'),
        ("worker", "active", "x" * LARGEST_LABELS, "the node's labels are longer than"),
    ],
)
def test_refused_spec(role: str, availability: str, label: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_spec(role, availability, "", {"a": label})
    assert str(refused.value).startswith(text)


def test_demotion_leaves_a_manager_and_a_quorum() -> None:
    check_update(NODES, "web1", MANAGER)
    check_update(NODES, "one", MANAGER)
    three = [_manager("one"), _manager("two"), _manager("three")]
    check_update(three, "one", NodeSpec())
    with pytest.raises(
        InvalidParameter, match="^rpc error: code = FailedPrecondition desc = attempting to demote the last"
    ):
        check_update(NODES, "one", NodeSpec())
    two_left = [_manager("one"), _manager("two"), _manager("three", reachable=False)]
    check_update(two_left, "three", NodeSpec())
    with pytest.raises(
        InvalidParameter, match="can't remove member from the raft: this would result in a loss of quorum"
    ):
        check_update(two_left, "one", NodeSpec())
    with pytest.raises(NotFound, match="^node gone not found$"):
        check_update(NODES, "gone", NodeSpec())


def test_removal() -> None:
    down = replace(WEB, state="down")
    check_removal([down], "web1", force=False)
    check_removal(NODES, "web1", force=True)
    with pytest.raises(InvalidParameter, match="node web1 is not down and can't be removed"):
        check_removal(NODES, "web1", force=False)
    with pytest.raises(InvalidParameter, match="It must be demoted to worker before removal"):
        check_removal(NODES, "one", force=True)
    demoted_not_yet = replace(ONE, node=replace(ONE.node, spec=NodeSpec()))
    with pytest.raises(InvalidParameter, match="is a member of the raft cluster"):
        check_removal([demoted_not_yet], "one", force=True)
