"""Sandboxes from the command line against a real daemon: what runs in them, what it sees, what is left."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_cli_network import Done, towline
from tests.support.daemon import Daemon
from tests.support.polling import eventually

SLEEP = ("--", "sleep", "600")


@pytest.fixture
def web(daemon: Daemon) -> Daemon:
    """With a network "web", 10.9.0.0/24."""
    assert towline(daemon, "network", "create", "--subnet", "10.9.0.0/24", "web").status == 0
    return daemon


def command(daemon: Daemon, *args: str) -> list[str]:
    return [sys.executable, "-m", "towline.cli", "-H", f"unix://{daemon.socket}", *args]


def names(daemon: Daemon) -> list[str]:
    return towline(daemon, "ls", "--all", "--format", "{{.Name}}").out.split()


def field(daemon: Daemon, name: str, template: str) -> str:
    return towline(daemon, "inspect", "-f", template, name).out.rstrip("\n")


def wait_until(condition: Callable[[], bool]) -> None:
    def check() -> None:
        assert condition()

    eventually(check, 20.0)


def inside(daemon: Daemon, *args: str) -> Done:
    return towline(daemon, "run", "--rm", "--network", "web", *args)


def test_a_command_runs_on_its_network_with_its_own_files(web: Daemon) -> None:
    script = "ip -o -4 address show eth0; cat /etc/hosts /etc/hostname /etc/resolv.conf; hostname; echo $A $HOSTNAME"
    flags = ["--name", "shop", "--hostname", "h1", "--ip", "10.9.0.77", "--add-host", "db:192.0.2.1", "-e", "A=b"]
    done = inside(web, *flags, "--", "sh", "-c", script)
    assert (done.status, done.err) == (0, "")
    assert "10.9.0.77/24" in done.out
    assert "10.9.0.77\th1\n" in done.out
    assert "192.0.2.1\tdb\n" in done.out
    assert "nameserver 127.0.0.11\n" in done.out
    assert done.out.endswith("h1\nb h1\n")
    assert names(web) == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such-program"], 127),
        (["/etc"], 126),
    ],
)
def test_the_status_is_the_commands(web: Daemon, words: list[str], status: int) -> None:
    assert inside(web, "--", *words).status == status
    assert names(web) == []


def test_without_rm_it_stays_and_can_be_started_again(web: Daemon) -> None:
    assert towline(web, "run", "--network", "web", "--name", "shop", "--", "sh", "-c", "exit 3").status == 3
    wait_until(lambda: field(web, "shop", "{{.state}} {{.exit_code}}") == "exited 3")
    address = field(web, "shop", "{{range .endpoints}}{{.ipv4}} {{.mac}}{{end}}")
    started = towline(web, "start", "shop")
    assert (started.status, started.out, started.err) == (0, "shop\n", "")
    wait_until(lambda: field(web, "shop", "{{.state}} {{.exit_code}}") == "exited 3")
    assert field(web, "shop", "{{range .endpoints}}{{.ipv4}} {{.mac}}{{end}}") == address
    assert towline(web, "rm", "shop").status == 0


def test_a_name_is_free_again_when_the_client_ends(web: Daemon) -> None:
    for _ in range(3):
        done = inside(web, "--name", "shop", "--ip", "10.9.0.9", "true")
        assert (done.status, done.err) == (0, "")


def test_standard_streams_are_the_callers(web: Daemon) -> None:
    done = subprocess.run(
        command(web, "run", "--rm", "--network", "web", "--", "sh", "-c", "cat; echo oops >&2"),
        input="hello",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello", "oops\n")


def test_what_the_daemon_refuses_leaves_nothing(web: Daemon) -> None:
    unknown = towline(web, "run", "--network", "nope", "true")
    assert (unknown.status, unknown.err) == (125, "towline: network nope not found\n")
    clash = inside(web, "--ip", "10.9.0.1", "true")
    assert (clash.status, clash.err) == (125, "towline: Address already in use\n")
    assert inside(web, "-w", "/no/such/place", "true").status == 125
    missing = towline(web, "run", "-d", "--network", "web", "no-such-program")
    assert missing.status == 127
    assert names(web) == []


@pytest.fixture
def waiting(web: Daemon) -> Iterator[subprocess.Popen[str]]:
    """A command in the foreground that has said it is there; in a process group of its own."""
    script = "trap 'echo got it; exit 5' INT TERM; echo there; while :; do sleep 0.1; done"
    args = command(web, "run", "--rm", "--network", "web", "--name", "shop", "--", "sh", "-c", script)
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


def test_a_signal_for_the_client_goes_to_the_command(web: Daemon, waiting: subprocess.Popen[str]) -> None:
    waiting.send_signal(signal.SIGTERM)
    assert waiting.communicate(timeout=20)[0] == "got it\n"
    assert waiting.returncode == 5
    assert names(web) == []


def test_ctrl_c_reaches_the_command_once(web: Daemon) -> None:
    """Its status is the number of times."""
    script = "n=0; trap 'n=$((n+1))' INT; echo there; while [ $n = 0 ]; do sleep 0.1; done; sleep 0.3; exit $n"
    args = command(web, "run", "--rm", "--network", "web", "--", "sh", "-c", script)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(args[0], args)
    try:
        assert os.read(terminal, 100) == b"there\r\n"
        os.write(terminal, b"\x03")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 1
    assert names(web) == []


def test_stop_ends_a_foreground_command_by_its_own_word(web: Daemon, waiting: subprocess.Popen[str]) -> None:
    assert towline(web, "stop", "shop").status == 0
    assert waiting.communicate(timeout=20)[0] == "got it\n"
    assert waiting.returncode == 5
    wait_until(lambda: names(web) == [])


def test_a_client_that_is_killed_takes_its_command_along(web: Daemon, waiting: subprocess.Popen[str]) -> None:
    pid = int(field(web, "shop", "{{.pid}}"))
    waiting.kill()
    waiting.wait(20)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    wait_until(lambda: names(web) == [])


def test_exec_goes_into_a_foreground_sandbox(web: Daemon, waiting: subprocess.Popen[str]) -> None:
    script = "cat /etc/hostname; ip -o -4 address show eth0; exit 4"
    done = towline(web, "exec", "shop", "--", "sh", "-c", script)
    assert done.status == 4
    assert "10.9.0." in done.out


def test_a_detached_one_is_listed_entered_stopped_and_removed(web: Daemon) -> None:
    started = towline(web, "run", "-d", "--network", "web", "--name", "shop", "-p", "8080:80", "-e", "A=b", *SLEEP)
    assert started.status == 0
    sandbox_id = started.out.strip()
    assert len(sandbox_id) == 64

    listed = towline(web, "ls").out
    assert f"{sandbox_id[:12]}   shop" in listed
    assert "web=10.9.0.2" in listed
    assert "0.0.0.0:8080->80/tcp" in listed
    assert towline(web, "ls", "-q", "--no-trunc").out == started.out

    entered = towline(web, "exec", "-e", "C=d", "shop", "sh", "-c", "echo $A$C; cat /etc/hostname")
    assert entered.out == f"bd\n{sandbox_id[:12]}\n"
    assert towline(web, "exec", "shop", "no-such-program").status == 127

    assert towline(web, "stop", "-t", "1", "shop").out == "shop\n"
    assert towline(web, "ls").out.count("\n") == 1
    refused = towline(web, "exec", "shop", "true")
    assert (refused.status, refused.err.splitlines()[0]) == (125, "towline: sandbox shop is not running")
    assert towline(web, "rm", "shop").status == 0
    assert names(web) == []


def test_rm_wants_force_for_what_runs(web: Daemon) -> None:
    towline(web, "run", "-d", "--network", "web", "--name", "shop", *SLEEP)
    refused = towline(web, "rm", "shop")
    assert refused.status == 1
    assert "is running" in refused.err
    assert towline(web, "rm", "-f", "shop", "nope").out == "shop\n"
    assert names(web) == []


def test_logs_keep_streams_apart_and_follow(web: Daemon) -> None:
    script = "echo one; echo two >&2; read line < /dev/null; sleep 0.3; echo three"
    towline(web, "run", "-d", "--network", "web", "--name", "shop", "--", "sh", "-c", script)
    followed = towline(web, "logs", "-f", "shop")
    assert (followed.status, followed.out, followed.err) == (0, "one\nthree\n", "two\n")
    assert towline(web, "logs", "--tail", "1", "shop").out == "three\n"


def test_connect_gives_a_second_interface_and_disconnect_takes_it(web: Daemon) -> None:
    towline(web, "network", "create", "--subnet", "10.8.0.0/24", "back")
    towline(web, "run", "-d", "--network", "web", "--name", "shop", *SLEEP)
    joined = towline(web, "network", "connect", "--ip", "10.8.0.99", "--alias", "db", "back", "shop")
    assert (joined.status, joined.out, joined.err) == (0, "", "")
    assert "10.8.0.99/24" in towline(web, "exec", "shop", "ip", "-o", "-4", "address").out
    assert "db" in field(web, "shop", "{{range .endpoints}}{{.dns_names}}{{end}}")
    assert towline(web, "network", "disconnect", "back", "shop").status == 0
    assert "10.8.0.99" not in towline(web, "exec", "shop", "ip", "-o", "-4", "address").out
    again = towline(web, "network", "disconnect", "back", "shop")
    assert again.status == 1
    assert "is not connected to" in again.err


def test_several_networks_at_once(web: Daemon) -> None:
    towline(web, "network", "create", "--subnet", "10.8.0.0/24", "back")
    networks = ("--network", "name=back,ip=10.8.0.7,alias=x", "--network", "web,mac-address=02:00:00:00:00:07")
    done = towline(web, "run", "--rm", *networks, "--", "sh", "-c", "ip -o address; ip -o link")
    assert "10.8.0.7/24" in done.out
    assert "02:00:00:00:00:07" in done.out


def test_a_namespace_that_exists_is_attached_and_left_alone(web: Daemon) -> None:
    script = "ip link set lo up; echo there; exec sleep 600"
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        attached = towline(web, "attach", "vm1", "--pid", str(holder.pid), "--network", "web,ip=10.9.0.50")
        assert (attached.status, attached.err) == (0, "")
        see = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "ip", "-o", "-4", "address"]
        assert "10.9.0.50/24" in subprocess.run(see, capture_output=True, text=True, check=True).stdout
        assert "10.9.0.50" in towline(web, "exec", "vm1", "ip", "-o", "-4", "address").out
        assert towline(web, "rm", "-f", "vm1").status == 0
        assert "10.9.0.50" not in subprocess.run(see, capture_output=True, text=True, check=True).stdout
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("path", ["/etc/passwd", "/no/such/namespace", "/proc/self/ns/uts"])
def test_a_path_that_is_no_namespace_is_refused(web: Daemon, path: str) -> None:
    refused = towline(web, "attach", "vm1", "--netns", path, "--network", "web")
    assert refused.status == 1
    assert path in refused.err
    assert names(web) == []


def test_inspect_shows_the_whole_sandbox(web: Daemon) -> None:
    towline(web, "run", "-d", "--network", "web", "--name", "shop", "--network-alias", "sql", "-p", "8080:80", *SLEEP)
    page = towline(web, "inspect", "shop").out
    for words in ("shop  Up ", '"sleep 600"', "network web", "eth0 at veth", "10.9.0.2/24 by 10.9.0.1", "sql", "8080"):
        assert words in page
    (found,) = towline(web, "--json", "inspect", "shop").json
    assert found["endpoints"][0]["published"][0]["host_port"] == 8080


def test_inspect_checks_the_path_with_the_kernel(web: Daemon) -> None:
    towline(web, "run", "-d", "--network", "web", "--name", "shop", *SLEEP)
    problems = "{{range .path}}{{range .steps}}{{.problem}}{{end}}{{end}}"
    assert field(web, "shop", "{{len .path}}") == "1"
    assert field(web, "shop", problems) == ""
    assert "    ok     " in towline(web, "inspect", "shop").out
    assert towline(web, "exec", "shop", "ip", "address", "flush", "dev", "eth0").status == 0
    assert field(web, "shop", problems) != ""
    assert "    wrong  " in towline(web, "inspect", "shop").out


def test_top_counts_what_goes_through(web: Daemon, tmp_path: Path) -> None:
    """The client reads the counters of the daemon's namespace."""
    towline(web, "run", "-d", "--network", "web", "--name", "shop", *SLEEP)
    towline(web, "exec", "shop", "ping", "-c", "3", "-i", "0.01", "-s", "1000", "-q", "10.9.0.1")
    found = json.loads(web.run(*command(web, "--json", "top", "-i", "0.2")))
    (row,) = found["Endpoints"]
    assert (row["Sandbox"], row["Network"], row["Interface"]) == ("shop", "web", "eth0")
    assert row["Received"] >= 3000
    assert row["Sent"] >= 3000
    assert [network["Endpoints"] for network in found["Networks"] if network["Name"] == "web"] == [1]
