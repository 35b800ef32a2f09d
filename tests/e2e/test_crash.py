"""Kill the daemon at every step of a change, start it again, and find store and kernel equal."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.support.crashing_daemon import VARIABLE, Orders
from tests.support.daemon import TOWLINED, Daemon, fresh_daemon
from tests.support.equality import assert_equal, networks

COUNTED = ("-m", "tests.support.crashing_daemon")
CUT = (http.client.HTTPException, ConnectionError)
DUAL = {
    "Name": "dual",
    "EnableIPv6": True,
    "IPAM": {"Config": [{"Subnet": "10.62.0.0/24"}, {"Subnet": "fd00:77::/64"}]},
}


def arm(daemon: Daemon, orders: Orders) -> None:
    """From the next start on the daemon counts its steps."""
    daemon.entry = [str(Path(TOWLINED[0]).with_name("python")), *COUNTED]
    daemon.environment = {VARIABLE: msgspec.json.encode(orders).decode()}


def disarm(daemon: Daemon) -> None:
    daemon.entry = list(TOWLINED)
    daemon.environment = {}


@contextmanager
def prepared() -> Iterator[Daemon]:
    """A daemon, not running, with one network that nobody touches and one to work on."""
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/8,size=24") as daemon:
        daemon.start()
        assert daemon.http("POST", "/networks/create", {"Name": "keep"}).status == 201
        assert daemon.http("POST", "/networks/create", {**DUAL, "Name": "work"}).status == 201
        assert daemon.stop() == 0
        yield daemon


def create(daemon: Daemon) -> None:
    body = {**DUAL, "IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}, {"Subnet": "fd00:78::/64"}]}}
    assert daemon.http("POST", "/networks/create", body).status == 201


def remove(daemon: Daemon) -> None:
    assert daemon.http("DELETE", "/networks/work?wait=1").status == 204


def prune(daemon: Daemon) -> None:
    assert daemon.http("POST", "/networks/prune?wait=1").status == 200


@pytest.mark.parametrize("change", [create, remove, prune], ids=lambda f: f.__name__)
def test_killed_at_every_step(change: Callable[[Daemon], None]) -> None:
    with prepared() as daemon:
        reached = 0
        for step in range(1, 60):
            arm(daemon, Orders(kill_at=step))
            daemon.start()
            acknowledged = True
            try:
                change(daemon)
            except CUT:
                acknowledged = False
            if daemon.process.poll() is None and acknowledged:
                daemon.stop()
                break
            reached = step
            daemon.wait()
            disarm(daemon)
            daemon.start()
            check_outcome(daemon, change, acknowledged)
            restore(daemon, change)
            daemon.stop()
        else:
            pytest.fail("the change never ended")
        assert reached >= 4, "hardly a step was counted: are the seams still wrapped?"


def check_outcome(daemon: Daemon, change: Callable[[Daemon], None], acknowledged: bool) -> None:
    assert_equal(daemon)
    present = set(networks(daemon))
    if change is not prune:
        assert "keep" in present
    if acknowledged:
        assert ("dual" in present) if change is create else ("work" not in present)


def restore(daemon: Daemon, change: Callable[[Daemon], None]) -> None:
    """Back to what `prepared` made."""
    present = set(networks(daemon))
    if "dual" in present:
        assert daemon.http("DELETE", "/networks/dual?wait=1").status == 204
    for name, body in (("keep", {}), ("work", DUAL)):
        if name not in present:
            assert daemon.http("POST", "/networks/create", {**body, "Name": name}).status == 201


def test_killed_at_every_step_of_the_recovery() -> None:
    """Crashes while a crash is repaired: the kernel state is gone as after a reboot, and each start is killed later."""
    with prepared() as daemon:
        for step in range(1, 60):
            daemon.run("nft", "flush", "ruleset")
            for link in ("docker0", *(f"br-{n}" for n in bridges(daemon))):
                daemon.run("ip", "link", "del", link, check=False)
            arm(daemon, Orders(kill_at=step, during_start=True))
            daemon.launch()
            if survived(daemon):
                daemon.stop()
                break
            disarm(daemon)
            daemon.start()
            assert_equal(daemon)
            assert {"keep", "work"} <= set(networks(daemon))
            daemon.stop()
        else:
            pytest.fail("start never ended")
        assert step > 3


def bridges(daemon: Daemon) -> list[str]:
    names = daemon.run("ip", "-br", "link").splitlines()
    return [line.split()[0].removeprefix("br-") for line in names if line.startswith("br-")]


def survived(daemon: Daemon) -> bool:
    try:
        daemon.wait_message("READY=1")
    except AssertionError:
        return False
    return True
