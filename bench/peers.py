"""The engines under test: how each is started, asked whether it is ready, weighed and stopped.

Data is on a disk, what lasts until reboot on the tmpfs of the engine's own /run, as it is by default for all of them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.client import BadReply, Client, request_bytes
from bench.sandbox import Program, Sandbox

OURS = "towline"
# Room for 65,536 networks, the same for every engine.
_POOL = "base=10.0.0.0/8,size=24"
_LIST = request_bytes("GET", "/networks")
_VERSION = request_bytes("GET", "/version")


class Memory(msgspec.Struct, frozen=True):
    """MiB. pss counts shared pages by their share. total_pss: the daemon and its helpers."""

    rss: float
    pss: float
    total_pss: float


class EngineFailed(Exception):
    """The engine ended before it was ready; the message carries the end of its log."""


class TooSlow(Exception):
    """The engine runs and is not ready in its time."""


@dataclass
class Engine:
    """argv: the daemon. helpers: programs it cannot work without, started before it: argv and the socket that says it
    is ready."""

    name: str
    directory: Path
    argv: list[str]
    helpers: list[tuple[list[str], Path]] = field(default_factory=list)
    version: str = ""
    networks: int = 0

    def __post_init__(self) -> None:
        self.socket = str(self.directory / "docker.sock")
        self.sandbox = Sandbox()
        self._log = self.directory / "log"
        self._daemon: Program | None = None
        self._helpers: list[Program] = []

    def start(self, timeout: float) -> float:
        """Start the daemon, and before it those helpers that do not run; answers the seconds from the first spawn to
        the first successful `GET /networks`. EngineFailed if a program ends, TooSlow if `timeout` seconds pass."""
        begun = time.perf_counter()
        for argv, ready in self.helpers[len(self._helpers) :]:
            self._helpers.append(self.sandbox.spawn(argv, self._log))
            self._wait(self._helpers[-1], ready.is_socket, begun + timeout)
        self._daemon = self.sandbox.spawn(self.argv, self._log)
        self._wait(self._daemon, lambda: self._answers(begun + timeout), begun + timeout)
        return time.perf_counter() - begun

    def stop(self, *, helpers: bool = True) -> None:
        """Ask the daemon, then its helpers to end; kill what has not ended after 60 s."""
        if self._daemon is not None:
            _end(self._daemon, 60.0)
            self._daemon = None
        if helpers:
            for (_, ready), process in zip(self.helpers, self._helpers, strict=False):
                _end(process, 60.0)
                ready.unlink(missing_ok=True)
            self._helpers = []

    def kill(self) -> None:
        """End the daemon at once, in whatever state it is."""
        if self._daemon is not None:
            self._daemon.signal(signal.SIGKILL)
            self._daemon.wait()
            self._daemon = None

    def close(self) -> None:
        """Everything of this engine goes: processes, links, namespace, files."""
        self.kill()
        self.stop()
        self.sandbox.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def memory(self) -> Memory:
        assert self._daemon is not None
        rss, pss = _weigh(self._daemon.pid)
        return Memory(rss=rss, pss=pss, total_pss=pss + sum(_weigh(helper.pid)[1] for helper in self._helpers))

    def _wait(self, process: Program, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            if process.poll() is not None:
                raise EngineFailed(f"{self.name} did not get ready:\n{self._log.read_text(errors='replace')[-2000:]}")
            if time.perf_counter() > deadline:
                raise TooSlow(self.name)
            time.sleep(0.002)

    def _answers(self, deadline: float) -> bool:
        """An engine may listen before it is ready, and answer then."""
        try:
            with Client(self.socket, timeout=max(0.001, deadline - time.perf_counter())) as client:
                if client.send(_LIST).status != 200:
                    return False
                self.version = self.version or msgspec.json.decode(client.send(_VERSION).body).get("Version", "unknown")
                return True
        except (OSError, BadReply):
            return False


def _end(process: Program, seconds: float) -> None:
    process.signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.signal(signal.SIGKILL)
        process.wait()


def _weigh(pid: int) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]


def towlined(directory: Path) -> Engine:
    directory.mkdir(parents=True)
    program = Path(sys.executable).with_name("towlined")
    argv = [
        str(program),
        *("--data-root", str(directory / "data")),
        *("--exec-root", "/run/towline"),
        *("--pidfile", str(directory / "pid")),
        *("--host", f"unix://{directory}/docker.sock"),
        *("--default-address-pool", _POOL),
    ]
    return Engine(OURS, directory, argv)


def dockerd(directory: Path) -> Engine | None:
    """Debian's dockerd, or the one named by TOWLINE_BENCH_DOCKERD (more flags in TOWLINE_BENCH_DOCKERD_ARGS), with
    a containerd of its own; None if one of them is not installed."""
    program, containerd = shutil.which(os.environ.get("TOWLINE_BENCH_DOCKERD", "dockerd")), shutil.which("containerd")
    if program is None or containerd is None:
        return None
    directory.mkdir(parents=True)
    containerd_socket = directory / "containerd.sock"
    argv = [
        program,
        *("--data-root", str(directory / "data")),
        *("--exec-root", "/run/docker"),
        *("--pidfile", str(directory / "pid")),
        *("--host", f"unix://{directory}/docker.sock"),
        *("--default-address-pool", _POOL),
        *("--containerd", str(containerd_socket)),
        *shlex.split(os.environ.get("TOWLINE_BENCH_DOCKERD_ARGS", "")),
    ]
    helper = [
        containerd,
        *("--root", str(directory / "containerd")),
        *("--state", "/run/containerd"),
        *("--address", str(containerd_socket)),
    ]
    return Engine("dockerd", directory, argv, [(helper, containerd_socket)])
