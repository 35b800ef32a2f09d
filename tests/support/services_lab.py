"""Namespaces and cables for services: a client, a mesh namespace per node, members, all on one wire."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.support.netns import Namespace, namespace, veth
from towline.firewall.balance import Backend
from towline.kernel.inner import RealInnerRules
from towline.model.inner import Inner
from towline.model.ruleset import AddElements, AddTable

_SERVER = """
import socket, sys, threading
name, port = sys.argv[1], int(sys.argv[2])

def open_socket(kind):
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    return s

def datagrams(s):
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(f"{name} {peer[0].removeprefix('::ffff:')}".encode(), peer)

def echo(c, peer):
    with c:
        c.sendall(f"{name} {peer[0].removeprefix('::ffff:')}\\n".encode())
        while data := c.recv(65536):
            c.sendall(data)

udp, tcp = open_socket(socket.SOCK_DGRAM), open_socket(socket.SOCK_STREAM)
tcp.listen(64)
threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
print("ready", flush=True)
while True:
    threading.Thread(target=echo, args=tcp.accept(), daemon=True).start()
"""
_CLIENT = """
import json, socket, sys
kind, address, port, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
answers = []
for _ in range(count):
    try:
        if kind == "udp":
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(5)
            s.connect((address, port))
            s.send(b"who")
            answers.append(s.recv(4096).decode())
        else:
            s = socket.create_connection((address, port), timeout=5)
            file = s.makefile("rb")
            answer = file.readline().decode().strip()
            if size:
                s.sendall(b"x" * size)
                got = file.read(size)
                assert len(got) == size, len(got)
            answers.append(answer)
        s.close()
    except OSError as error:
        answers.append(f"{type(error).__name__}")
print(json.dumps(answers))
"""


def ask(ns: Namespace, address: str, port: int, count: int = 1, *, kind: str = "tcp", echo: int = 0) -> list[str]:
    """What so many new connections from `ns` were answered: "NAME CLIENT-ADDRESS", or the class of an error. echo: so
    many bytes go there and back on each."""
    command = [sys.executable, "-c", _CLIENT, kind, address, str(port), str(count), str(echo)]
    return list(map(str, json.loads(ns.run(command))))


class Servers:
    """Programs that say "NAME CLIENT-ADDRESS" to whoever connects, and then what they hear; they end with this."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self, ns: Namespace, name: str, port: int) -> subprocess.Popen[str]:
        process = ns.popen([sys.executable, "-c", _SERVER, name, str(port)], stdout=subprocess.PIPE, text=True)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


class Lab:
    """rules: writes into namespaces by path."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.switch = self.namespace()
        self.switch.run(["ip", "link", "add", "br0", "type", "bridge"])
        self.switch.run(["ip", "link", "set", "br0", "up"])
        self._ports = 0
        self._home = self.namespace()
        self.serve = stack.enter_context(Servers()).serve
        self.rules = self._home.call(RealInnerRules)

    def namespace(self) -> Namespace:
        return self._stack.enter_context(namespace())

    def host(self, number: int, *, mtu: int = 1500) -> Namespace:
        """On the wire by eth0, as 10.0.0.NUMBER and fd00::NUMBER."""
        made = self.namespace()
        self._ports += 1
        port = f"p{self._ports}"
        veth(made, "eth0", self.switch, port, a_address=f"10.0.0.{number}/24")
        self.switch.run(["ip", "link", "set", port, "master", "br0"])
        made.run(["ip", "address", "add", f"fd00::{number:x}/64", "dev", "eth0", "nodad"])
        made.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
        return made

    def write(self, ns: Namespace, inner: Inner) -> None:
        """From the beginning; as the daemon's writer thread would, from a namespace that is not this one."""
        changes = [*map(AddTable, inner.tables), AddElements(inner.elements)]

        def write() -> None:
            self.rules.commit(ns.path, changes)
            self.rules.set_detour(ns.path, inner.detour)

        self._home.call(write)

    def at_home(self, function: Callable[[RealInnerRules], object]) -> object:
        return self._home.call(function, self.rules)


def backend(number: int) -> Backend:
    return Backend(f"10.0.0.{number}", f"fd00::{number:x}")


def names(answers: Sequence[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


@contextmanager
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack)
