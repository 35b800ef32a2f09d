"""What a manager needs of the etcd behind it: a member of its own (`own_etcd`), or somebody else's (`foreign_etcd`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from towline.cluster.client import RemoteLink
from towline.cluster.contract import Etcd
from towline.cluster.manager import Manager
from towline.model.cluster import Secrets
from towline.model.errors import Unavailable


class MemberRemoved(Unavailable):
    """The cluster has taken this manager's member out of etcd: its data is of no use any more."""


class Backing(Protocol):
    """One of `begin`, `enlist` and `resume`, which answer a connection that the caller closes; then `close`."""

    @property
    def has_data(self) -> bool:
        """There is something to resume with."""
        ...

    async def begin(self, secrets: Secrets, seconds: float) -> Etcd:
        """For a new cluster. seconds: life of certificates. Unavailable."""
        ...

    async def enlist(self, link: RemoteLink) -> Etcd:
        """For a manager that comes to others. Goes on where an earlier one was cut short. Unavailable, Conflict."""
        ...

    async def resume(self, *, alone: bool) -> Etcd:
        """alone: after the others are lost. Unavailable; MemberRemoved; Conflict if it holds another cluster."""
        ...

    def accompany(self, manager: Manager, well: Callable[[], bool]) -> None:
        """From now on, until `close`: what must go on besides. well: etcd is heard."""
        ...

    async def make_room(self, node_id: str, peer: str, fresh: bool) -> tuple[int, dict[str, str]]:
        """As `gate.Enlist`. Conflict where managers have no members."""
        ...

    async def promote(self, member: int) -> None:
        """As `gate.Promote`."""
        ...

    async def withdraw(self) -> None:
        """This manager goes: nothing of it is left there. Unavailable, Conflict."""
        ...

    async def wait_removed(self) -> str:
        """Until the others have taken this manager out; why."""
        ...

    async def close(self) -> None: ...
