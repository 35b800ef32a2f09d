"""A real towlined from start to stop: files, locks, signals, and what stays in the kernel."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import TOWLINED, Daemon, DaemonFailed, UnixConnection
from tests.support.netns import namespace
from towline.api.server import GRACE_SECONDS

STUB = (sys.executable, "-m", "tests.support.stub_daemon")
MakeDaemon = Callable[..., Daemon]


def kernel_state(daemon: Daemon) -> tuple[list[object], str]:
    """Links with index, settings and addresses, but without carrier state, which the kernel follows in its own time;
    and the ruleset."""
    fields = ("ifindex", "ifname", "address", "mtu", "ifalias")
    links = json.loads(daemon.run("ip", "-j", "address"))
    seen: list[object] = [
        [*(link.get(name) for name in fields), "UP" in link["flags"], [a["local"] for a in link["addr_info"]]]
        for link in links
    ]
    return seen, daemon.run("nft", "list", "ruleset")


def test_a_running_daemon_has_socket_and_pidfile_and_a_stopped_one_has_not(daemon: Daemon) -> None:
    socket, pidfile = Path(daemon.socket), daemon.exec_root / "towlined.pid"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(daemon.data_root.stat().st_mode) == 0o700
    assert pidfile.read_text() == f"{daemon.pid}\n"
    assert daemon.http("GET", "/_ping").body == b"OK"
    assert daemon.stop() == 0
    assert not socket.exists()
    assert not pidfile.exists()


def test_a_clean_stop_leaves_networks_and_a_restart_changes_nothing(daemon: Daemon) -> None:
    created = daemon.http("POST", "/networks/create", {"Name": "web"})
    assert created.status == 201, created
    before = kernel_state(daemon)
    assert f"br-{created.json['Id'][:12]}" in str(before[0])
    assert daemon.stop() == 0
    assert kernel_state(daemon) == before
    daemon.start()
    assert kernel_state(daemon) == before
    assert daemon.http("GET", "/networks/web").json["Id"] == created.json["Id"]


def test_kill_leaves_nothing_that_bars_the_next_start(daemon: Daemon) -> None:
    daemon.kill()
    assert Path(daemon.socket).exists()
    assert (daemon.exec_root / "towlined.pid").exists()
    daemon.start()
    assert daemon.http("GET", "/_ping").status == 200
    assert daemon.stop() == 0


def test_second_daemon_on_a_data_root_is_refused(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    second = make_daemon()
    second.data_root = daemon.data_root
    with pytest.raises(DaemonFailed) as caught:
        second.start()
    assert caught.value.status == 1
    assert f"data root {daemon.data_root} is in use by another towlined (process {daemon.pid})" in second.log
    assert daemon.http("GET", "/_ping").status == 200
    daemon.kill()
    second.start()


def test_second_daemon_in_a_network_namespace_is_refused(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    second = make_daemon(net=daemon.namespace)
    with pytest.raises(DaemonFailed) as caught:
        second.start()
    assert caught.value.status == 1
    assert f"network namespace is managed by another process (process {daemon.pid}, user 0)" in second.log
    assert "unshare -n towlined" in second.log
    assert not Path(second.socket).exists()
    assert not (second.exec_root / "towlined.pid").exists()
    daemon.stop()
    second.start()


def test_second_daemon_with_the_same_pidfile_or_socket_is_refused(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    pidfile = make_daemon("--pidfile", str(daemon.exec_root / "towlined.pid"))
    with pytest.raises(DaemonFailed, match=rf"belongs to a running towlined \(process {daemon.pid}\)"):
        pidfile.start()
    socket = make_daemon("-H", f"unix://{daemon.socket}")
    with pytest.raises(DaemonFailed, match=f"cannot listen on unix://{daemon.socket}: another process does"):
        socket.start()
    assert daemon.http("GET", "/_ping").status == 200


def test_daemons_with_their_own_roots_and_namespaces_run_at_once(make_daemon: MakeDaemon) -> None:
    one, two = make_daemon().start(), make_daemon().start()
    assert one.http("POST", "/networks/create", {"Name": "only-here"}).status == 201
    assert one.http("GET", "/networks/only-here").status == 200
    assert two.http("GET", "/networks/only-here").status == 404


def test_starts_in_a_namespace_whose_loopback_was_never_up(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(entry=["unshare", "--net", "--", *TOWLINED]).start()
    assert daemon.http("POST", "/networks/create", {"Name": "web"}).status == 201


def test_one_daemon_serves_many_sockets(make_daemon: MakeDaemon) -> None:
    with namespace() as net:
        daemon = make_daemon(net=net)
        other = daemon.root / "other.sock"
        daemon.args = ["-H", f"unix://{daemon.socket}", "-H", f"unix://{other}", "-H", "tcp://127.0.0.1:2375"]
        daemon.start()
        for path in (daemon.socket, str(other)):
            connection = UnixConnection(path)
            connection.request("GET", "/_ping")
            assert connection.getresponse().read() == b"OK"
            connection.close()
        assert "without encryption or authentication" in daemon.log
        assert "2375" in daemon.run("ss", "-ltn")


CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(b"GET /_ping HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(client.recv(100))
"""


def test_socket_is_closed_to_other_users_and_open_to_the_group(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.root.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    client = [*nobody, "/usr/bin/python3", "-I", "-c", CONNECT, daemon.socket]
    daemon.start()
    with pytest.raises(AssertionError, match=r"PermissionError: \[Errno 13\] Permission denied"):
        daemon.run(*client)
    daemon.stop()
    daemon.args = ["--group", "65534"]
    daemon.start()
    assert "200 OK" in daemon.run(*client)


def test_running_request_ends_before_the_daemon_does(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(entry=STUB).start()
    slow = UnixConnection(daemon.socket)
    slow.request("GET", "/slow")
    assert daemon.http("POST", "/go").body == b"going"
    daemon.process.terminate()
    daemon.wait_message("STOPPING=1")
    assert slow.getresponse().read() == b"done"
    slow.close()
    assert daemon.wait() == 0
    assert (daemon.data_root / "stub-log").read_text() == "start\nstop\n"


def test_a_second_signal_ends_it_at_once(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(entry=STUB).start()
    slow = UnixConnection(daemon.socket)
    slow.request("GET", "/slow")
    assert daemon.http("GET", "/_ping").status == 200
    daemon.process.send_signal(signal.SIGINT)
    daemon.wait_message("STOPPING=1")
    daemon.process.terminate()
    assert daemon.wait() == 1
    slow.close()
    daemon.start()


def test_open_event_stream_does_not_hold_up_the_stop(daemon: Daemon) -> None:
    stream = UnixConnection(daemon.socket)
    stream.request("GET", "/events")
    answer = stream.getresponse()
    with ThreadPoolExecutor(1) as reader:
        ended = reader.submit(answer.read)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < GRACE_SECONDS / 2
        ended.exception(10)
    stream.close()


def test_failed_start_gives_back_what_it_took(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(entry=STUB)
    daemon.data_root.mkdir()
    (daemon.data_root / "fail-start").touch()
    with pytest.raises(DaemonFailed) as caught:
        daemon.start()
    assert caught.value.status == 1
    assert "failed to start: the stub was told to fail" in daemon.log
    assert list(daemon.exec_root.iterdir()) == []
    (daemon.data_root / "fail-start").unlink()
    daemon.start()


def test_watchdog_is_fed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(environment={"WATCHDOG_USEC": "100000"}).start()
    for _ in range(3):
        daemon.wait_message("WATCHDOG=1")


def test_systemd_socket_activation(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("-H", "fd://api")
    daemon.entry = [
        sys.executable,
        "-c",
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); os.dup2(s.fileno(), 9); os.dup2(9, 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='api')\n"
        "os.execv(sys.argv[2], sys.argv[2:])",
        str(daemon.root / "activated.sock"),
        *daemon.entry,
    ]
    daemon.start()
    daemon.socket = str(daemon.root / "activated.sock")
    assert daemon.http("GET", "/_ping").body == b"OK"
    assert daemon.stop() == 0
    assert Path(daemon.socket).exists(), "systemd's socket is not ours to remove"


def test_stays_below_60_mib_when_idle(daemon: Daemon) -> None:
    assert daemon.http("GET", "/networks").status == 200
    assert daemon.rss_kib() < 60 * 1024


def test_sigusr1_writes_stacks(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGUSR1)
    assert daemon.http("GET", "/_ping").status == 200
    assert "most recent call first" in daemon.log
