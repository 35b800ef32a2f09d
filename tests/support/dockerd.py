"""Docker's own daemon as a peer: dockerd and containerd with their own roots, network and mount namespaces.

TOWLINE_BENCH_DOCKERD names another dockerd than Debian's, TOWLINE_BENCH_DOCKERD_ARGS more flags for it (a newer one on
Debian's runc needs `--feature time-namespaces=false`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.daemon import Answer, UnixConnection
from tests.support.needs import need_tool
from tests.support.netns import Namespace, namespace
from tests.support.notify import NotifySocket

PATIENCE = 60.0
# dockerd looks for its bridges in /sys, so that must show the new network namespace; the control groups stay.
IN_MOUNT_NAMESPACE = """
mkdir -p "$0/cgroup" && mount --rbind /sys/fs/cgroup "$0/cgroup" && mount -t sysfs sysfs /sys &&
mount --rbind "$0/cgroup" /sys/fs/cgroup && exec "$@"
"""


def dockerd_binary() -> str:
    """The peer's dockerd: the one named by TOWLINE_BENCH_DOCKERD, else Debian's."""
    return os.environ.get("TOWLINE_BENCH_DOCKERD") or need_tool("dockerd")


class Dockerd:
    """Make it with `running_dockerd()`. ready_seconds: from spawning containerd until dockerd is ready."""

    def __init__(self, net: Namespace, root: Path, args: Sequence[str] = ()) -> None:
        self.namespace = net
        self.root = root
        self.socket = str(root / "docker.sock")
        self.ready_seconds = 0.0
        self._args = list(args)
        self._notify = NotifySocket(root / "notify")
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> Dockerd:
        began = time.monotonic()
        for command in (self._containerd(), self._dockerd()):
            self._spawn(command)
        self.ready_seconds = time.monotonic() - began
        return self

    @property
    def pids(self) -> list[int]:
        """containerd, dockerd."""
        return [process.pid for process in self._processes]

    @property
    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.root.glob("*.log")))

    def http(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One request on a connection of its own; `body` is JSON."""
        connection = UnixConnection(self.socket, PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def stop(self) -> None:
        """dockerd first, as it still needs containerd to stop what runs."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def close(self) -> None:
        self.stop()
        self._notify.close()

    def _spawn(self, command: list[str]) -> None:
        name = Path(command[0]).name
        wrapped = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_MOUNT_NAMESPACE, str(self.root)]
        self._notify.drain()
        with (self.root / f"{name}.log").open("ab") as log:
            process = self.namespace.popen(
                [*wrapped, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(self._notify.path)},
            )
        self._processes.append(process)
        if self._notify.wait("READY=1", process, PATIENCE) is None:
            raise AssertionError(f"{name} did not become ready:\n{self.log[-5000:]}")

    def _containerd(self) -> list[str]:
        return [
            "containerd",
            *("--root", f"{self.root}/containerd"),
            *("--state", f"{self.root}/containerd-run"),
            *("--address", f"{self.root}/containerd.sock"),
        ]

    def _dockerd(self) -> list[str]:
        config = self.root / "daemon.json"
        config.write_text("{}")
        return [
            dockerd_binary(),
            *("--data-root", f"{self.root}/data"),
            *("--exec-root", f"{self.root}/exec"),
            *("--pidfile", f"{self.root}/docker.pid"),
            *("--config-file", str(config)),
            *("--containerd", f"{self.root}/containerd.sock"),
            *("--host", f"unix://{self.socket}"),
            *shlex.split(os.environ.get("TOWLINE_BENCH_DOCKERD_ARGS", "")),
            *self._args,
        ]


@contextmanager
def running_dockerd(*args: str, net: Namespace | None = None) -> Iterator[Dockerd]:
    """A dockerd that is ready, with more flags `args`, in `net` or a namespace of its own.

    It is stopped in the end, and all it wrote is removed.
    """
    for name in (dockerd_binary(), "containerd"):
        need_tool(name)
    with ExitStack() as cleanup:
        where = net or cleanup.enter_context(namespace())
        root = Path(tempfile.mkdtemp(prefix="towline-dockerd-"))
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        peer = Dockerd(where, root, args)
        cleanup.callback(peer.close)
        yield peer.start()
