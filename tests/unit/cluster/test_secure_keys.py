"""WireGuard keys on their way: what a node reports, what managers believe, what is in the node's file."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.support.fake_cluster import FakeManagers, FakeReplica
from tests.support.managers import managers, node
from towline.cluster.agent import Agent
from towline.cluster.contract import Report
from towline.cluster.etcd_fake import FakeCluster
from towline.cluster.identity import IdentityFiles
from towline.cluster.secure_file import SecureFile
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.cluster import Description
from towline.model.errors import InvalidParameter, StoreCorrupt, StoreError
from towline.model.secure import HeldKey, SecureKey, key_text

A, B = node(0), node(1)
ONE, TWO, THREE = (SecureKey(key_text(bytes([number]) * 32), 51820) for number in (1, 2, 3))


async def test_a_node_is_known_by_the_keys_it_reports_and_keeps_them_while_it_says_nothing() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        await manager.beat(B.id, Report(1, 0, secure=(ONE, TWO)))
        assert manager.state.nodes[B.id].secure == (ONE, TWO)
        await manager.beat(B.id, Report(2, 0))
        assert manager.state.nodes[B.id].secure == (ONE, TWO)
        await manager.beat(B.id, Report(3, 0, secure=()))
        assert manager.state.nodes[B.id].secure == ()


@pytest.mark.parametrize(
    "keys",
    [
        (SecureKey("x", 51820),),
        (SecureKey(key_text(bytes(32)), 51820),),
        (replace(ONE, port=0),),
        (ONE, ONE),
        (ONE, TWO, THREE),
    ],
)
async def test_what_is_no_key_is_refused(keys: tuple[SecureKey, ...]) -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        with pytest.raises(InvalidParameter, match="the node's WireGuard keys"):
            await manager.beat(B.id, Report(1, 0, secure=keys))
        assert manager.state.nodes[B.id].secure == ()


async def test_nobody_takes_the_key_of_another() -> None:
    async with managers([FakeCluster().client()], nodes=2) as (manager,):
        await manager.beat(A.id, Report(1, 0, secure=(ONE, TWO)))
        with pytest.raises(InvalidParameter, match=f"is that of node {A.id} already"):
            await manager.beat(B.id, Report(1, 0, secure=(THREE, TWO)))
        assert manager.state.nodes[B.id].secure == ()
        await manager.beat(A.id, Report(2, 0, secure=(TWO,)))
        await manager.beat(B.id, Report(2, 0, secure=(ONE,)))


async def test_a_change_is_reported_at_once_and_what_others_made_of_it_is_set_right() -> None:
    fake, keys = FakeManagers(), [(ONE,)]
    link = fake.link(B.id)
    fake.nodes[B.id] = replace(B, secure=(ONE,))
    agent = Agent(
        B.id, link, FakeReplica(), data_path=B.data_path, describe=lambda: Description("b"), secure=lambda: keys[0]
    )

    def reported() -> list[tuple[SecureKey, ...]]:
        return [report.secure for _, report in fake.beats if report.secure is not None]

    agent.start()
    try:
        await agent.known(5)
        assert reported()[0] == (ONE,)
        keys[0] = (ONE, TWO)
        agent.report_soon()
        async with asyncio.timeout(10):
            while reported()[-1] != (ONE, TWO):
                await asyncio.sleep(0.005)
            before = len(reported())
            while len(reported()) < before + 3:  # the record says (ONE,) still: it is said again
                await asyncio.sleep(0.005)
    finally:
        await agent.close()


def held(port: int = 51820) -> HeldKey:
    private = new_private_key()
    return HeldKey(private, public_key(private), port, 1.0)


def test_keys_are_in_a_closed_file_that_goes_with_the_cluster(tmp_path: Path) -> None:
    files = IdentityFiles(tmp_path / "cluster")
    files.root.mkdir()
    file = SecureFile(files)
    assert file.load() == ()
    keys = (held(), held(51821))
    file.save(keys)
    assert file.load() == keys
    assert stat.S_IMODE((files.root / "secure.json").stat().st_mode) == 0o600
    files.erase()
    assert file.load() == ()
    with pytest.raises(StoreError):
        file.save(keys)


@pytest.mark.parametrize("wrong", ["nonsense", "another public key", "no private key", "three"])
def test_a_file_that_holds_no_keys_is_told(tmp_path: Path, wrong: str) -> None:
    one = held()
    data = {
        "nonsense": b"nonsense",
        "another public key": msgspec.json.encode([replace(one, public=held().public)]),
        "no private key": msgspec.json.encode([replace(one, private="x")]),
        "three": msgspec.json.encode([held(), held(), held()]),
    }
    (tmp_path / "secure.json").write_bytes(data[wrong])
    with pytest.raises(StoreCorrupt, match=r"secure\.json"):
        SecureFile(IdentityFiles(tmp_path)).load()


def test_no_private_key_is_shown() -> None:
    one = held()
    assert one.private not in repr(one)
    assert one.public in repr(one)
