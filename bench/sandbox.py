"""A network and mount namespace for one engine, held open by a process, so that the engine can be restarted in it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

# A fresh sysfs shows this namespace's links (some engines wait for them there); cgroups are bound back into it.
# /run is private: lock and pid files of programs on this machine stay apart from the engine's.
_SETUP = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroup && mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
ip link set lo up
echo ready
exec sleep infinity
"""
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_GROUP = 64  # links removed by one message: the kernel's link lock is held for about 1.2 s


class Sandbox:
    def __init__(self) -> None:
        """RuntimeError if the namespaces cannot be made (it takes root)."""
        self._holder = subprocess.Popen(
            [*_DIE_WITH_US, "unshare", "-n", "-m", "--propagation", "private", "sh", "-c", _SETUP],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot make a namespace: {self._holder.stderr.read().strip()}")
        self._links = Path(f"/proc/{self._holder.pid}/root/sys/class/net")

    def spawn(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program inside; its pid is the program's own. It dies with this process."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*_DIE_WITH_US, "nsenter", "-t", str(self._holder.pid), "-n", "-m", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

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
        command = ["nsenter", "-t", str(self._holder.pid), "-n", "ip", "-force", "-batch", "-"]
        subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)

    def close(self) -> None:
        try:
            self.drain()
        finally:
            self._holder.kill()
            self._holder.wait()
            for stream in (self._holder.stdout, self._holder.stderr):
                if stream is not None:
                    stream.close()
