"""What managers do with etcd's members: list, add, promote, remove, look, make room, and take a backup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from towline.cluster import etcd_wire as wire
from towline.cluster.etcd_gateway import EtcdRefusal, Gateway
from towline.model.errors import Conflict, NotFound, TowlineError, Unavailable

_T = TypeVar("_T")
_WAIT = ("in sync with leader", "too many learner", "unhealthy cluster")
_PAUSE, _LONG = 0.2, 120.0  # seconds
NO_LEADER = "no leader"
FULL = "etcd's database is full (alarm NOSPACE): it must be compacted and defragmented, which is tried"


class _NotYet(Unavailable):
    """The same may be possible in some seconds."""


class MemberInfo(msgspec.Struct, frozen=True):
    """name: "" until it has started. A learner gets everything and does not count for the quorum."""

    id: int = msgspec.field(name="ID", default=0)
    name: str = ""
    peer_urls: tuple[str, ...] = msgspec.field(name="peerURLs", default=())
    client_urls: tuple[str, ...] = msgspec.field(name="clientURLs", default=())
    learner: bool = msgspec.field(name="isLearner", default=False)


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """Of the member that answers. db_size: bytes of its file; db_size_in_use: of those, what is not free. leader: 0 if
    it knows none. errors: etcd's words, alarms among them."""

    header: wire.Header = wire.Header()
    version: str = ""
    db_size: int = 0
    db_size_in_use: int = 0
    leader: int = 0
    raft_index: int = 0
    raft_term: int = 0
    raft_applied_index: int = 0
    errors: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def problem(self) -> str:
        """In words with a remedy, or ""."""
        if not self.leader:
            return f"etcd has {NO_LEADER}: more than half of the managers must be reachable"
        for each in self.errors:
            if "NOSPACE" in each:
                return FULL
            if "CORRUPT" in each:
                return "etcd's members differ (alarm CORRUPT): remove the damaged one, and join again"
        return ", ".join(self.errors)


class Added(msgspec.Struct, frozen=True):
    """others: for the new member's start, all other members' peer URLs by name."""

    id: int
    others: Mapping[str, str]


class _Members(msgspec.Struct, frozen=True):
    members: tuple[MemberInfo, ...] = ()


class _Alarm(msgspec.Struct, frozen=True):
    member: int = msgspec.field(name="memberID", default=0)
    alarm: str = ""


class _Alarms(msgspec.Struct, frozen=True):
    alarms: tuple[_Alarm, ...] = ()


class Members:
    """By way of any member that is no learner. Everything raises Unavailable when there is no quorum."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def list(self) -> tuple[MemberInfo, ...]:
        return (await self._ask("cluster/member/list", {}, _Members)).members

    async def add(self, peer_url: str, within: float = 20.0) -> Added:
        """As a learner. Done already, it is not done again. Conflict if such a member has started before.

        etcd takes one learner at a time, and changes members only when all have been connected for 5 s: Unavailable if
        that is not so within `within` seconds.
        """
        async with _deadline(within, f"etcd did not take a new member at {peer_url}") as failed:
            while True:
                try:
                    return await self._add(peer_url)
                except _NotYet as error:
                    failed.append(error)
                    await asyncio.sleep(_PAUSE)
        raise AssertionError

    async def promote(self, member: int, within: float = 60.0) -> None:
        """Wait until the learner has caught up, and let it count. Nothing if it is no learner any more."""
        await self._change("promote", member, within, f"etcd's new member {member:x} has not caught up")

    async def remove(self, member: int, within: float = 20.0) -> None:
        """Nothing if it is gone. Conflict if the others would have no quorum then; Unavailable as `add`."""
        await self._change("remove", member, within, f"etcd did not remove member {member:x}")

    async def status(self) -> Status:
        return await self._ask("maintenance/status", {}, Status)

    async def defragment(self) -> None:
        """Only of the member that is asked; it does not answer others meanwhile (seconds per GiB)."""
        try:
            await self._gateway.ask("maintenance/defragment", {}, object, again=False, within=_LONG)
        except EtcdRefusal as error:
            raise _translated(error) from error

    async def make_room(self) -> None:
        """Forget history, give free pages back, and end the alarm NOSPACE. Each member defragments itself."""
        revision = (await self._ask("kv/range", {"key": b"\0", "limit": 1, "keys_only": True}, wire.RangeAnswer)).header
        try:
            body = {"revision": revision.revision, "physical": True}
            await self._gateway.ask("kv/compaction", body, object, again=False)
        except EtcdRefusal as error:
            if error.code != wire.OUT_OF_RANGE:  # somebody else has
                raise _translated(error) from error
        await self.defragment()
        for alarm in (await self._ask("maintenance/alarm", {"action": "GET"}, _Alarms)).alarms:
            if alarm.alarm == "NOSPACE":
                disarm: dict[str, object] = {"action": "DEACTIVATE", "memberID": alarm.member, "alarm": "NOSPACE"}
                await self._ask("maintenance/alarm", disarm, object)

    async def _add(self, peer_url: str) -> Added:
        members = await self.list()
        found = next((each for each in members if peer_url in each.peer_urls), None)
        if found is not None and found.name:
            raise Conflict(f"etcd has a member at {peer_url} already: {found.name}. Remove it first")
        if found is None:
            body = {"peerURLs": [peer_url], "isLearner": True}
            members = (await self._ask("cluster/member/add", body, _Members, again=False)).members
            found = next(each for each in members if peer_url in each.peer_urls)
        return Added(found.id, {each.name or f"{each.id:x}": each.peer_urls[0] for each in members if each != found})

    async def _change(self, verb: str, member: int, within: float, words: str) -> None:
        async with _deadline(within, words) as failed:
            while True:
                try:
                    await self._ask(f"cluster/member/{verb}", {"ID": member}, object, again=False)
                except NotFound:
                    if verb == "promote":
                        raise
                except _NotYet as error:
                    failed.append(error)
                    await asyncio.sleep(_PAUSE)
                    continue
                except Conflict as error:
                    if "can only promote a learner" not in str(error):
                        raise
                return

    async def _ask(self, path: str, body: object, answer: type[_T], *, again: bool = True) -> _T:
        try:
            return await self._gateway.ask(path, body, answer, again=again)
        except EtcdRefusal as error:
            raise _translated(error) from error


@asynccontextmanager
async def _deadline(within: float, words: str) -> AsyncIterator[list[TowlineError]]:
    """The list takes why it has not worked so far."""
    failed: list[TowlineError] = []
    try:
        async with asyncio.timeout(within):
            yield failed
    except TimeoutError as error:
        why = f": {failed[-1]}" if failed else ""
        raise Unavailable(f"{words} within {within:.0f} s{why}") from error


def _translated(error: EtcdRefusal) -> TowlineError:
    text = str(error)
    if any(each in text for each in _WAIT):
        return _NotYet(text)
    kind = {wire.NOT_FOUND: NotFound, wire.PRECONDITION: Conflict}.get(error.code, Unavailable)
    return kind(text)
