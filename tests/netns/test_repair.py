"""Connections that go from one host to another: namespaces on a switch, real segments, checked byte by byte."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.support.netns import Namespace, namespace, veth
from towline.repair import Connection, NotEstablished, go, put, take

ADDRESSES = {4: ("198.51.100.7/24", "198.51.100.9/24"), 6: ("2001:db8:7::7/64", "2001:db8:7::9/64")}
MAC = "02:00:00:00:00:07"
PATIENCE = 20


class Lab:
    """A switch with a client and two hosts; the address is at one of them at a time, with its MAC."""

    def __init__(self, cleanup: ExitStack, version: int) -> None:
        self.switch, self.client, *self.homes = (cleanup.enter_context(namespace()) for _ in range(4))
        self.moving, other = ADDRESSES[version]
        self.server = self.moving.partition("/")[0]
        self.family = socket.AF_INET6 if version == 6 else socket.AF_INET
        self.switch.run(["ip", "link", "add", "switch", "type", "bridge", "mcast_snooping", "0"])
        self.switch.run(["ip", "link", "set", "switch", "up"])
        for number, (net, address) in enumerate([(self.client, other), *((home, "") for home in self.homes)]):
            veth(net, "eth0", self.switch, f"port{number}", a_address=address)
            self.switch.run(["ip", "link", "set", f"port{number}", "master", "switch"])
        for home in self.homes:
            home.run(["ip", "link", "set", "eth0", "down", "address", MAC])
            self._address(home, "add")
        self.homes[0].run(["ip", "link", "set", "eth0", "up"])
        self._address(self.homes[0], "replace")

    def _address(self, home: Namespace, verb: str) -> None:
        nodad = ["nodad"] if ":" in self.server else []
        home.run(["ip", "address", verb, self.moving, "dev", "eth0", *nodad])

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """(client's end, the end at the first host)."""
        listener = self.homes[0].call(socket.socket, self.family, socket.SOCK_STREAM)
        with closing(listener):
            listener.bind((self.server, 7))
            listener.listen()
            ours = self.client.call(socket.socket, self.family, socket.SOCK_STREAM)
            ours.settimeout(PATIENCE)
            ours.connect((self.server, 7))
            theirs = listener.accept()[0]
        theirs.settimeout(PATIENCE)
        return ours, theirs

    def cut(self, home: int) -> None:
        self.homes[home].run(["ip", "link", "set", "eth0", "down"])

    def open(self, home: int) -> None:
        net = self.homes[home]
        net.run(["ip", "link", "set", "eth0", "up"])
        self._address(net, "replace")
        net.run(["ip", "neighbour", "replace", ADDRESSES[6 if ":" in self.server else 4][1].partition("/")[0],
                 "lladdr", self._mac_of_client(), "dev", "eth0"])  # fmt: skip

    def _mac_of_client(self) -> str:
        return str(json.loads(self.client.run(["ip", "-j", "link", "show", "eth0"]))[0]["address"])

    def move(self, sock: socket.socket, origin: int, target: int) -> socket.socket:
        """Cut, take, through bytes, put where the address is (not reachable yet), open, go."""
        self.cut(origin)
        saved = Connection.unpacked(take(sock).packed())
        self.homes[target].run(["ip", "link", "set", "eth0", "up"])
        self._address(self.homes[target], "replace")
        self.switch.run(["ip", "link", "set", f"port{target + 1}", "down"])
        made = self.homes[target].call(put, saved)
        made.settimeout(PATIENCE)
        self.switch.run(["ip", "link", "set", f"port{target + 1}", "up"])
        self.open(target)
        go(made, saved)
        return made


@contextmanager
def lab(version: int) -> Iterator[Lab]:
    with ExitStack() as cleanup:
        yield Lab(cleanup, version)


def received(sock: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        data = sock.recv(size - len(found))
        assert data, f"the connection ended after {len(found)} of {size} bytes"
        found += data
    return bytes(found)


@pytest.mark.parametrize("version", [4, 6])
def test_there_and_back(version: int) -> None:
    """Ten moves; on each, both directions go on where they were."""
    with lab(version) as hosts:
        ours, theirs = hosts.connect()
        with closing(ours):
            for number in range(10):
                text = f"move {number}".encode()
                ours.sendall(text)
                assert received(theirs, len(text)) == text
                theirs.sendall(text[::-1])
                assert received(ours, len(text)) == text[::-1]
                theirs = hosts.move(theirs, number % 2, 1 - number % 2)
            with closing(theirs):
                ours.sendall(b"end")
                assert received(theirs, 3) == b"end"


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_in_the_queues_comes_along(version: int) -> None:
    """Bytes that arrived and were not read; bytes that were written and not acknowledged, more than the peer takes."""
    data = random.Random(version).randbytes(8 << 20)
    with lab(version) as hosts:
        ours, theirs = hosts.connect()
        with closing(ours):
            ours.sendall(data[:50_000])
            theirs.setblocking(False)
            written = 0
            while True:  # until both kernels are full
                try:
                    written += theirs.send(data[written:])
                except BlockingIOError:
                    break
            theirs = hosts.move(theirs, 0, 1)
            with closing(theirs):
                assert received(theirs, 50_000) == data[:50_000]
                assert received(ours, written) == data[:written]
                ours.sendall(b"and on")
                assert received(theirs, 6) == b"and on"


def test_unsent_bytes_are_sent() -> None:
    """Written while the link was down already: nothing of it was ever on a wire."""
    with lab(4) as hosts:
        ours, theirs = hosts.connect()
        with closing(ours):
            ours.sendall(b"x")
            received(theirs, 1)
            hosts.cut(0)
            theirs.sendall(b"late words" * 100)
            theirs = hosts.move(theirs, 0, 1)
            with closing(theirs):
                assert received(ours, 1000) == b"late words" * 100


def test_options_come_along() -> None:
    with lab(4) as hosts:
        ours, theirs = hosts.connect()
        with closing(ours):
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
            mss = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            theirs = hosts.move(theirs, 0, 1)
            with closing(theirs):
                assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
                ours.sendall(b"x")
                received(theirs, 1)
                assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == mss


def test_a_connection_that_is_ending_is_refused() -> None:
    with lab(4) as hosts:
        ours, theirs = hosts.connect()
        with closing(theirs):
            ours.close()
            assert theirs.recv(1) == b""
            with pytest.raises(NotEstablished, match="state 8"):
                take(theirs)
            assert theirs.fileno() >= 0


def test_an_address_that_is_not_here_is_refused() -> None:
    with lab(4) as hosts, namespace() as elsewhere:
        ours, theirs = hosts.connect()
        with closing(ours):
            hosts.cut(0)
            saved = take(theirs)
            with pytest.raises(OSError, match="Cannot assign"):
                elsewhere.call(put, saved)
