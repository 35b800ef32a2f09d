"""/info and `towline info` tell the state of now, not that of the daemon's start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.daemon import Daemon

TOWLINE = str(Path(sys.executable).with_name("towline"))


def rows(daemon: Daemon) -> dict[str, str]:
    """What `towline info` shows."""
    command = [TOWLINE, "--host", f"unix://{daemon.socket}", "info"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {title: value.strip() for title, _, value in (line.partition(":") for line in shown.splitlines())}


def test_ipv4_forwarding_is_read_each_time(daemon: Daemon) -> None:
    for value, shown in (("0", "false"), ("1", "true"), ("0", "false")):
        daemon.run("sysctl", "-q", "-w", f"net.ipv4.ip_forward={value}")
        assert daemon.http("GET", "/info").json["IPv4Forwarding"] is (value == "1")
        assert rows(daemon)["IPv4 forwarding"] == shown
