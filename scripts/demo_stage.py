"""What the demos happen on: a daemon in namespaces of its own, ways to look at both, and claims about them."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_BIN = Path(sys.executable).parent
_NAMESPACE = "mount -t tmpfs t /run && mount -t sysfs s /sys && ip link set lo up && echo ready; sleep infinity & wait"
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_UNSHARE = ("unshare", "-n", "-m", "-p", "-u", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
WELCOME = "Welcome to the shop"
_PROGRAMS = {
    "get": """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=float((sys.argv[2:] or ["3"])[0])).read().decode().strip())
except OSError as error:
    print("no answer:", getattr(error, "reason", error))
""",
    "customer": """
import http.client, signal, sys, time
connection, asked, longest, last, alive = http.client.HTTPConnection(sys.argv[1], 8080, 10), 0, 0.0, 0.0, True
def leave(*_):
    global alive
    alive = False
signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
connection.connect()
connection.auto_open = False
print("connected", flush=True)
while alive:
    connection.request("GET", "/")
    connection.getresponse().read()
    now = time.monotonic()
    asked, longest, last = asked + 1, max(longest, now - last if last else 0.0), now
    time.sleep(0.02)
print(f"{asked} requests on one connection, at most {longest * 1000:.0f} ms apart")
""",
}
BOLD, GREEN, RED, DIM, PLAIN = (f"\033[{code}m" if sys.stdout.isatty() else "" for code in (1, 32, 31, 2, 0))
_READING_SECONDS = 1.5 if sys.stdout.isatty() else 0.0


class ClaimFailedError(Exception):
    """Something the demo was about to say is not true."""


class Snapshot(NamedTuple):
    """What the kernel holds. links: name -> interface index. addresses: (link, CIDR). rules: words of the ruleset."""

    links: dict[str, int]
    addresses: frozenset[tuple[str, str]]
    rules: tuple[str, ...]


def chapter(text: str) -> None:
    time.sleep(_READING_SECONDS)
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def claim(text: str, true: bool) -> None:
    if not true:
        raise ClaimFailedError(text)
    print(f"  {GREEN}ok{PLAIN} {text}", flush=True)


def claim_soon(text: str, test: Callable[[], bool], seconds: float = 10.0) -> None:
    """Claim what becomes true within `seconds`, and say after how long it did."""
    started = time.monotonic()
    while not (true := test()) and time.monotonic() - started < seconds:
        time.sleep(0.02)
    claim(f"{text} ({(time.monotonic() - started) * 1000:.0f} ms)", true)


def show(command: str, output: str, host: str = "") -> None:
    print(f"  {DIM}{host}$ {command}{PLAIN}")
    print("".join(f"    {line}\n" for line in output.rstrip().splitlines()), end="", flush=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("demo", timeout=20)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Stage:
    """One namespace, one daemon in it, and what it takes to look at both. name: the host's, where there are several."""

    def __init__(self, directory: Path, name: str = "") -> None:
        self._directory = directory
        self.name = name
        self._socket = directory / "docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._programs: list[subprocess.Popen[str]] = []
        (directory / "www").mkdir()
        (directory / "www" / "index.html").write_text(WELCOME + "\n")
        for program, text in _PROGRAMS.items():
            (directory / program).write_text(f"#!{sys.executable}\n{text}")
            (directory / program).chmod(0o755)
        setup = f"hostname {name or 'demo'} && {_NAMESPACE}"
        self._holder = subprocess.Popen([*_DIE_WITH_US, *_UNSHARE, "sh", "-c", setup], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        whose = f"{name}: " if name else ""
        claim(f"{whose}a network namespace of its own, empty", self._holder.stdout.readline() == b"ready\n")
        self.first = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().strip()

    def start_daemon(self) -> None:
        at = self._directory
        argv = [str(_BIN / "towlined"), "--data-root", f"{at}/data", "--exec-root", f"{at}/exec"]
        argv += ["--pidfile", f"{at}/pid", "--host", f"unix://{self._socket}"]
        with (at / "log").open("ab") as log:
            self._daemon = subprocess.Popen([*_DIE_WITH_US, *self._inside(argv)], stdout=log, stderr=log)
        claim_soon(f"{self.name + ': ' if self.name else ''}the daemon answers", self._answers, 20.0)

    def end_daemon(self, number: int) -> int:
        """Send it a signal; answers its exit status."""
        assert self._daemon is not None
        self.inside(f"kill -{number} {(self._directory / 'pid').read_text().strip()}", quiet=True)
        return self._daemon.wait(30)

    def client(self, *words: str) -> str:
        """Run the docker CLI, or ours where docker is not installed, and show it."""
        program = shutil.which("docker") or str(_BIN / "towline")
        output = _run([program, "-H", f"unix://{self._socket}", *words])
        show(f"{Path(program).name} {' '.join(words)}", output, self.name)
        return output

    def towline(self, *words: str) -> str:
        output = _run(self._inside([str(_BIN / "towline"), "-H", f"unix://{self._socket}", *words]))
        show(
            f"towline {' '.join(words)}".replace(f"{self._directory}/", "").replace(sys.executable, "python3"),
            output,
            self.name,
        )
        return output

    def get(self, url: str, *, where: Sequence[str] = ()) -> str:
        """What a web page says, or why there is none. where: words that begin the command, such as `ip netns exec`."""
        output = _run(self._inside([*where, self.program("get"), url]))
        show(" ".join([*where, "get", url]), output, self.name)
        return output.strip()

    def exec_get(self, sandbox: str, url: str, *patience: str) -> str:
        """The same from inside a sandbox. patience: seconds."""
        return self.towline("exec", sandbox, "--", self.program("get"), url, *patience).strip()

    def run(self, name: str, network: str, *words: str) -> None:
        """A detached sandbox; words: more flags, and the command."""
        self.towline("run", "-d", "--name", name, "--network", network, *words)

    def shop(self, port: int = 80) -> list[str]:
        """A web server's command."""
        argv = [sys.executable, "-m", "http.server", "--protocol", "HTTP/1.1", "-d", f"{self._directory}/www"]
        return [*argv, str(port)]

    def logs(self, name: str) -> str:
        """What a detached sandbox has written."""
        return _run(self._inside([str(_BIN / "towline"), "-H", f"unix://{self._socket}", "logs", name]))

    def processes(self) -> list[str]:
        """Commands that run in the namespace, without the first one, which holds it."""
        found = [line.strip() for line in self.inside("ps -e -o pid=,args=", quiet=True).splitlines()]
        return [
            line for line in found if not line.startswith("1 ") and "sleep infinity" not in line and "ps -e" not in line
        ]

    def program(self, name: str) -> str:
        return str(self._directory / name)

    def sandbox(self, name: str) -> dict[str, Any]:
        return dict(self._get(f"/towline/v1/sandboxes/{name}"))

    @property
    def pinned(self) -> list[str]:
        """Namespaces of sandboxes that are held."""
        return sorted(path.name for path in (self._directory / "exec" / "netns").iterdir())

    def inside(self, command: str, *, quiet: bool = False) -> str:
        """Run a program in the namespace, beside the daemon."""
        output = _run(self._inside(command.split()))
        if not quiet:
            show(command, output, self.name)
        return output

    def apart(self, command: str, *, quiet: bool = False) -> str:
        """Run a program in the host's namespace for overlay networks; "" while there is none."""
        pin = self._directory / "exec" / "netns" / "overlay"
        output = _run(self._inside(["nsenter", f"--net={pin}", *command.split()])) if pin.exists() else ""
        if not quiet:
            show(f"nsenter --net=exec/netns/overlay {command}", output, self.name)
        return output

    @property
    def tunnels(self) -> list[str]:
        links = json.loads(self.apart("ip -j link show", quiet=True) or "[]")
        return [link["ifname"] for link in links if link["ifname"].startswith("vx-")]

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a program beside the daemon; `close` ends it if it still runs then."""
        program = subprocess.Popen(
            [*_DIE_WITH_US, *self._inside(command.split())], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._programs.append(program)
        return program

    def networks(self) -> dict[str, str]:
        """Name -> id, asked over the API."""
        return {network["Name"]: network["Id"] for network in self._get("/networks")}

    def ask(self, target: str) -> Any:
        """What the API says."""
        return self._get(target)

    def refused(self, *words: str) -> str:
        """What the docker CLI says when it is told no."""
        program = shutil.which("docker") or str(_BIN / "towline")
        done = subprocess.run(
            [program, "-H", f"unix://{self._socket}", *words], capture_output=True, text=True, check=False, timeout=60
        )
        claim("it is refused", done.returncode != 0)
        show(f"{Path(program).name} {' '.join(words)}", done.stderr, self.name)
        return done.stderr

    def gateway(self, name: str) -> str:
        """The gateway of a network as CIDR, from what the API says."""
        pool = self._get(f"/networks/{name}")["IPAM"]["Config"][0]
        return f"{pool['Gateway'].split('/')[0]}/{pool['Subnet'].split('/')[1]}"

    def snapshot(self) -> Snapshot:
        links = json.loads(self.inside("ip -j address show", quiet=True))
        addresses = {
            (link["ifname"], f"{address['local']}/{address['prefixlen']}")
            for link in links
            for address in link["addr_info"]
            if address["scope"] != "link"
        }
        ruleset = re.sub(r"packets \d+ bytes \d+", "", self.inside("nft list ruleset", quiet=True))
        rules = tuple(sorted(re.split(r"[\s,]+", ruleset)))
        return Snapshot({link["ifname"]: link["ifindex"] for link in links}, frozenset(addresses), rules)

    def close(self) -> None:
        """The first process of the namespace goes, and all others with it."""
        for process in (self._holder, *self._programs, self._daemon):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def _inside(self, argv: list[str]) -> list[str]:
        return ["nsenter", "-t", self.first, "-n", "-m", "-p", "-u", "--", *argv]

    def _answers(self) -> bool:
        assert self._daemon is not None
        if self._daemon.poll() is not None:
            raise ClaimFailedError(f"the daemon runs (it ended with status {self._daemon.returncode})")
        with contextlib.suppress(OSError):
            return bool(self._get("/networks"))
        return False

    def _get(self, target: str) -> Any:
        connection = _UnixConnection(self._socket)
        try:
            connection.request("GET", target)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def _run(argv: list[str]) -> str:
    """Its standard output. Its remarks matter only if it fails: `ip` makes one when links change under its dump."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise ClaimFailedError(f"`{' '.join(argv)}` succeeds (it said: {said})")
    return done.stdout
