"""A real `towlined` for tests: its own network namespace, its own roots, awaited by its readiness message."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import need_tool
from tests.support.netns import Namespace, namespace
from tests.support.notify import NotifySocket
from tests.support.remains import clear_away

REPOSITORY = Path(__file__).resolve().parents[2]
TOWLINED = (str(Path(sys.executable).with_name("towlined")),)
MEMORY_LIMIT = ("prlimit", f"--data={2 << 30}", "--")  # a daemon that runs wild does not take the machine along
PATIENCE = 30.0  # seconds until a test gives up on a daemon; never waited for when all is well


class DaemonFailed(AssertionError):
    """The daemon ended, or did not do as told. status: exit status, or None if it lives."""

    def __init__(self, what: str, status: int | None, log: str) -> None:
        super().__init__(f"{what} (exit status {status})\n{log}")
        self.status = status
        self.log = log


class Answer:
    """An HTTP answer. headers: names in lower case."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:500]!r}>"


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: str, timeout: float = PATIENCE) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """Make it with `fresh_daemon()`, which also cleans up. Roots and namespace outlive kill and restart.

    entry: command that takes towlined's flags. args: more flags. environment: added to the process's.
    """

    def __init__(
        self,
        net: Namespace,
        root: Path,
        *,
        args: Sequence[str] = (),
        entry: Sequence[str] = TOWLINED,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.namespace = net
        self.root = root
        self.data_root = root / "data"
        self.exec_root = root / "run"
        self.config_file = root / "daemon.json"
        self.socket = str(self.exec_root / "docker.sock")
        self.args = list(args)
        self.entry = list(entry)
        self.environment = dict(environment or {})
        self.ready_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = root / "log"
        self._log.touch()
        self.config_file.write_text("{}")
        self._notify = NotifySocket(root / "notify")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise DaemonFailed("not started", None, self.log)
        return self._process

    @property
    def log(self) -> str:
        """Everything it wrote since it was first started."""
        return self._log.read_text(errors="replace")

    @property
    def command(self) -> list[str]:
        roots = ["--data-root", str(self.data_root), "--exec-root", str(self.exec_root)]
        return [*self.entry, *roots, "--config-file", str(self.config_file), *self.args]

    def launch(self) -> None:
        """Start the process without waiting for readiness."""
        self._notify.drain()
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._notify.path), **self.environment}
        with self._log.open("ab") as log:
            self._process = self.namespace.popen(
                [*MEMORY_LIMIT, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=REPOSITORY,
            )

    def start(self) -> Daemon:
        """Start and wait until ready; DaemonFailed with its log if it ends instead."""
        began = time.monotonic()
        self.launch()
        self.wait_message("READY=1")
        self.ready_seconds = time.monotonic() - began
        return self

    def wait_message(self, line: str) -> str:
        """Wait for a message to systemd that has this line; answer the message."""
        message = self._notify.wait(line, self.process, PATIENCE)
        if message is None:
            raise DaemonFailed(f"ended or hung before {line}", self.process.poll(), self.log)
        return message

    def reload(self) -> None:
        """SIGHUP, and wait until the daemon has dealt with it."""
        self._notify.drain()
        self.process.send_signal(signal.SIGHUP)
        self.wait_message("RELOADING=1")
        self.wait_message("READY=1")

    def wait(self) -> int:
        """Exit status once it has ended; negative signal number if killed."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise DaemonFailed(f"did not end within {PATIENCE} s", None, self.log) from None

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM; exit status."""
        self.process.terminate()
        return self.wait()

    def restart(self) -> Daemon:
        """Stop if it still runs (it must end cleanly), and start again."""
        if self.process.poll() is None and (status := self.stop()):
            raise DaemonFailed("did not stop cleanly", status, self.log)
        return self.start()

    def http(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own. body: bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json"} if data is not None else {}
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, data, {**all_headers, **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def docker(self, *args: str, check: bool = True) -> str:
        """stdout of the docker CLI against this daemon. With check=False, stdout and stderr together."""
        cli = need_tool("docker")
        environment = {**os.environ, "DOCKER_CONFIG": str(self.root / "docker-config")}
        command = [cli, "-H", f"unix://{self.socket}", *args]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if not check:
            return done.stdout + done.stderr
        if done.returncode:
            raise AssertionError(f"docker {' '.join(args)}: exit {done.returncode}: {done.stderr}\n{self.log}")
        return done.stdout

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the daemon's network namespace; its stdout."""
        return self.namespace.run(command, check=check)

    @property
    def overlay_namespace(self) -> Path:
        """Where it is pinned, while an overlay network is on this host."""
        return self.exec_root / "netns" / "overlay"

    def run_apart(self, *command: str, check: bool = True) -> str:
        """Run a command in the namespace for overlay networks; its stdout, "" if there is none."""
        if not self.overlay_namespace.exists():
            return ""
        return self.run("nsenter", f"--net={self.mounted(self.overlay_namespace)}", *command, check=check)

    def mounted(self, path: str | Path) -> str:
        """A path as the daemon sees it, which may have a mount namespace of its own (`tests.support.disk`)."""
        lives = self._process is not None and self._process.poll() is None
        return f"/proc/{self.pid}/root{path}" if lives else str(path)

    def rss_kib(self) -> int:
        """Resident memory now, in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def close(self) -> None:
        """End it without mercy, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._notify.close()


@contextmanager
def fresh_daemon(
    *args: str,
    entry: Sequence[str] = TOWLINED,
    net: Namespace | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """A daemon that is not started yet, with more flags `args`; in `net`, or a namespace of its own.

    Its log is printed at the end, so that pytest shows it with a failure.
    """
    with ExitStack() as cleanup:
        where = net or cleanup.enter_context(namespace())
        root = Path(tempfile.mkdtemp(prefix="towline-"))  # short: the socket's path has at most 107 bytes
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        daemon = Daemon(where, root, args=args, entry=entry, environment=environment)
        cleanup.callback(clear_away, daemon.exec_root)
        cleanup.callback(daemon.close)
        try:
            yield daemon
        finally:
            sys.stdout.write(f"--- log of {' '.join(daemon.command)}\n{daemon.log}")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A running daemon with default settings."""
    with fresh_daemon() as made:
        yield made.start()


@pytest.fixture
def make_daemon() -> Iterator[Callable[..., Daemon]]:
    """Call it with the arguments of `fresh_daemon`, as often as hosts are needed."""
    with ExitStack() as cleanup:
        yield lambda *args, **kwargs: cleanup.enter_context(fresh_daemon(*args, **kwargs))
