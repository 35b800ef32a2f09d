"""Kernel errors at every step of a change, full and read-only disks: the client is told, and store and kernel agree."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from tests.support.crashing_daemon import Refusal
from tests.support.daemon import Answer, Daemon, fresh_daemon
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
