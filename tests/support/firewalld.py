"""firewalld with a system bus of its own, in a daemon's network namespace and a mount namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import need_tool
from tests.support.netns import Namespace

# The bus and firewalld's files are where all programs look for them, but only in this mount namespace.
HOLD = """
mkdir -p "$1/run" "$1/etc/zones" && mount --bind "$1/run" /run && mkdir -p /run/dbus /run/firewalld &&
mount --bind "$1/etc" /etc/firewalld && cp /usr/share/firewalld/zones/public.xml /etc/firewalld/zones/ 2>/dev/null
echo mounted && exec sleep infinity
"""
PATIENCE = 30.0


class Firewalld:
    """Make it with `running_firewalld`."""

    def __init__(self, net: Namespace, root: Path) -> None:
        root.mkdir()
        self._net = net
        self._root = root
        self._processes: list[subprocess.Popen[bytes]] = []
        holder = self._spawn("unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "-", str(root))
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        self._enter = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"]

    def start(self) -> None:
        bus = self._spawn(*self._enter, "dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address")
        assert bus.stdout is not None
        assert bus.stdout.readline(), "the bus did not start"
        self._spawn(*self._enter, "firewalld", "--nofork", "--nopid", log=True)
        self.wait_running()

    def wait_running(self) -> None:
        script = f"for _ in $(seq {int(PATIENCE * 10)}); do firewall-cmd --state -q && exit; sleep 0.1; done; exit 1"
        done = subprocess.run([*self._enter, "sh", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + (self._root / "log").read_text()

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._enter, "firewall-cmd", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr + (self._root / "log").read_text()
        return done.stdout

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(PATIENCE)

    def _spawn(self, *command: str, log: bool = False) -> subprocess.Popen[bytes]:
        with (self._root / "log").open("ab") as file:
            process = self._net.popen(
                command, stdin=subprocess.DEVNULL, stdout=file if log else subprocess.PIPE, stderr=file
            )
        self._processes.append(process)
        return process


@contextmanager
def running_firewalld(net: Namespace, root: Path) -> Iterator[Firewalld]:
    """firewalld, ready."""
    for name in ("firewalld", "firewall-cmd", "dbus-daemon"):
        need_tool(name)
    made = Firewalld(net, root)
    try:
        made.start()
        yield made
    finally:
        made.close()
