"""`towline top` against canned answers and canned counters."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import answer, run, serving
from towline.cli import top_sample
from towline.cli.main import main
from towline.cli.top import size
from towline.cli.top_sample import Sample, picture, read_counters

Capture = pytest.CaptureFixture[str]
NETWORKS: list[dict[str, object]] = [
    {"Name": "web", "Id": "ab" * 32, "Driver": "bridge"},
    {"Name": "none", "Id": "cd" * 32, "Driver": "null"},
]
COUNTERS = """\
Inter-|   Receive                       |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0    0    0    0    0     0       0          0
 vetha:    5000      10    0    0    0     0          0         0  2000000   20    0    0    0     0       0          0
"""


def test_what_the_hosts_counters_lack_is_counted_inside(tmp_path: Path) -> None:
    """Of a process in the sandbox's namespace only; here that is this process, and its loopback."""
    endpoint = {"network_name": "wide", "ifname": "lo", "ipv4": "10.0.0.2/24", "host_link": "vethz"}
    here = {"name": "a", "state": "running", "pid": os.getpid(), "netns": "/proc/self/ns/net", "endpoints": [endpoint]}
    received, sent = top_sample.read_counters("/proc/self/net/dev")["lo"][::-1]
    found = top_sample.inside(here, {})
    assert found["vethz"] >= (received, sent)
    assert top_sample.inside(here, {"vethz": (1, 2)}) == {}
    assert top_sample.inside({**here, "state": "exited"}, {}) == {}
    assert top_sample.inside({**here, "netns": str(tmp_path)}, {}) == {}
    assert top_sample.inside({**here, "pid": 0}, {}) == {}


def sandbox(name: str, link: str, state: str = "running") -> dict[str, object]:
    endpoint = {"network_name": "web", "ifname": "eth0", "ipv4": "10.0.0.2/24", "host_link": link}
    return {"name": name, "state": state, "endpoints": [endpoint]}


def replies(queries: int) -> list[bytes]:
    state = {"counters": {"dns_queries": queries}}
    return [answer(NETWORKS), answer([sandbox("shop", "vetha"), sandbox("far", "vethz")]), answer(state)]


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "dev"
    path.write_text(COUNTERS)
    monkeypatch.setattr(top_sample, "COUNTERS", str(path))
    return path


def test_what_the_hosts_end_sends_the_sandbox_receives(counters: Path) -> None:
    assert read_counters(str(counters)) == {"lo": (0, 0), "vetha": (2000000, 5000)}


def test_the_kernels_own_counters_can_be_read() -> None:
    assert "lo" in read_counters("/proc/self/net/dev")


@pytest.mark.usefixtures("counters")
def test_once_shows_rates_between_two_looks(serve: Serve, capsys: Capture) -> None:
    assert run(serve(*replies(10), *replies(10)), "top", "--once", "-i", "0.1") == 0
    assert capsys.readouterr().out == (
        "2 networks, 2 sandboxes, 2 running, 2 endpoints, 0.0 name queries a second\n"
        "\n"
        "NETWORK   DRIVER    ENDPOINTS   RECEIVED/S   SENT/S\n"
        "web       bridge    2           0 B          0 B\n"
        "none      null      0           -            -\n"
        "\n"
        "SANDBOX   NETWORK   INTERFACE   ADDRESS    RECEIVED/S   SENT/S    RECEIVED   SENT\n"
        "far       web       eth0        10.0.0.2   -            -         -          -\n"
        "shop      web       eth0        10.0.0.2   0 B          0 B       2.0 MB     5.0 kB\n"
    )


@pytest.mark.usefixtures("counters")
def test_json_is_one_picture(serve: Serve, capsys: Capture) -> None:
    assert run(serve(*replies(10), *replies(10)), "--json", "top", "-i", "0.1") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["DnsQueries"] == 10
    assert found["Networks"][0] == {
        "Name": "web",
        "Driver": "bridge",
        "Endpoints": 2,
        "ReceiveRate": 0,
        "SendRate": 0,
    }
    assert found["Endpoints"][0]["Received"] is None


def test_rates_are_per_second_and_the_busiest_is_first() -> None:
    boxes = [sandbox("a", "v1"), sandbox("b", "v2"), sandbox("new", "v3"), sandbox("off", "v1", "exited")]
    before = Sample(10.0, NETWORKS, boxes, {"v1": (0, 0), "v2": (100, 50)}, 5)
    after = Sample(12.0, NETWORKS, boxes, {"v1": (10, 0), "v2": (4100, 250), "v3": (7, 7)}, 25)
    found = picture(before, after)
    assert found["DnsRate"] == 10.0
    rows = found["Endpoints"]
    assert isinstance(rows, list)
    assert [(row["Sandbox"], row["ReceiveRate"], row["SendRate"]) for row in rows] == [
        ("b", 2000, 100),
        ("a", 5, 0),
        ("new", 0, 0),
        ("off", None, None),
    ]


def test_a_counter_that_began_anew_gives_no_negative_rate() -> None:
    boxes = [sandbox("a", "v1")]
    found = picture(Sample(1.0, [], boxes, {"v1": (900, 900)}, 900), Sample(2.0, [], boxes, {"v1": (9, 9)}, 9))
    rows = found["Endpoints"]
    assert isinstance(rows, list)
    assert (rows[0]["ReceiveRate"], found["DnsRate"]) == (0, 0.0)


def test_a_daemon_that_does_not_count_queries(serve: Serve, capsys: Capture) -> None:
    answers = [answer(NETWORKS), answer([]), answer({"message": "page not found"}, "404 Not Found")]
    assert run(serve(*answers, *answers), "top", "--once", "-i", "0.1") == 0
    assert capsys.readouterr().out.startswith("2 networks, 0 sandboxes, 0 running, 0 endpoints\n")


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes(value: int | None, want: str) -> None:
    assert size(value) == want


@pytest.mark.parametrize("text", ["0", "x", "-1", "nan", "3601"])
def test_the_interval_has_bounds(sockets: Path, capsys: Capture, text: str) -> None:
    assert main(["-H", f"unix://{sockets}/none", "top", "--once", f"--interval={text}"]) == 2
    assert "--interval wants" in capsys.readouterr().err


def test_on_a_terminal_it_is_drawn_again_and_outlives_the_daemon(sockets: Path) -> None:
    """When the daemon goes the last picture stays, with the reason. Ctrl-C ends it well."""
    main_end, terminal = pty.openpty()
    with serving(sockets / "s", *replies(1), *replies(2)) as daemon:
        command = [sys.executable, "-m", "towline.cli", "-H", f"unix://{daemon.path}", "top", "-i", "0.1"]
        process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, start_new_session=True, preexec_fn=_take_terminal
        )
        os.close(terminal)
        seen = _read_until(main_end, b"far.*far")
    seen += _read_until(main_end, b"no daemon at|closed the connection")
    os.write(main_end, b"\x03")
    seen += _read_until(main_end, rb"\?1049l")
    assert process.wait(10) == 0
    os.close(main_end)
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l\x1b[H2 networks, 2 sandboxes")
    assert b"name queries a second" in seen


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(fd: int, pattern: bytes) -> bytes:
    data = b""
    while not re.search(pattern, data, re.DOTALL):
        data += os.read(fd, 65536)
    return data
