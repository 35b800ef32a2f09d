"""A certificate is renewed in time and checked, and its role is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.node_api import FakeManaging
from towline.cluster import pki, renewal
from towline.cluster.identity import IdentityFiles
from towline.cluster.renewal import Renewal
from towline.model.cluster import Role
from towline.model.errors import Failure, Unavailable


class Managers:
    """Answers as `FakeManaging` does, or as a test says. roles: those that the node was told to have."""

    def __init__(self, folder: Path, role: Role = "worker") -> None:
        self.cluster = FakeManaging()
        self.files = self.cluster.certified(folder, role, seconds=3600)
        self.node = self.files.root.name
        self.answer: Callable[[bytes], Awaitable[bytes]] = self.sign
        self.asked = 0
        self.roles: asyncio.Queue[Role] = asyncio.Queue()
        self.now = pki.life_of(self.files.credentials().certificate)[0]

    def renewal(self, spread: float = 0.0) -> Renewal:
        return Renewal(self.files, self._renew, self._renewed, clock=lambda: self.now, spread=lambda: spread)

    async def sign(self, request: bytes) -> bytes:
        return await self.cluster.renew(self.node, request)

    async def _renew(self, request: bytes) -> bytes:
        self.asked += 1
        return await self.answer(request)

    async def _renewed(self, role: Role) -> None:
        self.roles.put_nowait(role)


@pytest.fixture
def managers(tmp_path: Path) -> Managers:
    return Managers(tmp_path)


async def test_a_new_certificate_is_kept_with_a_new_key(managers: Managers) -> None:
    before = managers.files.credentials()
    assert await managers.renewal().once() == "worker"
    after = managers.files.credentials()
    assert after.key != before.key
    assert pki.belong_together(after.certificate, after.key)
    assert pki.subject_of(after.certificate) == pki.subject_of(before.certificate)
    assert managers.files.load() is not None
    assert managers.roles.get_nowait() == "worker"


@pytest.mark.parametrize(("spread", "share"), [(0.0, 0.5), (1.0, 0.8)])
async def test_it_is_renewed_in_the_second_half_of_its_life(
    managers: Managers, monkeypatch: pytest.MonkeyPatch, spread: float, share: float
) -> None:
    monkeypatch.setattr(renewal, "_LONGEST_WAIT", 0.01)
    since, until = pki.life_of(managers.files.credentials().certificate)
    due = since + (until - since) * share
    managers.now = due - 1
    job = managers.renewal(spread)
    job.start()
    for _ in range(20):  # it looks at the clock, again and again
        await asyncio.sleep(0.005)
    assert managers.asked == 0
    managers.now = due + 1
    assert await asyncio.wait_for(managers.roles.get(), 10) == "worker"
    await job.close()
    assert managers.asked == 1


async def test_another_role_is_asked_for_at_once(managers: Managers) -> None:
    job = managers.renewal()
    job.start()
    job.told_role("worker")
    managers.cluster.members[managers.node] = "manager"
    job.told_role("manager")
    assert await asyncio.wait_for(managers.roles.get(), 10) == "manager"
    assert job.role == "manager"
    await job.close()
    assert managers.asked == 1


async def test_it_tries_again(managers: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "_SHORTEST_PAUSE", 0.01)
    failures = [Unavailable("no manager answers"), OSError(28, "No space left on device")]

    async def answer(request: bytes) -> bytes:
        if failures:
            raise failures.pop()
        return await managers.sign(request)

    managers.answer = answer
    job = managers.renewal()
    job.start()
    job.soon()
    assert await asyncio.wait_for(managers.roles.get(), 10) == "worker"
    await job.close()
    assert managers.asked == 3


async def test_a_certificate_that_is_not_ours_is_not_kept(managers: Managers, tmp_path: Path) -> None:
    before = managers.files.credentials()
    other = Managers(tmp_path)
    other.cluster.id = managers.cluster.id
    other.cluster.members[managers.node] = "worker"

    async def of_another_root(request: bytes) -> bytes:
        return await other.cluster.renew(managers.node, request)

    async def of_another_node(request: bytes) -> bytes:
        managers.cluster.members["x" * 25] = "worker"
        return await managers.cluster.renew("x" * 25, request)

    async def of_another_key(request: bytes) -> bytes:
        return await managers.sign(pki.new_request().certificate.encode())

    async def no_certificate(request: bytes) -> bytes:
        return b"\xff"

    for answer in (of_another_root, of_another_node, of_another_key, no_certificate):
        managers.answer = answer
        with pytest.raises(Failure, match="new certificate"):
            await managers.renewal().once()
    assert managers.files.credentials() == before
    assert managers.roles.empty()


async def test_what_follows_may_fail(managers: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "_SHORTEST_PAUSE", 0.01)
    seen: asyncio.Queue[Role] = asyncio.Queue()

    async def renewed(role: Role) -> None:
        seen.put_nowait(role)
        raise RuntimeError("cannot become that")

    job = Renewal(managers.files, managers.sign, renewed, clock=lambda: managers.now, spread=lambda: 0.0)
    job.start()
    for _ in range(2):
        job.soon()
        assert await asyncio.wait_for(seen.get(), 10) == "worker"
    await job.close()


def test_files_say_the_role(tmp_path: Path) -> None:
    cluster = FakeManaging()
    files: IdentityFiles = cluster.certified(tmp_path, "manager")

    async def never(_: bytes) -> bytes:
        raise AssertionError

    async def nothing(_: Role) -> None:
        return None

    assert Renewal(files, never, nothing).role == "manager"


async def test_a_clock_beyond_the_new_certificates_end_does_not_renew_without_pause(
    managers: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_SHORTEST_PAUSE", 0.05)
    managers.now += 7200
    running = managers.renewal()
    running.start()
    await managers.roles.get()
    await managers.roles.get()
    asked = managers.asked
    await asyncio.sleep(0.1)  # the pause is 0.1 s by now
    assert managers.asked <= asked + 1
    managers.now -= 7200
    await running.close()
