"""Namespaces for one engine, held open by a process, so that the engine can be restarted in them.

Network, mounts and process ids: whatever the engine starts ends with the namespace, however this run ends.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path

# A fresh sysfs shows this namespace's links (some engines wait for them there); cgroups are bound back into it.
# /run is private: lock and pid files of programs on this machine stay apart from the engine's. The shell stays as the
# first process of the pid namespace: it buries what the engine leaves behind.
_SETUP = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroup && mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
ip link set lo up
echo ready
sleep infinity & wait
"""
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_UNSHARE = ("unshare", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
_GROUP = 64  # links removed by one message: the kernel's link lock is held for about 1.2 s


class Program:
    """A process in the namespace. pid: as the machine sees it, not as it sees itself."""

    def __init__(self, entry: subprocess.Popen[bytes]) -> None:
        self._entry = entry
        self._pid = 0

    @property
    def pid(self) -> int:
        """ProcessLookupError if it has ended."""
        while not self._pid:
            self._pid = _only_child(self._entry.pid)
            if not self._pid and self._entry.poll() is not None:
                raise ProcessLookupError("the program has ended")
        return self._pid

    def poll(self) -> int | None:
        return self._entry.poll()

    def signal(self, number: int) -> None:
        """Nothing if it has ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self, seconds: float | None = None) -> int:
        """subprocess.TimeoutExpired after `seconds`."""
        return self._entry.wait(seconds)


class Sandbox:
    def __init__(self) -> None:
        """RuntimeError if the namespaces cannot be made (it takes root)."""
        self._holder = subprocess.Popen(
            [*_DIE_WITH_US, *_UNSHARE, "sh", "-c", _SETUP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot make a namespace: {self._holder.stderr.read().strip()}")
        self.first = _only_child(self._holder.pid)
        self._links = Path(f"/proc/{self.first}/root/sys/class/net")

    def spawn(self, argv: list[str], log: Path) -> Program:
        """Start a program inside. It dies with this process."""
        with log.open("ab") as output:
            entry = subprocess.Popen(
                [*_DIE_WITH_US, "nsenter", "-t", str(self.first), "-n", "-m", "-p", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Program(entry)

    def entering(self, argv: list[str]) -> list[str]:
        """The command that runs `argv` inside, seen from outside."""
        return [*_DIE_WITH_US, "nsenter", "-t", str(self.first), "-n", "-m", "-p", "--", *argv]

    def shell(self, text: str) -> None:
        """CalledProcessError."""
        subprocess.run(self.entering(["sh", "-ec", text]), check=True)

    def namespace(self, pid: int = 1) -> str:
        """Path of the network namespace of a process, by its pid inside; without one, the engine's own."""
        return f"/proc/{self.first}/root/proc/{pid}/ns/net"

    def ip(self, *lines: str) -> None:
        """Run lines of `ip -batch` in the engine's network namespace; CalledProcessError."""
        command = ["nsenter", f"--net={self.namespace()}", "ip", "-batch", "-"]
        subprocess.run(command, input="\n".join(lines), text=True, check=True)

    def settle(self) -> None:
        """Until the kernel's link lock, which all namespaces share, is free of what was removed before."""
        self.ip("link set lo up")

    def links(self) -> set[str]:
        return set(os.listdir(self._links))

    def wait_gone(self, link: str, timeout: float = 60.0) -> None:
        """Until the kernel has taken `link` apart (its sysfs entry goes after that, not when it is merely unlisted)."""
        deadline = time.monotonic() + timeout
        while os.path.exists(self._links / link):
            if time.monotonic() > deadline:
                raise TimeoutError(f"link {link} is still there after {timeout:.0f} s")
            time.sleep(0.001)

    def drain(self) -> None:
        """Remove all bridges, in groups: destroying a namespace with thousands of them would hold the kernel's link
        lock, which all namespaces share, for minutes at a stretch."""
        bridges = sorted(link for link in self.links() if (self._links / link / "bridge").exists())
        lines = []
        for at in range(0, len(bridges), _GROUP):
            lines += [f"link set dev {name} group 777" for name in bridges[at : at + _GROUP]]
            lines.append("link delete group 777")
        command = ["nsenter", f"--net={self.namespace()}", "ip", "-force", "-batch", "-"]
        subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)

    def close(self) -> None:
        """All processes inside end, then the namespaces."""
        try:
            self.drain()
        finally:
            end = os.pidfd_open(self.first)
            self._holder.kill()
            self._holder.wait()
            select.select([end], [], [], 30.0)
            os.close(end)
            for stream in (self._holder.stdout, self._holder.stderr):
                if stream is not None:
                    stream.close()


def _only_child(pid: int) -> int:
    """0 if there is none (yet)."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return 0
