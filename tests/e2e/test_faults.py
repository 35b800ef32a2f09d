"""Kernel errors at every step of a change, full and read-only disks: the client is told, and store and kernel agree."""

from __future__ import annotations

import errno
import http.client
import json
import re
from collections.abc import Iterator

import pytest

from tests.support.crashing_daemon import Refusal
from tests.support.daemon import Answer, Daemon, DaemonFailed, fresh_daemon
from tests.support.disk import ext4, tmpfs
from tests.support.equality import assert_equal, networks
from tests.support.faulty_daemon import FaultyDaemon, faulty_daemon
from tests.support.polling import eventually
from tests.support.snapshot import nothing_changes

ERRNOS = (errno.EBUSY, errno.EEXIST, errno.ENOBUFS, errno.ENOSPC, errno.EPERM)
REASONS = {
    errno.EBUSY: "device or resource busy",
    errno.EEXIST: "file exists",
    errno.ENOBUFS: "no buffer space available",
    errno.ENOSPC: "no space left on device",
    errno.EPERM: "operation not permitted",
}
WEB = {
    "Name": "web",
    "EnableIPv6": True,
    "IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}, {"Subnet": "fd00:78::/64"}]},
}
codes = pytest.mark.parametrize("code", ERRNOS, ids=lambda code: errno.errorcode[code])
POOL = ("--default-address-pool", "base=10.0.0.0/8,size=24")


@pytest.fixture(scope="module")
def shared() -> Iterator[FaultyDaemon]:
    with faulty_daemon(*POOL) as made:
        yield made


@pytest.fixture
def faulty(shared: FaultyDaemon) -> Iterator[FaultyDaemon]:
    """A daemon without networks of its own, that obeys orders."""
    yield shared
    shared.order()
    shared.daemon.http("POST", "/networks/prune?wait=1")
    eventually(lambda: assert_equal(shared.daemon))


def create(daemon: Daemon, **fields: object) -> Answer:
    return daemon.http("POST", "/networks/create", {**WEB, **fields})


def created(daemon: Daemon, **fields: object) -> None:
    answer = create(daemon, **fields)
    assert answer.status == 201, answer


@codes
@pytest.mark.parametrize("verb", ["create_bridges", "commit"])
def test_create_that_the_kernel_refuses(faulty: FaultyDaemon, verb: str, code: int) -> None:
    faulty.order(Refusal(verb, code))
    answer = create(faulty.daemon)
    assert answer.status == 500
    assert answer.json["message"] == f"{verb} (injected): {REASONS[code]}"
    assert "web" not in networks(faulty.daemon)
    eventually(lambda: assert_equal(faulty.daemon))
    created(faulty.daemon)


@codes
def test_create_whose_undo_is_refused_too(faulty: FaultyDaemon, code: int) -> None:
    faulty.order(Refusal("commit", code), Refusal("silence", code), Refusal("remove", code))
    assert create(faulty.daemon).status == 500
    eventually(lambda: assert_equal(faulty.daemon))
    created(faulty.daemon)


@codes
def test_create_where_forwarding_cannot_be_switched_on(faulty: FaultyDaemon, code: int) -> None:
    faulty.daemon.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
    faulty.daemon.restart()
    faulty.order(Refusal("write", code))
    created(faulty.daemon)
    eventually(lambda: assert_equal(faulty.daemon))
    assert faulty.daemon.run("sysctl", "-n", "net.ipv6.conf.all.forwarding") == "1\n"


@codes
@pytest.mark.parametrize("verb", ["silence", "commit", "remove"])
@pytest.mark.parametrize("how", ["remove", "prune"])
def test_removal_that_the_kernel_refuses(faulty: FaultyDaemon, how: str, verb: str, code: int) -> None:
    """The record is gone with the commit; what the kernel refused is made good afterwards."""
    created(faulty.daemon)
    faulty.order(Refusal(verb, code))
    if how == "remove":
        assert faulty.daemon.http("DELETE", "/networks/web").status == 204
    else:
        assert faulty.daemon.http("POST", "/networks/prune").json == {"NetworksDeleted": ["web"]}
    assert "web" not in networks(faulty.daemon)
    eventually(lambda: assert_equal(faulty.daemon))
    created(faulty.daemon)


@codes
def test_removal_whose_repair_is_refused_too(faulty: FaultyDaemon, code: int) -> None:
    created(faulty.daemon)
    refused = [Refusal(verb, code, nth) for verb in ("silence", "commit", "remove") for nth in (1, 2)]
    faulty.order(*refused)
    assert faulty.daemon.http("DELETE", "/networks/web?wait=1").status == 204
    eventually(lambda: assert_equal(faulty.daemon))


def test_one_of_many_refused(faulty: FaultyDaemon) -> None:
    """Prune carries all out in one batch; the transaction is refused, and so is one of the works when it goes alone."""
    for number in range(8):
        created(faulty.daemon, Name=f"n{number}", IPAM={}, EnableIPv6=False)
    faulty.order(Refusal("commit", errno.ENOSPC), Refusal("commit", errno.ENOSPC, 3), Refusal("silence", errno.EBUSY))
    pruned = faulty.daemon.http("POST", "/networks/prune?wait=1").json["NetworksDeleted"]
    assert sorted(pruned) == [f"n{number}" for number in range(8)]
    eventually(lambda: assert_equal(faulty.daemon))


@pytest.mark.parametrize("how", ["create", "remove"])
def test_killed_while_an_error_is_made_good(faulty: FaultyDaemon, how: str) -> None:
    """SIGKILL at each half-step after (and before) a refusal, until one run survives its orders."""
    daemon = faulty.daemon
    refusals = [Refusal("commit", errno.ENOSPC), Refusal("remove", errno.EBUSY)]
    for kill_at in range(1, 40):
        if how == "remove" and "web" not in networks(daemon):
            created(daemon)
        faulty.order(*refusals, kill_at=kill_at)
        if survives(faulty, how):
            break
        faulty.order()
        daemon.start()
        assert_equal(daemon)
        daemon.http("POST", "/networks/prune?wait=1")
    else:
        pytest.fail("the change never ended")
    assert kill_at > 6


def survives(faulty: FaultyDaemon, how: str) -> bool:
    daemon = faulty.daemon
    try:
        if how == "create":
            assert create(daemon).status in (500, 201)
        else:
            assert daemon.http("DELETE", "/networks/web").status == 204
        eventually(lambda: assert_equal(daemon))
        faulty.order()
        assert daemon.http("GET", "/_ping").status == 200  # the last step may have killed it behind our back
    except (http.client.HTTPException, ConnectionError):
        daemon.wait()
        return False
    return daemon.process.poll() is None


def test_full_disk() -> None:
    with fresh_daemon(*POOL) as daemon, tmpfs(daemon, "2m") as disk:
        daemon.start()
        created(daemon)
        disk.fill()
        full = rf"store: disk full: cannot write {daemon.data_root}/store/towline\.db; free space and retry"
        while create(daemon, Name="next", IPAM={}).status == 201:  # there is room in the log's last block
            assert daemon.http("DELETE", "/networks/next?wait=1").status == 204
        with nothing_changes(daemon):
            answer = create(daemon, Name="next", IPAM={})
            assert answer.status == 500
            assert re.fullmatch(full, answer.json["message"])
            removed = daemon.http("DELETE", "/networks/web")
            assert (removed.status, removed.json) == (500, answer.json)
            assert daemon.http("POST", "/networks/prune").json == {"NetworksDeleted": None}
        disk.free()
        assert daemon.http("DELETE", "/networks/web").status == 204
        created(daemon, Name="next")
        daemon.kill()
        daemon.start()
        eventually(lambda: assert_equal(daemon))
        assert "next" in networks(daemon)


def test_disk_that_is_full_when_the_kernel_refuses() -> None:
    """The intent can be committed, but not be taken back."""
    with faulty_daemon(*POOL) as made:
        made.order(Refusal("create_bridges", errno.ENOSPC), Refusal("remove", errno.ENOSPC))
        assert create(made.daemon).status == 500
        made.daemon.kill()
        made.daemon.start()
        assert_equal(made.daemon)


def test_killed_on_a_full_disk() -> None:
    with fresh_daemon(*POOL) as daemon, tmpfs(daemon, "2m") as disk:
        daemon.start()
        created(daemon)
        disk.fill()
        while create(daemon, Name="next", IPAM={}).status == 201:
            assert daemon.http("DELETE", "/networks/next").status == 204
        daemon.kill()
        disk.free()
        daemon.start()
        assert_equal(daemon)
        assert set(networks(daemon)) == {"bridge", "host", "none", "web"}


def test_disk_that_turns_read_only() -> None:
    with fresh_daemon(*POOL) as daemon, ext4(daemon) as disk:
        daemon.start()
        created(daemon)
        disk.remount("abort")
        with nothing_changes(daemon):
            for answer in (create(daemon, Name="next", IPAM={}), daemon.http("DELETE", "/networks/web")):
                assert answer.status == 500
                assert str(daemon.data_root) in answer.json["message"]
                assert "check" in answer.json["message"]
            assert daemon.http("GET", "/networks/web").status == 200
        assert daemon.stop() == 0
        with pytest.raises(DaemonFailed, match=f"{daemon.data_root}.*[Rr]ead-only"):
            daemon.start()
        disk.mount_anew()
        daemon.start()
        assert_equal(daemon)
        assert daemon.http("DELETE", "/networks/web").status == 204


def test_read_only_at_start_leaves_the_kernel_alone() -> None:
    with fresh_daemon(*POOL) as daemon, tmpfs(daemon, "2m") as disk:
        daemon.start()
        created(daemon)
        daemon.stop()
        disk.remount("ro")
        links = link_settings(daemon)
        with pytest.raises(DaemonFailed, match=f"{daemon.data_root}.*(?i:read-only)"):
            daemon.start()
        assert link_settings(daemon) == links
        disk.remount("rw")
        daemon.start()
        assert_equal(daemon)


def link_settings(daemon: Daemon) -> list[tuple[str, str, str, bool]]:
    """Without the carrier, of which the kernel may tell only later."""
    links = json.loads(daemon.run("ip", "-j", "link"))
    return [(link["ifname"], link["address"], link.get("ifalias", ""), "UP" in link["flags"]) for link in links]
