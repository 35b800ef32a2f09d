"""The life of sandboxes: their processes end, are stopped and started again, live on without the daemon, and come back
after a reboot as what they were."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import dns.message
import dns.query
import pytest

from tests.e2e.test_cli_network import towline
from tests.support import boxes
from tests.support.boxes import SANDBOXES, Inside, Stage, World
from tests.support.daemon import Daemon
from tests.support.equality import assert_equal
from tests.support.flows import Conversation
from tests.support.netns import namespace
from tests.support.polling import eventually
from tests.support.remains import clear_away, pins, shims

IDENTITY = ("id", "name", "network_name", "mac", "ipv4", "ipv6", "dns_names", "config")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with boxes.world() as made:
        boxes.make_network(made.daemon, "web", **boxes.pools("10.50.0.0/24", "fd00:50::/64"))
        boxes.make_network(made.daemon, "back", **boxes.pools("10.51.0.0/24"))
        yield made


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    if world.daemon.process.poll() is not None:
        world.daemon.start()
    with world.using() as made:
        yield made
    eventually(lambda: assert_equal(world.daemon))


def state(daemon: Daemon, name: str) -> str:
    answer = daemon.http("GET", f"{SANDBOXES}/{name}")
    return str(answer.json["state"]) if answer.status == 200 else "gone"


def wait_state(daemon: Daemon, name: str, wanted: str, within: float = 5.0) -> float:
    def check() -> None:
        assert state(daemon, name) == wanted

    return eventually(check, within)


def identity(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    return [{key: e[key] for key in IDENTITY} for e in boxes.inspect(daemon, name)["endpoints"]]


def kill(daemon: Daemon, name: str, number: int = 9) -> None:
    subprocess.run(["kill", f"-{number}", str(boxes.pid_of(daemon, name))], check=True)


def test_a_process_that_dies_takes_its_endpoints_along_at_once(world: World, stage: Stage) -> None:
    box, peer = stage.box("box", "web", ports=["8080:80"]), stage.box("peer", "web")
    link = box.endpoint("web")["host_link"]
    kill(world.daemon, "box")
    assert wait_state(world.daemon, "box", "exited") < 1.0

    def gone() -> None:
        assert link not in world.daemon.run("ip", "-br", "link")
        assert peer.ask("box") == []
        assert world.outside.no_dial(world.router.ipv4, 8080)

    assert eventually(gone) < 2.0
    shown = boxes.inspect(world.daemon, "box")
    assert (shown["exit_code"], shown["pid"], shown["netns"]) == (137, 0, "")
    listed = world.daemon.http("GET", "/containers/json?all=1").json
    assert next(c["State"] for c in listed if c["Names"] == ["/box"]) == "exited"


def test_stop_and_start_keep_addresses_mac_and_names(world: World, stage: Stage) -> None:
    """Even when others come and go meanwhile, who would have got the addresses."""
    stage.box("box", {"network": "web", "aliases": ["db"]}, "back", ports=["80"])
    before = identity(world.daemon, "box")
    boxes.stop(world.daemon, "box")
    assert identity(world.daemon, "box") == before
    others = [stage.box(f"other{n}", "web") for n in range(3)]
    assert not {other.ipv4 for other in others} & {e["ipv4"].partition("/")[0] for e in before}
    boxes.start(world.daemon, "box")
    assert identity(world.daemon, "box") == before
    assert others[0].ask("db") == [before[0]["ipv4"].partition("/")[0]]
    with closing(boxes.enter(world.daemon, "box")) as box:
        assert others[0].dial(box.ipv4, 80)
        assert others[0].dial(box.ipv6, 80)


def test_a_stopped_sandbox_keeps_its_address_from_others(world: World, stage: Stage) -> None:
    stage.box("box", {"network": "web", "ipv4": "10.50.0.77"})
    boxes.stop(world.daemon, "box")
    refused = boxes.create(world.daemon, "thief", {"network": "web", "ipv4": "10.50.0.77"})
    assert (refused.status, refused.json["message"]) == (403, "Address already in use")


def test_stop_asks_first_and_kills_when_its_patience_ends(world: World, stage: Stage) -> None:
    polite = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"]
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]
    boxes.run(world.daemon, "polite", "web", command=polite)
    boxes.run(world.daemon, "deaf", "web", command=deaf)
    for name in ("polite", "deaf"):
        stage.callback(lambda name=name: boxes.remove(world.daemon, name))
        time.sleep(0.2)  # until the shell has set its trap: nothing outside tells
        assert world.daemon.http("POST", f"{SANDBOXES}/{name}/stop?t=1").status == 204
    assert boxes.inspect(world.daemon, "polite")["exit_code"] == 7
    assert boxes.inspect(world.daemon, "deaf")["exit_code"] == 137
    assert world.daemon.http("POST", f"{SANDBOXES}/deaf/stop").status == 304


@pytest.mark.parametrize(
    ("policy", "status", "again"),
    [
        ("no", 1, False),
        ("always", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
        ("unless-stopped", 3, True),
    ],
)
def test_restart_policies(world: World, stage: Stage, policy: str, status: int, again: bool) -> None:
    script = f"echo run; trap 'exit {status}' TERM; while :; do sleep 0.02; done"
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", script], restart=policy)
    stage.callback(lambda: boxes.remove(world.daemon, "box"))
    before, first = identity(world.daemon, "box"), boxes.pid_of(world.daemon, "box")
    wait_log(world.daemon, "box", 1)
    kill(world.daemon, "box", 15)
    if again:
        wait_log(world.daemon, "box", 2)
        wait_state(world.daemon, "box", "running")
        assert boxes.pid_of(world.daemon, "box") not in (0, first)
        assert identity(world.daemon, "box") == before
        boxes.stop(world.daemon, "box")
    wait_state(world.daemon, "box", "exited")
    time.sleep(0.3)  # longer than the first pause: nothing starts it again
    assert state(world.daemon, "box") == "exited"


def wait_log(daemon: Daemon, name: str, runs: int) -> None:
    def check() -> None:
        assert towline(daemon, "logs", name).out.count("run\n") >= runs

    eventually(check)


def test_on_failure_counts(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", "echo run; exit 1"], restart="on-failure:2")
    stage.callback(lambda: boxes.remove(world.daemon, "box"))
    wait_log(world.daemon, "box", 3)
    wait_state(world.daemon, "box", "exited")
    time.sleep(1.0)
    assert towline(world.daemon, "logs", "box").out == "run\n" * 3


def test_remove_at_the_end(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", "exit 3"], auto_remove=True)
    wait_state(world.daemon, "box", "gone")
    assert world.daemon.http("GET", "/networks/web").json["Containers"] == {}


def test_removed_at_the_end_even_if_the_daemon_was_not_there(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", auto_remove=True)
    pid = boxes.pid_of(world.daemon, "box")
    world.daemon.kill()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    world.daemon.start()
    wait_state(world.daemon, "box", "gone")


def test_the_daemon_is_killed_and_everything_goes_on(world: World, stage: Stage) -> None:
    """TCP, UDP and published ports while nobody runs; afterwards the same processes, followed again."""
    box, peer = stage.box("box", "web", ports=["8080:80", "5353:53/udp"]), stage.box("peer", "web")
    echo = stage.echo(box, 53, "box")
    talk = Conversation(peer, box, 7000)  # type: ignore[arg-type]
    stage.callback(talk.close)
    pid, before = boxes.pid_of(world.daemon, "box"), identity(world.daemon, "box")
    world.daemon.kill()
    for family in (4, 6):
        assert world.outside.dial(world.router.address(family), 8080)
        assert peer.dial(box.address(family), 80)
    assert boxes.exchange(world.outside, world.router.ipv4, 5353, echo).startswith("box")
    world.daemon.start()
    assert (boxes.pid_of(world.daemon, "box"), identity(world.daemon, "box")) == (pid, before)
    assert peer.ask("box") == [box.ipv4]
    assert talk.end() is None
    with pytest.raises(OSError, match="in use"):
        world.router.ns.call(socket.create_server, ("0.0.0.0", 8080))
    kill(world.daemon, "box")
    assert wait_state(world.daemon, "box", "exited") < 1.0
    assert boxes.inspect(world.daemon, "box")["exit_code"] == 137


def test_who_died_while_the_daemon_was_away_is_told_with_his_status(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"])
    stage.callback(lambda: boxes.remove(world.daemon, "box"))
    time.sleep(0.2)  # until the shell has set its trap
    pid = boxes.pid_of(world.daemon, "box")
    world.daemon.kill()
    subprocess.run(["kill", "-15", str(pid)], check=True)
    eventually(lambda: _dead(pid))
    world.daemon.start()
    shown = boxes.inspect(world.daemon, "box")
    assert (shown["state"], shown["exit_code"]) == ("exited", 9)


def _dead(pid: int) -> None:
    assert not boxes.alive(pid)


def test_a_reboot(world: World, stage: Stage) -> None:
    """Nothing of the kernel's and nothing of the run directory is left; the records are."""
    daemon = world.daemon
    fixed = {"network": "web", "ipv4": "10.50.0.44", "mac": "02:00:00:00:00:44", "aliases": ["db"]}
    for name, policy in (("always", "always"), ("plain", "no"), ("stopped", "no"), ("unless", "unless-stopped")):
        boxes.run(daemon, name, fixed if name == "always" else "web", "back", ports=["80"], restart=policy)
        stage.callback(lambda name=name: boxes.remove(daemon, name))
    boxes.run(daemon, "passing", "web", auto_remove=True)
    boxes.stop(daemon, "stopped")
    before = {name: identity(daemon, name) for name in ("always", "plain", "stopped", "unless")}
    daemon.kill()
    clear_away(daemon.exec_root)
    shutil.rmtree(daemon.exec_root)
    daemon.run("nft", "flush", "ruleset")
    for line in daemon.run("ip", "-br", "link").splitlines():
        if (name := line.split()[0].split("@")[0]) not in ("lo", "wan", "lan"):
            daemon.run("ip", "link", "del", name, check=False)
    daemon.start()
    for name in ("always", "unless"):
        wait_state(daemon, name, "running")
    wait_state(daemon, "passing", "gone")
    assert [state(daemon, name) for name in ("plain", "stopped")] == ["exited", "exited"]
    assert {name: identity(daemon, name) for name in before} == before
    eventually(lambda: assert_equal(daemon))
    peer = stage.box("peer", "web")
    with closing(boxes.enter(daemon, "always")) as box:
        assert peer.ask("db") == [box.ipv4] == ["10.50.0.44"]
        assert peer.dial(box.ipv4, 80)
    boxes.start(daemon, "plain")
    assert identity(daemon, "plain") == before["plain"]


def test_attaching_touches_nothing_that_is_not_ours(world: World, stage: Stage) -> None:
    """A namespace with a life of its own: links, routes, rules, settings and a default route that stays first."""
    with ExitStack() as stack:
        ns = stack.enter_context(namespace())
        ns.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far"])
        ns.run(["ip", "address", "add", "192.168.7.2/24", "dev", "eth0"])
        ns.run(["ip", "link", "set", "eth0", "up"])
        ns.run(["ip", "link", "set", "far", "up"])
        ns.run(["ip", "route", "add", "default", "via", "192.168.7.1"])
        ns.run(["nft", "add", "table", "inet", "theirs"])
        before = _all_of(ns)
        created = boxes.create(world.daemon, "vm", "web", attach={"netns": ns.path})
        assert created.status == 201, created
        stack.callback(lambda: world.daemon.http("DELETE", f"{SANDBOXES}/vm?force=1"))
        box = boxes.Box(world.daemon, "vm", Inside(ns.path))
        stack.callback(box.close)
        peer = stage.box("peer", "web")
        assert box.endpoint("web")["ifname"] == "eth1"
        assert peer.dial(box.ipv4, 80)
        assert peer.dial(box.ipv6, 80)
        assert peer.ask("vm") == [box.ipv4]
        assert ns.run(["ip", "route", "get", "203.0.113.9"]).split()[2:5:2] == ["192.168.7.1", "eth0"]
        world.daemon.kill()
        world.daemon.start()
        assert peer.dial(box.ipv4, 80)
        boxes.remove(world.daemon, "vm")
        assert _all_of(ns) == before


def _all_of(ns: Any) -> str:
    parts = (["ip", "-o", "address"], ["ip", "route"], ["ip", "-6", "route"], ["nft", "list", "ruleset"])
    settings = ["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.eth0.rp_filter"]
    text = "\n".join(ns.run(part) for part in (*parts, settings))
    return "\n".join(line.split("valid_lft")[0] for line in text.splitlines())


def test_a_namespace_that_is_attached_again_asks_from_the_same_port(world: World, stage: Stage) -> None:
    """Its flow table remembers where the first name server listened."""
    query = dns.message.make_query("vm", "A")
    with namespace() as ns:
        for _ in range(2):
            assert boxes.create(world.daemon, "vm", "web", attach={"netns": ns.path}).status == 201
            try:
                reply = ns.call(dns.query.udp, query, "127.0.0.11", 1.0, source="127.0.0.1", source_port=5555)
                assert len(reply.answer) == 1
            finally:
                boxes.remove(world.daemon, "vm")


def test_an_attached_process_that_ends_ends_its_sandbox(world: World, stage: Stage) -> None:
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo there; exec sleep 600"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        attached = towline(world.daemon, "attach", "vm", "--pid", str(holder.pid), "--network", "web")
        assert attached.status == 0, attached.err
        stage.callback(lambda: boxes.remove(world.daemon, "vm"))
        assert state(world.daemon, "vm") == "running"
    finally:
        holder.kill()
        holder.wait()
    assert wait_state(world.daemon, "vm", "exited") < 1.0


def test_the_hosts_network_and_none(world: World, stage: Stage) -> None:
    daemon = world.daemon
    show = ["sh", "-c", "readlink /proc/self/ns/net; cat /etc/resolv.conf; ip -o link | wc -l; sleep 600"]
    for name in ("host", "none"):
        boxes.run(daemon, f"on-{name}", name, command=show)
        stage.callback(lambda name=name: boxes.remove(daemon, f"on-{name}"))
    lines = {}
    for name in ("host", "none"):
        eventually(lambda name=name: _has_lines(daemon, f"on-{name}", 2))
        lines[name] = towline(daemon, "logs", f"on-{name}").out.splitlines()
    own = daemon.run("readlink", "/proc/self/ns/net").strip()
    assert lines["host"][0] == own
    assert lines["none"][0] != own
    assert lines["none"][-1] == "1"
    assert "127.0.0.11" not in "".join(lines["none"] + lines["host"])
    assert_equal(daemon)
    refused = daemon.http("POST", "/networks/web/connect", {"Container": "on-host"})
    assert refused.status == 400


def _has_lines(daemon: Daemon, name: str, least: int) -> None:
    assert len(towline(daemon, "logs", name).out.splitlines()) >= least


def test_exec_and_logs(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", "echo out; echo err >&2; exec sleep 600"])
    stage.callback(lambda: boxes.remove(world.daemon, "box"))
    eventually(lambda: _has_lines(world.daemon, "box", 1))
    logs = towline(world.daemon, "logs", "box")
    assert (logs.out, logs.err) == ("out\n", "err\n")
    for script, status in (("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)):
        assert towline(world.daemon, "exec", "box", "--", "sh", "-c", script).status == status
    address = boxes.inspect(world.daemon, "box")["endpoints"][0]["ipv4"]
    assert address in towline(world.daemon, "exec", "box", "--", "ip", "-o", "address").out


def test_nothing_runs_and_nothing_is_pinned_when_all_are_removed(world: World, stage: Stage) -> None:
    boxes.run(world.daemon, "box", "web", command=["sh", "-c", "sleep 601 & sleep 602 & wait"])
    boxes.remove(world.daemon, "box")
    assert pins(world.daemon.exec_root) == []
    assert shims(world.daemon.exec_root) == []
