"""A small world for firewall tests: an outside host, a trusted host, a router with two bridges, containers on them.

outside ---- wan [router] lan ---- friend
                  br-a: a1 a2      br-b: b1
Everything is dual stack; the outside and the friend have routes to the container subnets, so only rules stop them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.support.netns import Namespace, namespace, veth
from towline.firewall import OVERLAY, base, network_elements
from towline.kernel.contract import AddElements, AddTable
from towline.kernel.nft import NfNetlinkNft
from towline.model.desired import NetworkRules
from towline.model.ruleset import Element

HERE = tuple(table for table in base() if table.id != OVERLAY)
"""Tables of the host's namespace."""
PORTS = (80, 81)
PATIENCE, SILENCE = 5.0, 0.15
"""Seconds to wait for an answer that must come (on a busy machine), and for one that must not: inside one kernel an
answer takes microseconds."""


@dataclass
class Peer:
    """A host: its namespace, its addresses of both families, and listening TCP sockets on PORTS."""

    ns: Namespace
    ipv4: str
    ipv6: str
    listeners: dict[int, socket.socket] = field(default_factory=dict)

    def address(self, family: int) -> str:
        return self.ipv4 if family == 4 else self.ipv6

    def dial(self, address: str, port: int, patience: float = PATIENCE) -> bool:
        """Does a TCP connection come about?"""
        with self.ns.call(_tcp, address) as sock:
            sock.settimeout(patience)
            try:
                sock.connect((address, port))
            except (TimeoutError, ConnectionRefusedError):
                return False
            return True

    def ping(self, address: str, patience: float = PATIENCE) -> bool:
        out = self.ns.run(["ping", "-n", "-c1", f"-W{patience}", address], check=False)
        return " 0% packet loss" in out

    def no_dial(self, address: str, port: int) -> bool:
        return not self.dial(address, port, SILENCE)

    def no_ping(self, address: str) -> bool:
        return not self.ping(address, SILENCE)

    def caller(self, port: int = PORTS[0]) -> str:
        """The source address of the latest connection to a port of ours."""
        found = ""
        while True:
            try:
                connection, peer = self.listeners[port].accept()
            except BlockingIOError:
                assert found, "nobody called"
                return found
            connection.close()
            found = str(peer[0]).removeprefix("::ffff:")

    def hang_up(self) -> None:
        """Forget connections that nobody asked about."""
        for port in self.listeners:
            self.listeners[port].close()
        self.listeners = self.ns.call(_listen)


@dataclass
class Lab:
    router: Namespace
    nft: NfNetlinkNft
    outside: Peer
    friend: Peer
    a1: Peer
    a2: Peer
    b1: Peer

    def program(self, *networks: NetworkRules, extra: Sequence[Element] = ()) -> None:
        """Our tables anew with these networks' elements; no connection is remembered."""
        elements = tuple(e for network in networks for e in network_elements(network))
        self.nft.commit([*map(AddTable, HERE), AddElements((*elements, *extra))])
        self.router.run(["conntrack", "-F"])
        for peer in (self.outside, self.friend, self.a1, self.a2, self.b1):
            peer.hang_up()


@contextmanager
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        spaces = [stack.enter_context(namespace()) for _ in range(6)]
        router, outside, friend, a1, a2, b1 = spaces
        for ns in spaces:
            _settings(ns)
        for bridge, number in (("br-a", 1), ("br-b", 2)):
            router.run(["ip", "link", "add", bridge, "type", "bridge"])
            _address(router, bridge, f"172.30.{number}.1/24", f"fd00:30:{number}::1/64")
            router.run(["ip", "link", "set", bridge, "up"])
        peers = [
            _neighbour(router, "wan", outside, "198.51.100", "2001:db8:1"),
            _neighbour(router, "lan", friend, "203.0.113", "2001:db8:2"),
            _container(router, "br-a", "va1", a1, "172.30.1", "fd00:30:1", 2),
            _container(router, "br-a", "va2", a2, "172.30.1", "fd00:30:1", 3),
            _container(router, "br-b", "vb1", b1, "172.30.2", "fd00:30:2", 2),
        ]
        nft = router.call(NfNetlinkNft)
        stack.callback(nft.close)
        for peer in peers:
            stack.callback(lambda peer=peer: [sock.close() for sock in peer.listeners.values()])
        yield Lab(router, nft, *peers)


def _settings(ns: Namespace) -> None:
    ns.call(_write, "net/ipv6/conf/default/accept_dad", "0")
    ns.call(_write, "net/ipv6/conf/all/forwarding", "1")
    ns.call(_write, "net/ipv4/ip_forward", "1")


def _write(path: str, value: str) -> None:
    with open(f"/proc/sys/{path}", "w") as file:
        file.write(value)


def _address(ns: Namespace, link: str, *cidrs: str) -> None:
    for cidr in cidrs:
        ns.run(["ip", "address", "add", cidr, "dev", link, *(["nodad"] if ":" in cidr else [])])


def _neighbour(router: Namespace, link: str, ns: Namespace, net4: str, net6: str) -> Peer:
    """A host on a cable of its own, who routes everything through us."""
    veth(router, link, ns, "eth0")
    _address(router, link, f"{net4}.1/24", f"{net6}::1/64")
    return _settle(ns, net4, net6, 2)


def _container(router: Namespace, bridge: str, port: str, ns: Namespace, net4: str, net6: str, number: int) -> Peer:
    veth(router, port, ns, "eth0")
    router.run(["ip", "link", "set", port, "master", bridge])
    ns.run(["ip", "link", "set", "eth0", "address", mac(net4, number)])
    return _settle(ns, net4, net6, number)


def mac(net4: str, number: int) -> str:
    return f"02:42:ac:1e:0{net4.rsplit('.', 1)[1]}:0{number}"


def _settle(ns: Namespace, net4: str, net6: str, number: int) -> Peer:
    _address(ns, "eth0", f"{net4}.{number}/24", f"{net6}::{number}/64")
    ns.run(["ip", "route", "add", "default", "via", f"{net4}.1"])
    ns.run(["ip", "-6", "route", "add", "default", "via", f"{net6}::1"])
    return Peer(ns, f"{net4}.{number}", f"{net6}::{number}", ns.call(_listen))


def _tcp(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)


def _listen() -> dict[int, socket.socket]:
    made = {port: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) for port in PORTS}
    for sock in made.values():
        sock.setblocking(False)
    return made
