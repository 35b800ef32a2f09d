"""Which members of etcd are no manager's, and when they go."""

from __future__ import annotations

import asyncio
import socket

import pytest
from msgspec.structs import replace

from towline.cluster.best_link import BestLink
from towline.cluster.member_ports import check_ports
from towline.cluster.member_sweep import COMING, GOING, MemberSweep, strays
from towline.cluster.member_verbs import MemberInfo
from towline.cluster.state import State
from towline.cluster.tasks import begin
from towline.model.cluster import Node, NodeSpec
from towline.model.errors import Unavailable


def _node(name: str, role: str = "manager", address: str = "192.0.2.1:2377") -> Node:
    return Node(id=name, created=1, updated=1, spec=NodeSpec(role=role), manager_address=address)  # type: ignore[arg-type]


def _state(*nodes: Node) -> State:
    state = State()
    for node in nodes:
        state.nodes[node.id] = node
    return state


def test_members_without_a_manager() -> None:
    state = _state(_node("a"), _node("b", address=""), _node("c", role="worker"))
    members = [MemberInfo(n, name) for n, name in enumerate(("a", "b", "c", "gone", ""))]
    assert strays(members, state) == {1: COMING, 2: GOING, 3: GOING, 4: COMING}


class _Members:
    def __init__(self, *members: MemberInfo) -> None:
        self.members = list(members)

    async def list(self) -> tuple[MemberInfo, ...]:
        return tuple(self.members)

    async def remove(self, member: int) -> None:
        self.members = [each for each in self.members if each.id != member]


class _Nodes:
    def __init__(self) -> None:
        self.set: list[tuple[str, str]] = []

    async def set_manager(self, node_id: str, address: str) -> None:
        self.set.append((node_id, address))


async def test_a_learner_that_never_came_goes_in_the_end_and_one_that_came_stays() -> None:
    now, state = [0.0], _state(_node("own"))
    members, nodes = _Members(MemberInfo(1, "own"), MemberInfo(2, "", learner=True), MemberInfo(3, "late")), _Nodes()
    sweep = MemberSweep(members, nodes, None, lambda: state, own="own", monotonic=lambda: now[0])  # type: ignore[arg-type]
    state.nodes["late"] = _node("late", address="")
    await sweep.look()
    now[0] = COMING - 1
    await sweep.look()
    assert [member.id for member in members.members] == [1, 2, 3]
    state.nodes["late"] = replace(state.nodes["late"], manager_address="192.0.2.3:2377")
    now[0] = COMING
    await sweep.look()
    assert [member.id for member in members.members] == [1, 3]
    assert nodes.set == []


async def test_a_worker_without_a_member_is_shown_as_no_manager() -> None:
    nodes, state = _Nodes(), _state(_node("own"), _node("was", role="worker"))
    sweep = MemberSweep(_Members(MemberInfo(1, "own")), nodes, None, lambda: state, own="own")  # type: ignore[arg-type]
    await sweep.look()
    assert nodes.set == [("was", "")]


async def test_nothing_is_removed_on_the_word_of_an_old_copy() -> None:
    members = _Members(MemberInfo(2, "gone"))
    now = [0.0]
    sweep = MemberSweep(members, _Nodes(), None, lambda: None, own="own", monotonic=lambda: now[0])  # type: ignore[arg-type]
    await sweep.look()
    now[0] = 10 * COMING
    await sweep.look()
    assert members.members


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"listen tcp 127.0.0.1:{port}: bind: address already in use"):
            check_ports([("127.0.0.1", port)])


async def test_a_task_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("nobody expected this")

    await asyncio.wait([begin(fail(), "test")])
    assert "a task of the cluster has failed" in caplog.text
    assert "nobody expected this" in caplog.text


async def test_a_manager_that_does_not_hear_etcd_is_not_asked() -> None:
    well = True
    link = BestLink.__new__(BestLink)
    link.remote = remote = object()  # type: ignore[assignment]
    own = object()
    link.use(own, lambda: well)  # type: ignore[arg-type]
    assert link._now() is own
    well = False
    assert link._now() is remote
    link.drop()
    well = True
    assert link._now() is remote
