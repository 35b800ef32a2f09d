"""The leader keeps etcd's members equal to the cluster's managers: what a manager that crashed, left or was demoted in
the middle has left in etcd goes. Else it counts for the quorum for ever, or (etcd takes one learner at a time) no other
manager can come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from towline.cluster.leader import Leader
from towline.cluster.managing_nodes import Nodes
from towline.cluster.member_verbs import MemberInfo, Members
from towline.cluster.pauses import Pauses
from towline.cluster.state import State
from towline.cluster.tasks import begin
from towline.model.errors import TowlineError

log = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds between two looks."""
COMING, GOING = 120.0, 15.0
"""Seconds for which a member may be without a manager: while it comes, longer than a promotion is waited for; and while
it goes, longer than the node needs for taking it away itself."""


def strays(members: Iterable[MemberInfo], state: State) -> dict[int, float]:
    """Members that are no manager's, and for how many seconds each may be that."""
    found = {}
    for member in members:
        node = state.nodes.get(member.name)
        if (node is None and member.name) or (node is not None and node.spec.role == "worker"):
            found[member.id] = GOING
        elif node is None or not node.manager_address:
            found[member.id] = COMING
    return found


class MemberSweep:
    """state: this manager's copy, None while it does not hear etcd."""

    def __init__(
        self,
        members: Members,
        nodes: Nodes,
        leader: Leader,
        state: Callable[[], State | None],
        *,
        own: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = members
        self._nodes = nodes
        self._leader = leader
        self._state = state
        self._own = own
        self._monotonic = monotonic
        self._since: dict[int, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begin(self._run(), "etcd's members")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            await self._leader.wait()
            try:
                await self.look()
                pauses.reset()
            except TowlineError as error:
                log.info("etcd's members are compared later", extra={"fields": {"why": str(error)}})
                await pauses.wait()
            except Exception:
                log.exception("etcd's members cannot be compared")
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Removes what has been a stray for long enough. Unavailable, Conflict if etcd would have no quorum then."""
        state = self._state()
        if state is None:
            return
        members = [member for member in await self._members.list() if member.name != self._own]
        allowed, now = strays(members, state), self._monotonic()
        self._since = {key: self._since.get(key, now) for key in allowed}
        for member in members:
            if member.id in allowed and now - self._since[member.id] >= allowed[member.id]:
                await self._members.remove(member.id)
                log.warning(
                    "a member of etcd was no manager's: removed",
                    extra={"fields": {"member": f"{member.id:x}", "node": member.name, "peer": list(member.peer_urls)}},
                )
        names = {member.name for member in members}
        for node in list(state.nodes.values()):
            if node.spec.role == "worker" and node.manager_address and node.id not in names | {self._own}:
                await self._nodes.set_manager(node.id, "")
