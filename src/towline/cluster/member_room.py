"""Makes room in a manager's etcd when its database has reached its quota: nobody needs to do it by hand.

Each manager does it for its own member, since each database has its own free pages. One that is full of what is true,
not of history, cannot be helped that way: it is tried again later and told.
"""

from __future__ import annotations

import asyncio
import logging

from towline.cluster.member import Member
from towline.cluster.member_verbs import FULL, Members
from towline.cluster.tasks import begin
from towline.model.errors import TowlineError

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two attempts."""


class MemberRoom:
    def __init__(self, member: Member, members: Members) -> None:
        self._member = member
        self._members = members
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begin(self._run(), "room in etcd's database")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = SHORTEST
        while True:
            while self._member.state.problem != FULL:
                pause = SHORTEST
                await self._member.wait_change()
            log.warning("etcd's database is full: history is forgotten and free pages are given back")
            try:
                await self._members.make_room()
            except TowlineError as error:
                log.error("no room can be made in etcd's database yet", extra={"fields": {"why": str(error)}})
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)
