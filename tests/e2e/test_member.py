"""Managers' etcds: real processes with mutual TLS, alone and three together, killed, removed, full, backed up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.support.disk import HOLD
from tests.support.etcd_conformance import CASES, WITHIN, Case, put, take
from tests.support.etcd_members import Managers, managers
from tests.support.etcd_process import free_ports
from tests.support.needs import need_root
from towline.cluster.contract import DeleteKey, KeyValue, PutKey
from towline.cluster.etcd import EtcdClient
from towline.cluster.etcd_gateway import Gateway
from towline.cluster.member import Member, MemberState
from towline.cluster.member_verbs import NO_LEADER
from towline.model.errors import Conflict, NotFound, Unavailable


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Managers]:
    async with managers(tmp_path) as made:
        yield made


async def until(member: Member, holds: Callable[[MemberState], bool]) -> MemberState:
    async with asyncio.timeout(60):
        while not holds(member.state):
            await member.wait_change()
    return member.state


def alive(pid: int) -> bool:
    """Not so if it only waits for its parent to take note of its end."""
    try:
        _, _, after = Path(f"/proc/{pid}/stat").read_text().partition("(etcd) ")
    except FileNotFoundError:
        return False
    return bool(after) and after[0] not in "ZX"


async def test_one_member_begins_ends_and_goes_on(lab: Managers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "other")
    monkeypatch.setenv("ETCD_FORCE_NEW_CLUSTER", "nonsense")
    one = lab.make(1)
    with pytest.raises(NotFound):
        await one.start("resume")
    await one.start("new")
    assert one.state == MemberState("running", starts=1)
    assert [each.name for each in await lab.verbs(one).list()] == ["node1"]
    with pytest.raises(Conflict):
        await one.start("resume")
    revision = await put(lab.client(one), "/a", b"kept")
    pid = one.pid
    assert alive(pid)
    await one.stop()
    assert not alive(pid)
    assert one.state.phase == "stopped"
    with pytest.raises(Unavailable):
        await lab.client(one).get("/a")
    again = lab.again(one)
    with pytest.raises(Conflict, match="resume with it"):
        await again.start("new")
    await again.start("resume")
    assert (await lab.client(again).get("/a")).modified == revision
    for path in Path(one.config.root).rglob("*"):
        mode = path.stat().st_mode
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path


@pytest.mark.parametrize("case", CASES[:7], ids=lambda case: case.__name__)
async def test_serves_over_mutual_tls(lab: Managers, case: Case) -> None:
    class Lab:
        def __init__(self, one: Member) -> None:
            self.etcd, self.other = lab.client(one), lab.client(one)

        async def compact(self) -> None: ...
        async def pass_time(self, seconds: int) -> None: ...

    one = lab.make(1)
    await one.start("new")
    await case(Lab(one))


async def test_who_has_no_certificate_of_the_cluster_is_refused(lab: Managers, tmp_path: Path) -> None:
    one = lab.make(1)
    await one.start("new")
    url = one.config.client_url
    await asyncio.to_thread(_refuse_without_tls, url)
    foreign = lab.certificate(tmp_path / "foreign", "127.0.0.9", foreign=True)
    bare, strange, doubting = (ssl.create_default_context(cafile=ca) for ca in (foreign.ca, foreign.ca, None))
    strange.load_cert_chain(foreign.certificate, foreign.key)
    doubting.load_cert_chain(one.config.tls.certificate, one.config.tls.key)
    for context in (bare, strange, doubting):
        for target in (url, one.config.peer_url):
            gateway = Gateway([target], context)
            with pytest.raises(Unavailable):
                await EtcdClient(gateway).get("/a")
            with pytest.raises(Unavailable):
                await EtcdClient(gateway).transact([], [PutKey("/a", b"")])
            await gateway.close()
    assert (await lab.client(one).get("/a")).modified == 0
    two = lab.make(2)
    lab.certificate(Path(two.config.tls.ca).parent, "127.0.0.2", foreign=True)
    added = await lab.verbs(one).add(two.config.peer_url)
    with pytest.raises(Unavailable):
        await two.start("join", added.others, within=3)


def _refuse_without_tls(url: str) -> None:
    with pytest.raises(OSError):
        urllib.request.urlopen(url.replace("https", "http") + "/v3/kv/range", data=b"{}", timeout=5)


async def test_a_new_certificate_is_used_without_a_restart(lab: Managers) -> None:
    def shown() -> bytes | None:
        context = ssl.create_default_context(cafile=one.config.tls.ca)
        context.load_cert_chain(one.config.tls.certificate, one.config.tls.key)
        plain = socket.create_connection(("127.0.0.1", one.config.client_port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert(binary_form=True)

    one = lab.make(1)
    await one.start("new")
    before = await asyncio.to_thread(shown)
    lab.certificate(Path(one.config.tls.ca).parent, "127.0.0.1")
    one.renew()
    assert before != await asyncio.to_thread(shown)
    await put(lab.client(one), "/a")
    assert one.state.starts == 1


async def test_three_go_on_when_one_is_killed_and_it_catches_up(lab: Managers) -> None:
    one, two, three = (lab.make(number) for number in (1, 2, 3))
    await one.start("new")
    first = await put(lab.client(one), "/a", b"before")
    added = await lab.verbs(one).add(two.config.peer_url)
    assert await lab.verbs(one).add(two.config.peer_url) == added, "asked again, it is the same"
    await two.start("join", added.others)
    assert two.state.learner
    assert [each.name for each in await lab.verbs(one).list() if each.learner] == ["node2"]
    with pytest.raises(Unavailable, match="a learner still"):
        await two.wait_promoted(0.1)
    await lab.verbs(one).promote(added.id)
    await lab.verbs(one).promote(added.id)
    await two.wait_promoted(WITHIN)
    with pytest.raises(Conflict, match="has a member at"):
        await lab.verbs(one).add(two.config.peer_url)
    await lab.join(three, one)
    changes = lab.client(three).watch("/", first)
    await take(changes)
    leader = (await lab.verbs(two).status()).leader
    ids = {each.name: each.id for each in await lab.verbs(two).list()}
    killed = next(each for each in (one, two, three) if ids[each.config.name] == leader)
    left = [each for each in (one, two, three) if each is not killed]
    os.kill(killed.pid, signal.SIGKILL)
    assert (await until(killed, lambda state: state.phase == "failed")).problem == "it was ended by signal 9"
    wrote = await _written(lab.client(left[0]), "/b")
    await killed.wait_healthy(WITHIN)
    assert killed.state.starts == 2
    assert (await lab.client(killed).get("/b")).modified == wrote
    assert [each.revision for each in await take(changes)] == [wrote]
    for each in left:
        assert each.state.starts == 1


async def _written(etcd: EtcdClient, key: str) -> int:
    """A new leader must be found first."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                return await put(etcd, key)
            except Unavailable:
                continue


async def test_a_lost_quorum_is_told_and_the_survivor_begins_anew(
    lab: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.etcd_watch.PATIENCE", 1.0)
    one, two = lab.make(1), lab.make(2)
    await one.start("new")
    await lab.join(two, one)
    revision = await put(lab.client(two), "/a", b"kept")
    changes = lab.client(two).watch("/", revision)
    await take(changes)
    await one.stop()
    await until(two, lambda state: NO_LEADER in state.problem)
    assert not two.state.healthy
    with pytest.raises(Unavailable):
        await lab.client(two).get("/a")
    with pytest.raises(Unavailable):
        await take(changes)
    await two.stop()
    with pytest.raises(Unavailable, match=NO_LEADER):
        await two.start("resume", within=3)
    await two.stop()
    await two.start("force-new")
    assert [each.name for each in await lab.verbs(two).list()] == ["node2"]
    assert await lab.client(two).get("/a") == KeyValue("/a", b"kept", revision, revision)
    await put(lab.client(two), "/b")
    os.kill(two.pid, signal.SIGKILL)
    await until(two, lambda state: state.phase == "failed")
    await two.wait_healthy(WITHIN)
    one = lab.make(3)
    await lab.join(one, two)
    assert len((await lab.client(one).range("/")).items) == 2


async def test_a_removed_member_is_not_started_again_and_can_come_back(lab: Managers) -> None:
    one, two = lab.make(1), lab.make(2)
    await one.start("new")
    added = await lab.join(two, one)
    verbs = lab.verbs(one)
    await verbs.remove(added)
    await verbs.remove(added)
    state = await until(two, lambda state: state.phase == "removed")
    assert "removed from the cluster" in state.problem
    with pytest.raises(Unavailable, match="removed from the cluster"):
        await two.wait_healthy(1)
    assert two.pid == 0
    await two.stop()
    os.rename(two.config.data, f"{two.config.root}/old")
    await lab.join(two, one)
    assert len(await verbs.list()) == 2


async def test_a_taken_port_is_named_and_waited_for(lab: Managers) -> None:
    one = lab.make(1)
    taken = f"port taken: 127.0.0.1:{one.config.client_port}"
    with socket.create_server(("127.0.0.1", one.config.client_port)), pytest.raises(Unavailable, match=taken):
        await one.start("new", within=WITHIN)
    await one.wait_healthy(WITHIN)
    assert one.state.starts > 1


async def test_who_is_told_cannot_disturb(lab: Managers, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def tell(state: MemberState) -> None:
        told.append(state.phase)
        raise ValueError("of the test")

    one = Member(lab.make(1).config, tell)
    lab.all.append(one)
    await one.start("new")
    await one.stop()
    assert told == ["starting", "running", "stopped"]
    assert "of the test" in caplog.text


async def test_a_missing_program_is_named(lab: Managers) -> None:
    one = lab.make(1)
    none = Member(msgspec.structs.replace(one.config, program="no-such-etcd"))
    lab.all.append(none)
    with pytest.raises(Unavailable, match="no no-such-etcd on this machine: install the package etcd-server"):
        await none.start("new", within=1)


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    need_root("mount a small disk")
    where.mkdir()
    holder = subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "-"),
            *(f"-t tmpfs -o size={size}", "none", str(where)),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"mounted\n"
    try:
        yield Path(f"/proc/{holder.pid}/root{where}")
    finally:
        holder.kill()
        holder.wait()


async def _many(etcd: EtcdClient, size: int, count: int) -> None:
    for number in range(count):
        await put(etcd, f"/big/{number % 3}", bytes(size))


async def test_a_full_disk_is_named_and_etcd_comes_back_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "160m") as disk:
        async with managers(tmp_path) as lab:
            one = lab.make(1, disk)
            await one.start("new")
            etcd = lab.client(one)
            revision = await put(etcd, "/first", b"kept")
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            with pytest.raises(Unavailable):
                await _many(etcd, 500_000, 200)
            state = await until(one, lambda state: "no space left" in state.problem)
            assert state.phase in ("failed", "starting")
            ballast.unlink()
            await one.wait_healthy(60)
            assert (await etcd.get("/first")).modified == revision
            await put(etcd, "/after")


async def test_a_full_database_is_named_and_room_can_be_made(tmp_path: Path) -> None:
    async with managers(tmp_path) as lab:
        one = lab.make(1, quota=4 << 20)
        await one.start("new")
        etcd, verbs = lab.client(one), lab.verbs(one)
        with pytest.raises(Unavailable, match="database space exceeded: .*quota"):
            await _many(etcd, 300_000, 40)
        assert "NOSPACE" in (await until(one, lambda state: bool(state.problem))).problem
        assert one.state.healthy, "it can be read"
        await etcd.transact([], [DeleteKey("/big/", prefix=True)])
        await verbs.make_room()
        await put(etcd, "/after")
        assert (await verbs.status()).problem == ""
        await until(one, lambda state: not state.problem)
        assert (await verbs.status()).db_size < 2 << 20


DAEMON = """
import asyncio, sys
import msgspec
from towline.cluster.member import Member
from towline.cluster.member_flags import MemberConfig
async def main():
    config = msgspec.json.decode(sys.argv[1], type=MemberConfig)
    member = Member(config)
    await member.start("resume" if member.has_data else "new")
    print(member.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_ends_with_its_daemon_and_the_next_one_goes_on(lab: Managers) -> None:
    one = lab.make(1)
    command = [sys.executable, "-c", DAEMON, msgspec.json.encode(one.config).decode()]
    pids = []
    for _ in range(3):
        daemon = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert daemon.stdout is not None
        try:
            async with asyncio.timeout(WITHIN):
                pids.append(int(await daemon.stdout.readline()))
            assert alive(pids[-1])
        finally:
            daemon.kill()
            await daemon.wait()
    await one.start("resume")
    assert len({*pids, one.pid}) == 4
    assert not any(alive(pid) for pid in pids)


async def test_two_never_run_on_the_same_data(lab: Managers) -> None:
    one = lab.make(1)
    await one.start("new")
    other = Member(msgspec.structs.replace(one.config, client_port=free_ports(1)[0]))
    lab.all.append(other)
    with pytest.raises(Unavailable):
        await other.start("resume", within=2)
    await one.stop()
    await other.wait_healthy(WITHIN)
