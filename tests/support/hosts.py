"""Hosts as network namespaces on one switch, each with a daemon of its own: what a cluster is tested on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.netns import Namespace, namespace, veth

TOWLINE = str(Path(sys.executable).with_name("towline"))
_PREFIX, _PREFIX6 = "192.0.2", "2001:db8::"


class Host:
    """uplink: `eth0`; the switch's end of its cable is `port<number>`."""

    def __init__(self, number: int, net: Namespace, daemon: Daemon, switch: Namespace) -> None:
        self.number = number
        self.net = net
        self.daemon = daemon
        self.address = f"{_PREFIX}.{number}"
        self.address6 = f"{_PREFIX6}{number:x}"
        self.switch = switch

    def cut(self) -> None:
        """Pull its cable."""
        self.switch.run(["ip", "link", "set", f"port{self.number}", "down"])

    def mend(self) -> None:
        self.switch.run(["ip", "link", "set", f"port{self.number}", "up"])

    def docker(self, *args: str, check: bool = True) -> str:
        return self.daemon.docker(*args, check=check)

    def towline(self, *args: str, check: bool = True) -> str:
        """stdout of our command line against this host's daemon, beside it."""
        return self.net.run([TOWLINE, "-H", f"unix://{self.daemon.socket}", *args], check=check)

    def init(self, *args: str) -> None:
        """`docker swarm init` on this host's own address."""
        self.docker("swarm", "init", "--advertise-addr", self.address, *args)

    def join(self, manager: Host, role: str = "worker") -> None:
        token = manager.docker("swarm", "join-token", "-q", role).strip()
        self.docker("swarm", "join", "--advertise-addr", self.address, "--token", token, f"{manager.address}:2377")


@contextmanager
def hosts(count: int, *args: str, start: bool = True) -> Iterator[list[Host]]:
    """`count` hosts with daemons of the flags `args`, on one switch; host n has 192.0.2.<n>/24 and 2001:db8::<n>/64."""
    with ExitStack() as cleanup:
        switch = cleanup.enter_context(namespace())
        switch.run(["ip", "link", "add", "switch", "type", "bridge", "mcast_snooping", "0"])
        switch.run(["ip", "link", "set", "switch", "up"])
        made = [_host(number, switch, args, cleanup) for number in range(1, count + 1)]
        if start:
            start_all(made)
        yield made


def start_all(made: Sequence[Host]) -> None:
    """All daemons at once."""
    for host in made:
        host.daemon.launch()
    for host in made:
        host.daemon.wait_message("READY=1")


def _host(number: int, switch: Namespace, args: Sequence[str], cleanup: ExitStack) -> Host:
    net = cleanup.enter_context(namespace())
    port = f"port{number}"
    veth(switch, port, net, "eth0", b_address=f"{_PREFIX}.{number}/24")
    switch.run(["ip", "link", "set", port, "master", "switch"])
    net.run(["ip", "address", "add", f"{_PREFIX6}{number:x}/64", "dev", "eth0", "nodad"])
    net.run(["ip", "route", "add", "default", "via", f"{_PREFIX}.254"])
    return Host(number, net, cleanup.enter_context(fresh_daemon(*args, net=net)), switch)
