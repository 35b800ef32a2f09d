"""DNS on real sockets for the tests: clients inside a namespace, and stub servers for other namespaces."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.query
import dns.rrset
import uvloop

from tests.support.netns import Namespace
from towline.dns.config import ServerConfig
from towline.dns.names import DnsView
from towline.dns.server import DnsServers

T = TypeVar("T")

RESOLVER = "127.0.0.11"

Behaviour = Callable[[dns.message.Message, bool], bytes | None]
"""The stub's answer to a query that came over TCP (True) or UDP; None for silence."""


def ask_udp(
    ns: Namespace, name: str, kind: str = "A", *, timeout: float = 8.0, edns: int | None = None
) -> dns.message.Message:
    """What 127.0.0.11 says inside the namespace; raises dns.exception.Timeout."""
    query = dns.message.make_query(name, kind, use_edns=edns is not None, payload=edns)
    return ns.call(dns.query.udp, query, RESOLVER, timeout=timeout)


def ask_tcp(ns: Namespace, name: str, kind: str = "A", *, timeout: float = 8.0) -> dns.message.Message:
    return ns.call(dns.query.tcp, dns.message.make_query(name, kind), RESOLVER, timeout=timeout)


def client_socket(ns: Namespace, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    """Connected to 127.0.0.11 port 53 inside the namespace, with a time-out of five seconds."""

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.settimeout(5.0)
        made.connect((RESOLVER, 53))
        return made

    return ns.call(connect)


def frame(message: bytes) -> bytes:
    return struct.pack(">H", len(message)) + message


def reply_with(query: dns.message.Message, *records: tuple[str, int, str, str]) -> dns.message.Message:
    """records: (name, ttl, type, data)."""
    reply = dns.message.make_response(query, recursion_available=True)
    for name, ttl, kind, data in records:
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, data))
    return reply


def address(text: str = "192.0.2.1", ttl: int = 60) -> Behaviour:
    """Every name has this address."""

    def behave(query: dns.message.Message, tcp: bool) -> bytes:
        return reply_with(query, (str(query.question[0].name), ttl, "A", text)).to_wire()

    return behave


def rcode(value: int) -> Behaviour:
    def behave(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.set_rcode(value)
        return reply.to_wire()

    return behave


def truncating(count: int) -> Behaviour:
    """`count` addresses over TCP; over UDP one of them, and TC."""

    def behave(query: dns.message.Message, tcp: bool) -> bytes:
        name = str(query.question[0].name)
        records = [(name, 60, "A", f"192.0.2.{index + 1}") for index in range(count if tcp else 1)]
        reply = reply_with(query, *records)
        if not tcp:
            reply.flags |= dns.flags.TC
        return reply.to_wire()

    return behave


def silent(query: dns.message.Message, tcp: bool) -> None:
    """No answer at all."""


class StubServer:
    """An upstream server on UDP and TCP, port 53 by default, in its own threads. asked: (name, type, tcp) as they came;
    peers: where UDP queries came from."""

    def __init__(self, ns: Namespace, address: str, behave: Behaviour, *, port: int = 53) -> None:
        self.behave = behave
        self.asked: list[tuple[str, int, bool]] = []
        self.peers: list[tuple[str, int]] = []
        self.idents: list[int] = []
        self._held: list[socket.socket] = []
        self._udp, self._tcp = ns.call(self._bind, address, port)
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]

    def __enter__(self) -> StubServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for sock in (self._udp, self._tcp, *self._held):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    @staticmethod
    def _bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        where = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4]
        for sock in (udp, tcp):
            sock.bind(where)
        tcp.listen(64)
        return udp, tcp

    def _serve_udp(self) -> None:
        while True:
            try:
                data, peer = self._udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            answer = self._answer(data, False, peer)
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                conn, peer = self._tcp.accept()
            except OSError:
                return
            length = int.from_bytes(conn.recv(2, socket.MSG_WAITALL), "big")
            answer = self._answer(conn.recv(length, socket.MSG_WAITALL), True, peer)
            if answer is None:
                self._held.append(conn)
                continue
            with conn:
                conn.sendall(frame(answer))

    def _answer(self, data: bytes, tcp: bool, peer: tuple[str, int]) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        self.idents.append(query.id)
        if not tcp:
            self.peers.append(peer[:2])
        self.asked.append((str(question.name), int(question.rdtype), tcp))
        return self.behave(query, tcp)

    def expect(self, count: int) -> None:
        """AssertionError until so many have asked."""
        assert len(self.asked) == count

    def send_udp(self, data: bytes, peer: tuple[str, int]) -> None:
        """From the server's own address and port."""
        self._udp.sendto(data, peer)


def shuffled_names(count: int) -> list[str]:
    """Different names, in random order, so that no cache helps."""
    names = [f"n{index}.example." for index in range(count)]
    random.shuffle(names)
    return names


class RunningServers:
    """`DnsServers` on an event loop in a thread of its own inside the namespace that plays the host."""

    def __init__(self, host: Namespace, view: DnsView, **options: Any) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        host.call(self._thread.start)
        self.servers: DnsServers = self.run(self._make(view, options))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def open(self, sandbox_id: str, ns: Namespace, config: ServerConfig | None = None) -> None:
        self.run(self.servers.open(sandbox_id, ns.path, config or ServerConfig()))

    def close(self, sandbox_id: str) -> None:
        self.run(self.servers.close(sandbox_id))

    def changed(self, network_id: str) -> None:
        """Tell of a change as control does: between two wake-ups of the loop, not in the middle of one."""
        self.run(self._changed(network_id))

    async def _changed(self, network_id: str) -> None:
        self.servers.names_changed(network_id)

    def stop(self) -> None:
        """As at the end of the daemon."""
        self.run(self.servers.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _make(self, view: DnsView, options: dict[str, Any]) -> DnsServers:
        return DnsServers(view, **options)


@contextmanager
def running_servers(host: Namespace, view: DnsView, **options: Any) -> Iterator[RunningServers]:
    made = RunningServers(host, view, **options)
    try:
        yield made
    finally:
        made.stop()
