"""A client and two hosts on a switch; an address that is at one of them at a time, as when an endpoint moves."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.support.netns import Namespace, namespace, veth
from towline.repair import Connection, go, put, take

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

    def silence(self, home: int) -> None:
        """The address is there, and nothing gets in or out."""
        self.switch.run(["ip", "link", "set", f"port{home + 1}", "down"])
        self.homes[home].run(["ip", "link", "set", "eth0", "up"])
        self._address(self.homes[home], "replace")

    def open(self, home: int) -> None:
        net = self.homes[home]
        self.switch.run(["ip", "link", "set", f"port{home + 1}", "up"])
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
        self.silence(target)
        made = self.homes[target].call(put, saved)
        made.settimeout(PATIENCE)
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
