"""A cluster that is put back on a node of it: what went on for the one before has ended, whatever comes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from towline.cluster.identity import IdentityFiles
from towline.cluster.restoring import Restoration
from towline.cluster.surroundings import Surroundings
from towline.cluster.swarm import SwarmNode
from towline.model.errors import Unavailable


class Lab:
    """said: what happened, in order. fails: the backup cannot be put back."""

    def __init__(self, *, fails: bool) -> None:
        self.said: list[str] = []
        self.fails = fails
        files = SimpleNamespace(
            credentials=lambda: SimpleNamespace(certificate="", key=""),
            put_member_aside=lambda: None,
            take_member_back=lambda: None,
            save=lambda identity: None,
            save_certificate=lambda certificate, key: None,
        )
        around = SimpleNamespace(encryption=SimpleNamespace(close=self.says("encryption closes")))
        self.swarm = SwarmNode(cast(IdentityFiles, files), cast(Surroundings, around))
        cast(Any, self.swarm)._made = self.made

    def says(self, what: str) -> Any:
        async def say(*_: object) -> None:
            self.said.append(what)

        return say

    def made(self, identity: str) -> Any:
        self.said.append(f"{identity} begins")
        return self.membership(identity)

    def membership(self, identity: str) -> Any:
        async def restored(_: object) -> None:
            if self.fails:
                raise Unavailable("etcd")

        return SimpleNamespace(
            identity=identity,
            close=self.says(f"{identity} closes"),
            restored=restored,
            start=lambda: None,
            agent=SimpleNamespace(known=self.says(f"{identity} is known")),
        )

    async def replace(self) -> None:
        what = SimpleNamespace(identity="new", credentials=SimpleNamespace(certificate="", key=""))
        await self.swarm._replace(self.membership("old"), cast(Restoration, what))


async def test_encryption_of_the_one_before_ends_before_that_of_the_next_begins() -> None:
    lab = Lab(fails=False)
    await lab.replace()
    assert lab.said == ["old closes", "encryption closes", "new begins", "new is known"]


async def test_so_it_is_where_all_is_as_before() -> None:
    lab = Lab(fails=True)
    with pytest.raises(Unavailable):
        await lab.replace()
    assert lab.said == [
        "old closes",
        "encryption closes",
        "new begins",
        "new closes",
        "encryption closes",
        "old begins",
    ]
