"""`make demo`: Towline on real kernel objects in half a minute, told step by step. Takes root.

Everything happens in a network namespace made for the occasion. Each claim is checked before it is printed; the exit
status is 1 if one is false. What was made is taken away again whatever happens.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_BIN = Path(sys.executable).parent
_NAMESPACE = "mount -t tmpfs t /run && mount -t sysfs s /sys && ip link set lo up && echo ready && exec sleep infinity"
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_BOLD, _GREEN, _RED, _DIM, _PLAIN = (f"\033[{code}m" if sys.stdout.isatty() else "" for code in (1, 32, 31, 2, 0))
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
    print(f"\n{_BOLD}{text}{_PLAIN}", flush=True)


def claim(text: str, true: bool) -> None:
    if not true:
        raise ClaimFailedError(text)
    print(f"  {_GREEN}ok{_PLAIN} {text}", flush=True)


def claim_soon(text: str, test: Callable[[], bool], seconds: float = 10.0) -> None:
    """Claim what becomes true within `seconds`, and say after how long it did."""
    started = time.monotonic()
    while not test() and time.monotonic() - started < seconds:
        time.sleep(0.02)
    claim(f"{text} ({(time.monotonic() - started) * 1000:.0f} ms)", test())


def show(command: str, output: str) -> None:
    print(f"  {_DIM}$ {command}{_PLAIN}")
    print("".join(f"    {line}\n" for line in output.rstrip().splitlines()), end="", flush=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("demo", timeout=20)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Stage:
    """One namespace, one daemon in it, and what it takes to look at both."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._programs: list[subprocess.Popen[str]] = []
        self._holder = subprocess.Popen(
            [*_DIE_WITH_US, "unshare", "-n", "-m", "--propagation", "private", "sh", "-c", _NAMESPACE],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        claim("a network namespace of its own, empty", self._holder.stdout.readline() == b"ready\n")

    def start_daemon(self) -> None:
        at = self._directory
        argv = [str(_BIN / "towlined"), "--data-root", f"{at}/data", "--exec-root", f"{at}/exec"]
        argv += ["--pidfile", f"{at}/pid", "--host", f"unix://{self._socket}"]
        with (at / "log").open("ab") as log:
            self._daemon = subprocess.Popen([*_DIE_WITH_US, *self._inside(argv)], stdout=log, stderr=log)
        claim_soon("the daemon answers", self._answers, 20.0)

    def end_daemon(self, number: int) -> int:
        """Send it a signal; answers its exit status."""
        assert self._daemon is not None
        self._daemon.send_signal(number)
        return self._daemon.wait(30)

    def client(self, *words: str) -> str:
        """Run the docker CLI, or ours where docker is not installed, and show it."""
        program = shutil.which("docker") or str(_BIN / "towline")
        output = _run([program, "-H", f"unix://{self._socket}", *words])
        show(f"{Path(program).name} {' '.join(words)}", output)
        return output

    def towline(self, *words: str) -> str:
        output = _run([str(_BIN / "towline"), "-H", f"unix://{self._socket}", *words])
        show(f"towline {' '.join(words)}", output)
        return output

    def inside(self, command: str, *, quiet: bool = False) -> str:
        """Run a program in the namespace, beside the daemon."""
        output = _run(self._inside(command.split()))
        if not quiet:
            show(command, output)
        return output

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
        for process in (*self._programs, self._daemon, self._holder):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def _inside(self, argv: list[str]) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "--", *argv]

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


def same_but_index(one: Snapshot, other: Snapshot) -> bool:
    """The same links, addresses and rules, though some links may have been made anew."""
    return (one.links.keys(), one.addresses, one.rules) == (other.links.keys(), other.addresses, other.rules)


def create(stage: Stage) -> None:
    chapter("2. Two networks, made by the client that you know")
    stage.client("network", "create", "web")
    stage.client("network", "create", "--internal", "--subnet", "10.88.0.0/24", "--label", "tier=data", "db")
    stage.client("network", "ls")
    ids, kernel = stage.networks(), stage.snapshot()
    for name in ("web", "db"):
        claim(f"the network {name} exists", name in ids)
        bridge = f"br-{ids[name][:12]}"
        stage.inside(f"ip -brief address show dev {bridge}")
        claim(f"{name} is the bridge {bridge} in the kernel", bridge in kernel.links)
        claim(f"it holds the gateway {stage.gateway(name)}", (bridge, stage.gateway(name)) in kernel.addresses)
        claim("the firewall knows it", any(bridge in word for word in kernel.rules))
    for part in ("set inet towline bridges", "set inet towline internal4", "chain inet towline forward"):
        stage.inside(f"nft list {part}")


def crash(stage: Stage) -> None:
    chapter("3. kill -9: networks do not need the daemon to stay, and it does not forget them")
    bridge, gateway, without_box = f"br-{stage.networks()['web'][:12]}", stage.gateway("web"), stage.snapshot()
    stage.inside("ip netns add box")
    stage.inside("ip link add veth-box type veth peer name eth0 netns box")
    stage.inside(f"ip link set veth-box master {bridge} up")
    stage.inside(f"ip -n box address add {gateway.rpartition('.')[0]}.77/16 dev eth0")
    stage.inside("ip -n box link set eth0 up")
    before, ids = stage.snapshot(), stage.networks()
    ping = stage.start(f"ip netns exec box ping -q -i 0.02 {gateway.split('/')[0]}")
    claim("the daemon is dead", stage.end_daemon(signal.SIGKILL) == -signal.SIGKILL)
    claim("every link, address and rule stays while nobody runs", stage.snapshot() == before)
    stage.start_daemon()
    claim("it knows the same networks by the same ids", stage.networks() == ids)
    claim("and found nothing to change: the links are the same objects", stage.snapshot() == before)
    ping.send_signal(signal.SIGINT)
    statistics = ping.communicate(timeout=10)[0]
    show("ping, 50 times a second, all the while", statistics.partition("statistics ---\n")[2])
    claim("no packet was lost", " 0% packet loss" in statistics)
    stage.inside("ip netns delete box")
    claim_soon("the box is gone again", lambda: stage.snapshot() == without_box)


def damage(stage: Stage) -> None:
    chapter("4. Somebody breaks things by hand")
    before, bridge = stage.snapshot(), f"br-{stage.networks()['web'][:12]}"
    stage.inside(f"ip link delete {bridge}")
    claim_soon("the bridge is back, with its address", lambda: same_but_index(stage.snapshot(), before))
    stage.inside(f"ip address delete {stage.gateway('web')} dev {bridge}")
    claim_soon("the address is back", lambda: same_but_index(stage.snapshot(), before))
    stage.inside("nft flush ruleset")
    claim_soon("all rules are back", lambda: same_but_index(stage.snapshot(), before))
    claim("the daemon is dead once more", stage.end_daemon(signal.SIGKILL) == -signal.SIGKILL)
    stage.inside(f"ip link delete {bridge}")
    stage.inside("nft flush ruleset")
    stage.start_daemon()
    claim_soon("what broke while nobody looked is repaired", lambda: same_but_index(stage.snapshot(), before))
    stage.towline("doctor")


def remove(stage: Stage, empty: Snapshot) -> None:
    chapter("5. Remove everything")
    stage.client("network", "rm", "web", "db")
    claim("the predefined networks are left", set(stage.networks()) == {"bridge", "host", "none"})
    claim_soon("the kernel is as it was before: no link, address or rule more", lambda: stage.snapshot() == empty)
    claim("the daemon stops cleanly", stage.end_daemon(signal.SIGTERM) == 0)


def tell(stage: Stage) -> None:
    stage.start_daemon()
    empty = stage.snapshot()
    claim("Docker's predefined networks are there", set(stage.networks()) == {"bridge", "host", "none"})
    create(stage)
    crash(stage)
    damage(stage)
    remove(stage, empty)


def main() -> int:
    if os.geteuid() != 0:
        print("demo: network namespaces take root: sudo make demo", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="towline-demo-") as directory, contextlib.ExitStack() as stack:
        try:
            chapter("1. A daemon in a network namespace of its own")
            stage = Stage(Path(directory))
            stack.callback(stage.close)
            tell(stage)
        except ClaimFailedError as failure:
            print(f"  {_RED}NOT TRUE:{_PLAIN} {failure}", flush=True)
            log = Path(directory, "log")
            if log.exists():
                print(f"\nThe daemon's log ends with:\n{log.read_text(errors='replace')[-3000:]}", flush=True)
            return 1
    print(f"\n{_BOLD}Namespace, daemon and files of this demo are gone; your own network was not touched.{_PLAIN}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
