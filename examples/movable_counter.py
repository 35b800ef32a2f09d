"""A server that counts the bytes of each connection and can be moved while it serves: one thread, no framework.

    towline run --network wide --name counter -- python3 examples/movable_counter.py 7000

Each line that a client sends is answered by how many bytes the server has had from it, and which process it is.
"""

import json
import os
import selectors
import socket
import sys

from towline.repair import Movable

_LARGEST_LINE = 1024


class Counter:
    def __init__(self, port: int) -> None:
        self.port = port
        self.saved: tuple[list[int], list[str]] = ([], [])
        self.counts: list[tuple[socket.socket, int]] = []
        self.rests: dict[socket.socket, bytes] = {}
        self.selector = selectors.DefaultSelector()

    def save(self) -> tuple[bytes, list[socket.socket]]:
        sockets = [sock for sock, _ in self.counts]
        rests = [self.rests.get(sock, b"").decode("latin-1") for sock in sockets]
        return json.dumps([[count for _, count in self.counts], rests]).encode(), sockets

    def begin(self, state: bytes) -> None:
        self.saved = json.loads(state)

    def go_on(self, sockets: list[socket.socket]) -> None:
        counts, rests = self.saved
        for sock, count, rest in zip(sockets, counts, rests, strict=True):
            self.serve(sock, count, rest.encode("latin-1"))

    def serve(self, sock: socket.socket, count: int = 0, rest: bytes = b"") -> None:
        self.counts.append((sock, count))
        self.rests[sock] = rest
        self.selector.register(sock, selectors.EVENT_READ, self.hear)

    def hear(self, sock: socket.socket) -> None:
        data = sock.recv(65536)
        at = next(number for number, (each, _) in enumerate(self.counts) if each is sock)
        if not data:
            del self.counts[at], self.rests[sock]
            self.selector.unregister(sock)
            sock.close()
            return
        count = self.counts[at][1] + len(data)
        self.counts[at] = sock, count
        *lines, rest = (self.rests[sock] + data).split(b"\n")
        self.rests[sock] = rest[-_LARGEST_LINE:]
        for _ in lines:
            sock.sendall(f"{count} {os.getpid()}\n".encode())

    def run(self) -> None:
        movable = Movable()
        sockets = movable.resumed(self.begin)
        listener = socket.create_server(("", self.port))
        self.selector.register(listener, selectors.EVENT_READ, lambda sock: self.serve(sock.accept()[0]))
        self.selector.register(movable, selectors.EVENT_READ, None)
        if sockets is not None:
            self.go_on(sockets)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is movable:
                    if not movable.handle(self.save):
                        os._exit(0)
                else:
                    key.data(key.fileobj)


if __name__ == "__main__":
    Counter(int(sys.argv[1])).run()
