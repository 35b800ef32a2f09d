"""The daemon killed after every step of a sandbox's changes, and the kernel refusing each of them: store and kernel
agree afterwards, and nobody else notices."""

from __future__ import annotations

import errno
import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dns.exception
import pytest

from tests.support import boxes
from tests.support.boxes import SANDBOXES, Box
from tests.support.crashing_daemon import Refusal
from tests.support.daemon import Answer, Daemon
from tests.support.equality import assert_equal
from tests.support.faulty_daemon import FaultyDaemon, faulty_daemon
from tests.support.flows import Conversation
from tests.support.netns import Namespace, namespace
from tests.support.polling import eventually

CUT = (http.client.HTTPException, ConnectionError)
POOL = ("--default-address-pool", "base=10.0.0.0/8,size=24")
WORK: dict[str, Any] = {
    "network": "web",
    "ipv4": "10.50.0.99",
    "ipv6": "fd00:50::99",
    "mac": "02:00:00:00:00:99",
    "aliases": ["job"],
}
PORTS = ["8080:80", "5353:53/udp"]


class World:
    """`keep` and `other` talk all the time and are never touched; `work` is, and `foreign` may be attached."""

    def __init__(self, faulty: FaultyDaemon, stack: ExitStack) -> None:
        self.faulty = faulty
        self.daemon = faulty.daemon
        boxes.make_network(self.daemon, "web", **boxes.pools("10.50.0.0/24", "fd00:50::/64"))
        boxes.make_network(self.daemon, "back", **boxes.pools("10.51.0.0/24", "fd00:51::/64"))
        self.keep, self.other = (self._box(stack, name) for name in ("keep", "other"))
        self.talk = Conversation(self.keep, self.other, 7000)  # type: ignore[arg-type]
        stack.callback(self.talk.close)
        self.foreign: Namespace = stack.enter_context(namespace())
        self.foreign.run(["ip", "link", "add", "theirs", "type", "veth", "peer", "name", "theirs-too"])
        self.answered: list[float] = []

    def _box(self, stack: ExitStack, name: str) -> Box:
        boxes.run(self.daemon, name, "web", "back")
        box = boxes.enter(self.daemon, name)
        stack.callback(box.close)
        return box

    def restore(self) -> None:
        """As every change finds it: `work` runs on `web` with its ports, `fresh` and `vm` do not exist."""
        for name in ("fresh", "vm"):
            self.daemon.http("DELETE", f"{SANDBOXES}/{name}?force=1")
        shown = self.daemon.http("GET", f"{SANDBOXES}/work")
        if shown.status == 200:
            names = [e["network_name"] for e in shown.json["endpoints"]]
            if shown.json["state"] == "running" and names == ["web"]:
                return
            boxes.remove(self.daemon, "work")
        boxes.run(self.daemon, "work", WORK, ports=PORTS)

    def come_back(self) -> None:
        """Start the daemon again, and see how soon names are answered. What was plugged in was guarded meanwhile."""
        self.faulty.order()
        self.daemon.wait()
        assert self._unguarded() == set()
        self.daemon.start()
        began = time.monotonic()
        while not self._answers():
            assert time.monotonic() - began < 2.0, "no answer from the resolver of a sandbox that nobody touched"
        self.answered.append(time.monotonic() - began)

    def _unguarded(self) -> set[str]:
        links = json.loads(self.daemon.run("ip", "-j", "link", "show", "type", "veth"))
        ports = {link["ifname"] for link in links if "master" in link and "UP" in link["flags"]}
        assert ports, "no port at all: is it a veth pair still?"
        listed = json.loads(self.daemon.run("nft", "-j", "list", "set", "bridge", "towline", "guarded"))
        return ports - set(listed["nftables"][1]["set"].get("elem", ()))

    def _answers(self) -> bool:
        try:
            return self.keep.ask("other", patience=0.02) != []
        except (dns.exception.Timeout, ConnectionError):
            return False

    def check(self) -> None:
        assert_equal(self.daemon)
        assert self.talk.error is None
        goal = self.talk.rounds + 3
        eventually(lambda: _reached(self.talk, goal))


def _reached(talk: Conversation, goal: int) -> None:
    assert talk.rounds >= goal, talk.error


@contextmanager
def worlds() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack.enter_context(faulty_daemon(*POOL)), stack)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with worlds() as made:
        yield made
        if made.answered:
            slowest = max(made.answered) * 1000
            sys.stdout.write(
                f"{len(made.answered)} restarts; names answered {slowest:.0f} ms after readiness or sooner\n"
            )


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared
    shared.faulty.order()
    if shared.daemon.process.poll() is not None:
        shared.daemon.start()


def run(world: World) -> bool:
    created = boxes.create(world.daemon, "fresh", "web", "back", ports=["9090:80"])
    return _done(created, 201) and _done(world.daemon.http("POST", f"{SANDBOXES}/fresh/start", {}), 200)


def attach(world: World) -> bool:
    return _done(boxes.create(world.daemon, "vm", "web", attach={"netns": world.foreign.path}), 201)


def connect(world: World) -> bool:
    return _done(world.daemon.http("POST", "/networks/back/connect", {"Container": "work"}), 200)


def disconnect(world: World) -> bool:
    return _done(world.daemon.http("POST", "/networks/web/disconnect", {"Container": "work"}), 200)


def stop(world: World) -> bool:
    return _done(world.daemon.http("POST", f"{SANDBOXES}/work/stop?t=5"), 204)


def rm(world: World) -> bool:
    return _done(world.daemon.http("DELETE", f"{SANDBOXES}/work?force=1"), 204)


def _done(answer: Answer, status: int) -> bool:
    assert answer.status == status, answer
    return True


Change = Callable[[World], bool]
changes = pytest.mark.parametrize("change", [run, attach, connect, disconnect, stop, rm], ids=lambda f: f.__name__)


@changes
def test_killed_after_every_step(world: World, change: Change) -> None:
    reached = 0
    for step in range(2, 100, 2):  # the odd ones are right before a step, which is right after the one before it
        world.restore()
        identity = boxes.inspect(world.daemon, "work")["id"]
        world.faulty.order(kill_at=step)
        try:
            acknowledged = change(world)
        except CUT:
            acknowledged = False
        if acknowledged and not _dies(world):
            break
        reached = step
        world.come_back()
        world.check()
        check_outcome(world, change, acknowledged, identity)
    else:
        pytest.fail("the change never ended")
    assert reached >= 4, "hardly a step was counted: are the seams still wrapped?"
    sys.stdout.write(f"{change.__name__}: killed at half-steps up to {reached}\n")


def _dies(world: World) -> bool:
    """Of a step that comes after the answer: links and flows that are taken away in the background."""
    try:
        eventually(lambda: _ended(world.daemon), within=0.3)
    except AssertionError:
        return False
    return True


def _ended(daemon: Daemon) -> None:
    assert daemon.process.poll() is not None


def check_outcome(world: World, change: Change, acknowledged: bool, identity: str) -> None:
    """What was acknowledged is done; the rest is done or not, and `work` is still the same if it is there."""
    shown = {sandbox["name"]: sandbox for sandbox in world.daemon.http("GET", SANDBOXES).json}
    work = shown.get("work")
    if work is None:
        assert change is rm
        return
    assert work["id"] == identity
    networks = [e["network_name"] for e in work["endpoints"]]
    states = {(work["state"], *networks)}
    allowed = {
        connect: {("running", "web"), ("running", "web", "back")},
        disconnect: {("running", "web"), ("running",)},
        stop: {("running", "web"), ("exited", "web")},
        rm: {("running", "web"), ("exited", "web")},
    }.get(change, {("running", "web")})
    assert states <= allowed
    if acknowledged:
        assert not (change in (connect, disconnect, stop) and states == {("running", "web")})
        assert change is not rm
        assert change is not run or shown["fresh"]["state"] == "running"
        assert change is not attach or shown["vm"]["state"] == "running"
    if "web" in networks:
        endpoint = next(e for e in work["endpoints"] if e["network_name"] == "web")
        found = (endpoint["ipv4"], endpoint["ipv6"], endpoint["mac"])
        assert found == ("10.50.0.99/24", "fd00:50::99/64", WORK["mac"])


def test_killed_at_every_step_of_the_recovery_after_a_reboot_of_the_network(world: World) -> None:
    """All links and rules of ours are gone, processes and namespaces are there; every start is killed a step later."""
    world.daemon.kill()
    said = len(world.daemon.log)
    for step in range(2, 200, 2):
        world.daemon.run("nft", "flush", "ruleset")
        for line in world.daemon.run("ip", "-br", "link").splitlines():
            if (name := line.split()[0].split("@")[0]).startswith(("br-", "veth", "docker0")):
                world.daemon.run("ip", "link", "del", name, check=False)
        world.faulty.order(kill_at=step, during_start=True)
        world.daemon.launch()
        try:
            world.daemon.wait_message("READY=1")
        except AssertionError:
            continue
        break
    else:
        pytest.fail("start never ended")
    world.faulty.order()
    assert step > 20
    assert "repair failed" not in world.daemon.log[said:]
    eventually(lambda: assert_equal(world.daemon))
    assert boxes.inspect(world.daemon, "work")["state"] == "running"
    assert world.keep.ask("job") == ["10.50.0.99"]
    world.talk.close()
    world.talk = Conversation(world.keep, world.other, 7001)  # type: ignore[arg-type]


REASONS = {errno.ENOMEM: "cannot allocate memory", errno.EPERM: "operation not permitted"}
MAKING = [
    (run, "make"),
    (run, "join"),
    (run, "set_defaults"),
    (run, "commit"),
    (attach, "join"),
    (attach, "set_defaults"),
    (connect, "join"),
    (connect, "commit"),
]
ENDING = [
    (disconnect, "leave"),
    (disconnect, "set_defaults"),
    (disconnect, "commit"),
    (stop, "leave"),
    (stop, "drop"),
    (stop, "commit"),
    (rm, "leave"),
    (rm, "drop"),
]


def labels(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("code", REASONS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize(("change", "verb"), MAKING, ids=labels)
def test_what_the_kernel_refuses_is_taken_back(world: World, change: Change, verb: str, code: int) -> None:
    world.faulty.order(Refusal(verb, code))
    with pytest.raises(AssertionError, match=rf"500.*{verb} \(injected\): {REASONS[code]}"):
        change(world)
    eventually(world.check)
    assert [e["network_name"] for e in boxes.inspect(world.daemon, "work")["endpoints"]] == ["web"]
    world.faulty.order()
    world.restore()
    assert change(world)
    eventually(world.check)


@pytest.mark.parametrize("code", REASONS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize(("change", "verb"), ENDING, ids=labels)
def test_an_end_that_the_kernel_refuses_is_made_good(world: World, change: Change, verb: str, code: int) -> None:
    world.faulty.order(Refusal(verb, code))
    assert change(world)
    eventually(world.check)


def test_a_failed_announcement_is_no_failure(world: World) -> None:
    world.faulty.order(Refusal("announce", errno.ENOBUFS, forever=True))
    assert connect(world)
    world.check()


@pytest.mark.parametrize(("verb", "nth"), [("leave", 1), ("drop", 1), ("commit", 2)])
def test_an_undo_that_is_refused_too(world: World, verb: str, nth: int) -> None:
    world.faulty.order(Refusal("set_defaults", errno.ENOMEM), Refusal(verb, errno.EBUSY, nth))
    with pytest.raises(AssertionError, match="500"):
        run(world)
    eventually(world.check)


def test_connections_that_cannot_be_forgotten_hold_nobody_up(world: World) -> None:
    world.faulty.order(Refusal("forget", errno.EPERM, forever=True))
    assert stop(world)
    world.check()
