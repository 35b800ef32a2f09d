"""The `Sandboxes` contract on the real kernel, with `ip -json` as the second opinion and real packets."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.inside import Inside, private_mounts
from tests.support.netns import Namespace, namespace
from tests.support.sandboxes_conformance import Env, SandboxesConformance, defaults, interface, second
from tests.support.slaves_conformance import SlavesConformance
from towline.kernel import announce
from towline.kernel.monitor import NetlinkMonitor
from towline.kernel.netns import inside
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
from towline.model.desired import Defaults
from towline.model.errors import KernelError, NamespaceGone, NotANamespace


@pytest.fixture
def host(ns: Namespace) -> Namespace:
    ns.call(private_mounts)
    return ns


@pytest.fixture
def sandboxes(host: Namespace) -> Iterator[Any]:
    made = host.call(RealSandboxes, ProcSysctl())
    yield Inside(host, made)
    made.close()


@pytest.fixture
def env(host: Namespace, sandboxes: Any, tmp_path: Path) -> Iterator[Env]:
    links = host.call(RtnlLinks, ProcSysctl())
    with ExitStack() as stack:

        def foreign() -> str:
            made = stack.enter_context(namespace())
            for command in (
                "ip link add eth9 type veth peer name eth8",
                "ip link set eth8 up",
                "ip link set eth9 addrgenmode none up",
                "ip link set eth8 addrgenmode none",
                "ip address add 192.168.7.3/24 dev eth9",
                "ip address add fd07::3/64 dev eth9 nodad",
                "ip route add default via 192.168.7.1",
                "ip route add default via fd07::1",
            ):
                made.run(command.split())
            return made.path

        (tmp_path / "file").write_text("something")
        yield Env(
            sandboxes,
            Inside(host, links),  # type: ignore[arg-type]
            f"{tmp_path}/run/netns",
            foreign,
            host=host.path,
            file=f"{tmp_path}/file",
            sysctl=lambda path, key: within(host, path, "cat", f"/proc/sys/{key}").strip(),
        )
    links.close()


def within(host: Namespace, path: str, *command: str) -> str:
    return host.run(["nsenter", f"--net={path}", *command])


def ip(host: Namespace, path: str, *command: str) -> Any:
    return json.loads(within(host, path, "ip", "-json", "-details", *command))


class TestRealSandboxes(SandboxesConformance, SlavesConformance):
    pass


def await_gone(host: Namespace, env: Env, name: str) -> None:
    """Until the host has no link of this name; fails after ten seconds."""
    monitor = host.call(NetlinkMonitor)
    try:
        while env.links.find(name) is not None:
            assert select.select(monitor.filenos(), [], [], 10)[0], f"{name} is still there"
            monitor.read()
    finally:
        monitor.close()


def test_ip_sees_the_same_at_once(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.made()
    env.sandboxes.join(path, interface(7))
    (eth7,) = ip(host, path, "address", "show", "eth7")
    found = {each["local"]: each for each in eth7["addr_info"]}
    assert set(found) == {"10.1.0.7", "fd00:1::7", "fe80::42:aff:fe01:7"}
    assert found["10.1.0.7"]["broadcast"] == "10.1.0.255"
    assert not any(each.get("tentative") for each in found.values())
    assert (eth7["operstate"], "NO-CARRIER" in eth7["flags"]) == ("UP", False)
    (end,) = json.loads(host.run(["ip", "-json", "-details", "link", "show", "veth0000007"]))
    assert (end["inet6_addr_gen_mode"], end["link_index"]) == ("none", eth7["ifindex"])
    (addresses,) = json.loads(host.run(["ip", "-json", "address", "show", "veth0000007"]))
    assert addresses["addr_info"] == []
    assert ip(host, path, "link", "show", "eth7")[0]["inet6_addr_gen_mode"] == "eui64"
    assert (end["linkinfo"]["info_slave_kind"], end["linkinfo"]["info_slave_data"]["hairpin"]) == ("bridge", True)


@pytest.mark.parametrize("mtu", [0, 1000])
def test_an_interface_without_ipv6_has_no_link_local_address(host: Namespace, env: Env, mtu: int) -> None:
    env.bridges()
    path = env.made()
    env.sandboxes.join(path, interface(0, "10.1.0.7/24", ipv6_off=True, mtu=mtu))
    (eth0,) = ip(host, path, "address", "show", "eth0")
    assert [each["local"] for each in eth0["addr_info"]] == ["10.1.0.7"]


def test_ipv6_works_where_the_sandbox_switches_it_off_by_default(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.made()
    within(host, path, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    env.sandboxes.join(path, interface(0))
    assert len(ip(host, path, "address", "show", "eth0")[0]["addr_info"]) == 3


@pytest.mark.parametrize("target", ["10.1.0.1", "fd00:1::1"])
def test_the_first_packet_passes(host: Namespace, env: Env, target: str) -> None:
    """A lost first ARP request or solicitation would be repeated after a second only."""
    env.bridges()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    server = host.call(socket.socket, family, socket.SOCK_DGRAM)
    server.bind((target, 9))
    server.settimeout(0.5)
    for i in range(20):
        path = env.made(f"{i:012x}")
        env.sandboxes.join(path, interface(0, "10.1.0.7/24", "fd00:1::7/64", mac=f"02:42:0a:02:00:{i:02x}"))
        client = host.call(_socket_inside, path, family)
        client.sendto(b"%d" % i, (target, 9))
        assert server.recv(100) == b"%d" % i
        client.close()
        assert env.sandboxes.leave(path, ["veth0000000"]) == [None]
    server.close()


def _socket_inside(path: str, family: int, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    with inside(path):
        return socket.socket(family, kind)


def test_a_link_with_an_alternative_name_is_not_the_one_that_leaves(host: Namespace, env: Env) -> None:
    host.run(["ip", "link", "add", "eth9", "type", "bridge"])
    host.run(["ip", "link", "property", "add", "dev", "eth9", "altname", "veth0000000"])
    assert env.sandboxes.leave(env.made(), ["veth0000000"]) == [None]
    assert env.links.find("eth9") is not None


def test_announcements_are_seen_and_believed(host: Namespace, env: Env) -> None:
    env.bridges()
    path, other = env.made(), env.made("ba9876543210")
    wanted = interface(7)
    env.sandboxes.join(path, wanted)
    env.sandboxes.join(other, interface(8, "10.1.0.8/24", "fd00:1::8/64"))
    for address in ("10.1.0.7", "fd00:1::7", "fe80::42:aff:fe01:7"):
        command = f"ip neighbour replace {address} lladdr 02:00:00:00:00:99 dev eth8 nud stale"
        within(host, other, *command.split())
    sniffer = host.call(_socket_inside, other, socket.AF_PACKET, socket.SOCK_RAW)
    sniffer.bind(("eth8", 3))
    sniffer.settimeout(5)
    env.sandboxes.announce(path, wanted)
    expected, seen = announce.frames(wanted), set[bytes]()
    assert len(expected) == 4
    while not seen >= set(expected):
        seen.add(sniffer.recv(2000))
    sniffer.close()
    known = {each["dst"]: each["lladdr"] for each in json.loads(within(host, other, "ip", "-json", "neighbour"))}
    assert {known[address] for address in ("10.1.0.7", "fd00:1::7", "fe80::42:aff:fe01:7")} == {wanted.mac}


def test_nobody_stays_in_a_namespace_that_was_announced(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.made()
    env.sandboxes.join(path, interface())
    sandbox = host.call(os.stat, path).st_ino
    for _ in range(10):
        env.sandboxes.announce(path, interface())
    threads = [f"/proc/self/task/{each}/ns/net" for each in os.listdir("/proc/self/task")]
    assert sandbox not in {os.stat(each).st_ino for each in threads}
    env.sandboxes.drop(path)
    await_gone(host, env, "veth0000000")


def test_default_routes_move_without_a_moment_without_one(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.made()
    env.sandboxes.join(path, interface(0))
    env.sandboxes.join(path, second(1))
    places = (
        Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1::1")),
        Defaults(("eth1", "10.2.0.1"), ("eth0", "fe80::1")),
    )
    env.sandboxes.set_defaults(path, places[1])
    clients = [(host.call(_socket_inside, path, socket.AF_INET), "203.0.113.1")]
    clients.append((host.call(_socket_inside, path, socket.AF_INET6), "2001:db8::1"))
    stop, refused = threading.Event(), list[OSError]()

    def look_for_a_gap() -> None:
        while not stop.is_set():
            for sock, target in clients:
                try:
                    sock.connect((target, 9))  # looks the route up, sends nothing
                except OSError as error:
                    refused.append(error)

    thread = threading.Thread(target=look_for_a_gap)
    thread.start()
    for i in range(200):
        env.sandboxes.set_defaults(path, places[i % 2])
    stop.set()
    thread.join()
    for sock, _ in clients:
        sock.close()
    assert refused == []


def test_several_next_hops_of_somebody_else_stay(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.foreign()
    for command in (
        "ip route replace default nexthop via 192.168.7.1 nexthop via 192.168.7.2",
        "ip -6 route append default via fd07::2",
    ):
        within(host, path, *command.split())
    before = within(host, path, "ip", "route"), within(host, path, "ip", "-6", "route")
    env.sandboxes.join(path, interface(0))
    env.sandboxes.set_defaults(path, Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1::1")))
    assert ("0.0.0.0/0", "10.1.0.1", "eth0") in defaults(env.sandboxes.look(path))
    assert "1.1.1.1 via 192.168.7." in within(host, path, "ip", "route", "get", "1.1.1.1")
    assert "dev eth9" in within(host, path, "ip", "route", "get", "2001:db8::1")
    env.sandboxes.leave(path, ["veth0000000"])
    assert (within(host, path, "ip", "route"), within(host, path, "ip", "-6", "route")) == before


def test_the_pins_directory_is_for_root_only(env: Env) -> None:
    assert os.stat(os.path.dirname(env.made())).st_mode & 0o777 == 0o700


def test_what_a_crash_or_reboot_left_is_taken_over_or_removed(env: Env) -> None:
    path, other = env.made(), f"{env.directory}/ba9876543210"
    env.sandboxes.drop(path)
    for each in (path, other):
        Path(each).touch()
    assert env.sandboxes.pinned(env.directory) == [path, other]
    with pytest.raises(NotANamespace):
        env.sandboxes.look(path)
    assert env.made() == path
    env.sandboxes.drop(other)
    assert os.listdir(env.directory) == [os.path.basename(path)]


def test_a_namespace_can_be_pinned_again_elsewhere(env: Env) -> None:
    path, copy = env.made(), f"{env.directory}/ba9876543210"
    env.sandboxes.adopt(copy, path)
    assert env.sandboxes.identity(copy) == env.sandboxes.identity(path)
    env.sandboxes.drop(path)
    assert [link.name for link in env.sandboxes.look(copy).links] == ["lo"]
    with pytest.raises(KernelError) as caught:
        env.sandboxes.adopt(copy, copy)
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(NamespaceGone):
        env.sandboxes.adopt(f"{env.directory}/0000", path)
    env.sandboxes.drop(copy)
    assert os.listdir(env.directory) == []


def test_a_failed_make_leaves_nothing(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    env.sandboxes.drop(env.made())
    monkeypatch.setattr("towline.kernel.sandboxes_pin.HERE", "/nosuch")
    with pytest.raises(KernelError) as caught:
        env.made()
    assert caught.value.errno == errno.ENOENT
    assert os.listdir(env.directory) == []


def test_a_pin_survives_its_maker(host: Namespace, env: Env) -> None:
    env.bridges()
    path = f"{env.directory}/0123456789ab"
    program = f"""
import os, signal
from tests.support.sandboxes_conformance import interface
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
made = RealSandboxes(ProcSysctl())
made.make({path!r})
made.join({path!r}, interface())
os.kill(os.getpid(), signal.SIGKILL)
"""
    maker = host.popen([sys.executable, "-c", program])
    assert maker.wait() == -signal.SIGKILL
    assert env.sandboxes.pinned(env.directory) == [path]
    assert env.host_link("veth0000000").up
    env.sandboxes.drop(path)
    await_gone(host, env, "veth0000000")


def test_a_copy_of_the_mount_does_not_keep_the_namespace(host: Namespace, env: Env) -> None:
    env.bridges()
    path = env.made()
    env.sandboxes.join(path, interface())
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 60"]
    holder = host.popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    assert path in Path(f"/proc/{holder.pid}/mountinfo").read_text()
    env.sandboxes.drop(path)
    await_gone(host, env, "veth0000000")
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_a_process_that_ends_takes_its_pairs_along(host: Namespace, env: Env) -> None:
    env.bridges()
    process = host.popen(["unshare", "--net", "sh", "-c", "echo ready; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    path = f"/proc/{process.pid}/ns/net"
    env.sandboxes.join(path, interface())
    process.kill()
    process.wait()
    process.stdout.close()
    await_gone(host, env, "veth0000000")
    assert env.sandboxes.leave(path, ["veth0000000"]) == [None]


def test_many_leaves_do_not_wait_for_each_other(env: Env) -> None:
    env.bridges()
    path = env.made()
    names = [f"veth00001{i:02}" for i in range(40)]
    for i, name in enumerate(names):
        env.sandboxes.join(path, interface(0, f"10.1.0.{i + 2}/24", host_name=name, name=f"eth{i}"))
    for name in names[:10]:
        assert env.sandboxes.leave(path, [name]) == [None]
        assert env.links.find(name) is None
    assert env.sandboxes.leave(path, names) == [None] * 40
    assert [each.name for each in env.sandboxes.look(path).links] == ["lo"]


def test_a_pair_that_cannot_go_is_named(env: Env) -> None:
    env.bridges()
    (error,) = env.sandboxes.leave("", ["lo"])
    assert error is not None
    assert (error.errno, error.operation) == (errno.EOPNOTSUPP, "remove link lo")


def test_nothing_is_held_open(env: Env) -> None:
    env.bridges()

    def cycle() -> None:
        path = env.made()
        env.sandboxes.join(path, interface(0))
        with pytest.raises(KernelError):
            env.sandboxes.join(path, interface(0))
        with pytest.raises(KernelError):
            env.sandboxes.join(path, interface(1, "fd00:1::9/64", ipv6_off=True))
        with pytest.raises(NotANamespace):
            env.sandboxes.join(env.file, interface(2))
        env.sandboxes.set_defaults(path, Defaults(("eth0", "10.1.0.1")))
        env.sandboxes.look(path)
        with pytest.raises(KernelError):
            env.sandboxes.announce(path, interface(1))
        assert env.sandboxes.leave(path, ["veth0000000"]) == [None]
        env.sandboxes.drop(path)

    cycle()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        cycle()
    assert len(os.listdir("/proc/self/fd")) == before
