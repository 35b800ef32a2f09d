"""Traffic that notices the smallest gap: datagrams numbered one by one, and a TCP connection that never rests."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.support.plugs import Plug

PERIOD = 0.002
PATIENCE = 3.0  # seconds for the last answers, and for any answer of TCP
_NUMBER = struct.Struct("!Q")
_SO_RCVBUFFORCE = 33


class Datagrams:
    """A numbered datagram every 2 ms to a server that sends it back."""

    def __init__(self, client: Plug, server: Plug, port: int) -> None:
        self._server = server.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self._client = client.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self._server, self._client):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        self._server.bind((server.ipv4, port))
        self._client.connect((server.ipv4, port))
        self._client.settimeout(PATIENCE)
        self._stop = threading.Event()
        self._returned: set[int] = set()
        self._last = 0.0
        self._total: int | None = None
        self.sent = 0
        self.errors: list[OSError] = []
        self.longest = 0.0
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._echo, self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def _echo(self) -> None:
        while True:
            data, peer = self._server.recvfrom(64)
            if not data:
                return
            self._server.sendto(data, peer)

    def _receive(self) -> None:
        while self._total is None or len(self._returned) < self._total:
            try:
                (number,) = _NUMBER.unpack(self._client.recv(64))
            except OSError as error:
                self.errors.append(error)
                return
            self._returned.add(number)
            now = time.monotonic()
            self.longest = max(self.longest, now - (self._last or now))
            self._last = now

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.send(_NUMBER.pack(self.sent))
            except OSError as error:
                self.errors.append(error)
                return
            self.sent += 1
            time.sleep(PERIOD)

    def lost(self) -> set[int]:
        """End it, and tell which numbers did not come back."""
        self._stop.set()
        self._threads[2].join()
        self._total = self.sent + 1
        self._client.send(_NUMBER.pack(self.sent))  # wakes the receiver, so that it sees the total
        self.sent += 1
        self._threads[1].join()
        return set(range(self.sent)) - self._returned

    def close(self) -> None:
        self._stop.set()
        self._client.settimeout(1)
        self._client.send(b"")
        self._threads[0].join()
        self._client.close()
        self._server.close()


class Conversation:
    """A TCP connection on which a number goes forth and back every 2 ms."""

    def __init__(self, client: Plug, server: Plug, port: int) -> None:
        listener = server.ns.call(socket.create_server, (server.ipv4, port))
        self._client = client.ns.call(socket.create_connection, (server.ipv4, port), PATIENCE)
        self._server, self.caller = listener.accept()
        listener.close()
        self._stop = threading.Event()
        self.rounds = 0
        self.error: Exception | None = None
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._echo, self._talk)]
        for thread in self._threads:
            thread.start()

    def _echo(self) -> None:
        while data := self._server.recv(64):
            self._server.sendall(data)

    def _talk(self) -> None:
        try:
            while not self._stop.is_set():
                self._client.sendall(_NUMBER.pack(self.rounds))
                answer = self._client.recv(_NUMBER.size, socket.MSG_WAITALL)
                assert answer == _NUMBER.pack(self.rounds)
                self.rounds += 1
                time.sleep(PERIOD)
        except (OSError, AssertionError) as error:
            self.error = error

    def end(self) -> Exception | None:
        """End it; what went wrong on it."""
        self._stop.set()
        self._threads[1].join()
        return self.error

    def close(self) -> None:
        """Even if no packet goes between the two any more."""
        self.end()
        self._client.close()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._server.close()


class Flows:
    """Both kinds between each of some pairs of hosts."""

    def __init__(self, pairs: dict[str, tuple[Plug, Plug]], stack: ExitStack) -> None:
        self.datagrams: dict[str, Datagrams] = {}
        self.conversations: dict[str, Conversation] = {}
        for port, (name, (client, server)) in enumerate(pairs.items(), 7000):
            self.conversations[name] = Conversation(client, server, port)
            stack.callback(self.conversations[name].close)
            self.datagrams[name] = Datagrams(client, server, port)
            stack.callback(self.datagrams[name].close)

    def progress(self) -> None:
        """Wait until each has gone some more rounds, or has failed."""
        for flow in self.conversations.values():
            goal = flow.rounds + 20
            while flow.rounds < goal and flow.error is None:
                time.sleep(PERIOD)

    def assert_whole(self) -> None:
        """Not one datagram lost, no connection hurt."""
        for name, flow in self.datagrams.items():
            lost = sorted(flow.lost())
            assert lost == [], f"{name}: {len(lost)} of {flow.sent} lost, from {lost[0]} on ({flow.errors})"
            assert flow.sent > 20
        for name, conversation in self.conversations.items():
            assert conversation.end() is None, name
            assert conversation.rounds > 20


@contextmanager
def flowing(pairs: dict[str, tuple[Plug, Plug]]) -> Iterator[Flows]:
    """What happens inside hurts none of the flows."""
    with ExitStack() as stack:
        flows = Flows(pairs, stack)
        flows.progress()
        yield flows
        flows.progress()
        flows.assert_whole()
