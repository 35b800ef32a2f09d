"""Sandboxes of a real daemon as hosts that a test can send packets from, and hosts outside on cables of their own."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from tests.support.daemon import Answer, Daemon, fresh_daemon
from tests.support.firewall_lab import PATIENCE, SILENCE, Peer
from tests.support.netns import Namespace, namespace, veth

SANDBOXES = "/towline/v1/sandboxes"
SLEEP = ("sleep", "600")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Inside(Namespace):
    """A namespace that somebody else made, by its path. It lives on while this is open."""

    def __init__(self, path: str) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="inside")
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.call(self._enter)

    def _enter(self) -> None:
        if _libc.setns(self.fd, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


class Box(Peer):
    """A running sandbox: a peer on its first network, with what the daemon says about it."""

    def __init__(self, daemon: Daemon, name: str, ns: Namespace) -> None:
        self.daemon = daemon
        self.name = name
        shown = self.shown
        self.id = str(shown["id"])
        first = shown["endpoints"][0] if shown["endpoints"] else {"ipv4": "", "ipv6": ""}
        super().__init__(ns, _bare(first["ipv4"]), _bare(first["ipv6"]))
        self.hang_up()

    @property
    def shown(self) -> dict[str, Any]:
        return inspect(self.daemon, self.name)

    def endpoint(self, network: str) -> dict[str, Any]:
        found = [e for e in self.shown["endpoints"] if e["network_name"] == network]
        assert len(found) == 1, f"{self.name} is on {network} {len(found)} times"
        return dict(found[0])

    def address_on(self, network: str, family: int = 4) -> str:
        return _bare(self.endpoint(network)[f"ipv{family}"])

    def published(self, port: int, protocol: str = "tcp") -> set[tuple[str, int]]:
        """(host address, host port) for a port of the sandbox."""
        found = (p for e in self.shown["endpoints"] for p in e["published"])
        return {(p["host_ip"], p["host_port"]) for p in found if (p["port"], p["protocol"]) == (port, protocol)}

    def ip(self, *words: str) -> str:
        return self.ns.run(["ip", *words])

    def default(self, family: int = 4) -> str:
        """The default route: "GATEWAY INTERFACE", or ""."""
        words = self.ip(f"-{family}", "route", "show", "default").split()
        return f"{words[words.index('via') + 1]} {words[words.index('dev') + 1]}" if "via" in words else ""

    def ask(self, name: str, kind: str = "A", patience: float = PATIENCE) -> list[str]:
        """What its name server says; sorted."""
        return self.ns.call(ask_at, name, kind, patience)

    def close(self) -> None:
        for sock in self.listeners.values():
            sock.close()
        self.ns.close()


def ask_at(name: str, kind: str = "A", patience: float = PATIENCE, server: str = "127.0.0.11") -> list[str]:
    reply = dns.query.udp(dns.message.make_query(name, kind), server, patience)
    return sorted(str(item) for rrset in reply.answer for item in rrset)


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    answer = daemon.http("GET", f"{SANDBOXES}/{name}")
    assert answer.status == 200, answer
    return dict(answer.json)


def create(daemon: Daemon, name: str, *networks: str | dict[str, Any], **fields: Any) -> Answer:
    """fields: of docs/api.md. networks: names, or what is asked of the endpoint with its "network"."""
    asked = [{"network": n} if isinstance(n, str) else n for n in networks]
    body = {"name": name, "networks": asked, **({"command": list(SLEEP)} if "attach" not in fields else {}), **fields}
    return daemon.http("POST", SANDBOXES, body)


def start(daemon: Daemon, name: str) -> None:
    answer = daemon.http("POST", f"{SANDBOXES}/{name}/start", {})
    assert answer.status == 200, answer


def run(daemon: Daemon, name: str, *networks: str | dict[str, Any], **fields: Any) -> None:
    answer = create(daemon, name, *networks, **fields)
    assert answer.status == 201, answer
    start(daemon, name)


def remove(daemon: Daemon, name: str) -> None:
    answer = daemon.http("DELETE", f"{SANDBOXES}/{name}?force=1")
    assert answer.status == 204, answer


def stop(daemon: Daemon, name: str) -> None:
    answer = daemon.http("POST", f"{SANDBOXES}/{name}/stop?t=0")
    assert answer.status == 204, answer


def connect(daemon: Daemon, network: str, name: str, **settings: Any) -> None:
    """settings: Docker's EndpointConfig."""
    answer = daemon.http("POST", f"/networks/{network}/connect", {"Container": name, "EndpointConfig": settings})
    assert answer.status == 200, answer


def disconnect(daemon: Daemon, network: str, name: str) -> None:
    answer = daemon.http("POST", f"/networks/{network}/disconnect", {"Container": name})
    assert answer.status == 200, answer


def make_network(daemon: Daemon, name: str, **fields: Any) -> None:
    answer = daemon.http("POST", "/networks/create", {"Name": name, **fields})
    assert answer.status == 201, answer


def pools(*subnets: str) -> dict[str, Any]:
    """Fields of a network with these subnets; with IPv6 if one of them is."""
    return {"EnableIPv6": any(":" in s for s in subnets), "IPAM": {"Config": [{"Subnet": s} for s in subnets]}}


def enter(daemon: Daemon, name: str) -> Box:
    """The caller closes it."""
    return Box(daemon, name, Inside(daemon.mounted(inspect(daemon, name)["netns"])))


@contextmanager
def running(daemon: Daemon, name: str, *networks: str | dict[str, Any], **fields: Any) -> Iterator[Box]:
    """A sandbox that is removed at the end, if it is still there."""
    with ExitStack() as stack:
        run(daemon, name, *networks, **fields)
        stack.callback(lambda: daemon.http("DELETE", f"{SANDBOXES}/{name}?force=1"))
        box = enter(daemon, name)
        stack.callback(box.close)
        yield box


@contextmanager
def neighbour(router: Namespace, link: str, net4: str, net6: str) -> Iterator[Peer]:
    """A host on a cable to the router, which it sends everything to. net4, net6: as 198.51.100 and 2001:db8:1."""
    with namespace() as ns:
        veth(router, link, ns, "eth0", a_address=f"{net4}.1/24", b_address=f"{net4}.2/24")
        for where, name, address in ((router, link, f"{net6}::1/64"), (ns, "eth0", f"{net6}::2/64")):
            where.run(["ip", "address", "add", address, "dev", name, "nodad"])
        ns.run(["ip", "route", "add", "default", "via", f"{net4}.1"])
        ns.run(["ip", "-6", "route", "add", "default", "via", f"{net6}::1"])
        peer = Peer(ns, f"{net4}.2", f"{net6}::2")
        peer.hang_up()
        try:
            yield peer
        finally:
            for sock in peer.listeners.values():
                sock.close()


class Echo:
    """UDP on a port of a host: says "TAG CALLER" to whoever sends something. Answers while `serve` is asked to."""

    def __init__(self, peer: Peer, port: int, tag: str, family: int = 4) -> None:
        self._tag = tag
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        self._socket = peer.ns.call(socket.socket, kind, socket.SOCK_DGRAM)
        self._socket.bind(("::" if family == 6 else "0.0.0.0", port))
        self._socket.settimeout(PATIENCE)

    def serve(self, patience: float = PATIENCE) -> bool:
        """One datagram; False if none comes."""
        self._socket.settimeout(patience)
        try:
            _, caller = self._socket.recvfrom(64)
        except TimeoutError:
            return False
        self._socket.sendto(f"{self._tag} {caller[0]}".encode(), caller)
        return True

    def close(self) -> None:
        self._socket.close()


def say(peer: Peer, address: str, port: int) -> socket.socket:
    """A connected UDP socket that has sent one datagram. The caller closes it."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = peer.ns.call(socket.socket, kind, socket.SOCK_DGRAM)
    made.settimeout(PATIENCE)
    made.connect((address, port))
    made.send(b"?")
    return made


def exchange(peer: Peer, address: str, port: int, echo: Echo) -> str:
    """What the echo says to a datagram; "" if it never gets it."""
    with say(peer, address, port) as sock:
        return sock.recv(64).decode() if echo.serve(PATIENCE) else ""


def no_exchange(peer: Peer, address: str, port: int, echo: Echo) -> bool:
    with say(peer, address, port):
        return not echo.serve(SILENCE)


def pid_of(daemon: Daemon, name: str) -> int:
    return int(inspect(daemon, name)["pid"])


def alive(pid: int) -> bool:
    """Running, and not only a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def _bare(cidr: str) -> str:
    return cidr.partition("/")[0]


class World:
    """A daemon on a router between two hosts outside. Networks and sandboxes of `using` end with it."""

    def __init__(self, daemon: Daemon, outside: Peer, friend: Peer) -> None:
        self.daemon = daemon
        self.router = Peer(daemon.namespace, "198.51.100.1", "2001:db8:1::1")
        self.outside = outside
        self.friend = friend

    @contextmanager
    def using(self) -> Iterator[Stage]:
        with ExitStack() as stack:
            yield Stage(self.daemon, stack)

    def forget_flows(self) -> None:
        self.daemon.run("conntrack", "-F")


class Stage:
    """What one test builds; taken down in reverse order."""

    def __init__(self, daemon: Daemon, stack: ExitStack) -> None:
        self._daemon = daemon
        self._stack = stack

    def network(self, name: str, *subnets: str, **fields: Any) -> str:
        make_network(self._daemon, name, **(pools(*subnets) if subnets else {}), **fields)
        self._stack.callback(lambda: self._daemon.http("DELETE", f"/networks/{name}?wait=1"))
        return name

    def box(self, name: str, *networks: str | dict[str, Any], **fields: Any) -> Box:
        return self._stack.enter_context(running(self._daemon, name, *networks, **fields))

    def echo(self, peer: Peer, port: int, tag: str, family: int = 4) -> Echo:
        made = Echo(peer, port, tag, family)
        self._stack.callback(made.close)
        return made

    def callback(self, function: Callable[[], object]) -> None:
        self._stack.callback(function)


@contextmanager
def world(*args: str) -> Iterator[World]:
    with ExitStack() as stack:
        daemon = stack.enter_context(fresh_daemon("--default-address-pool", "base=10.0.0.0/8,size=24", *args))
        outside = stack.enter_context(neighbour(daemon.namespace, "wan", "198.51.100", "2001:db8:1"))
        friend = stack.enter_context(neighbour(daemon.namespace, "lan", "203.0.113", "2001:db8:2"))
        daemon.start()
        yield World(daemon, outside, friend)


def no_way(peer: Peer, address: str, port: int = 80) -> bool:
    """No connection, or not even a route."""
    try:
        return peer.no_dial(address, port)
    except OSError:
        return True
