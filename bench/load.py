"""`python -m bench.load`: small servers and clients that run inside a namespace; each client prints figures as JSON.

They import nothing of ours, so that they start fast, and are the same for every engine.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

RESOLVER = ("127.0.0.11", 53)
STREAM, ECHO = 5001, 5002
_CHUNK = 1 << 20
_WINDOW, _SOCKETS = 16, 8
_LONGEST_SECONDS = 5.0
_REACH_SECONDS = 30.0


def question(name: str, number: int = 0) -> bytes:
    """A DNS query for the IPv4 addresses of `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def is_answer(data: bytes) -> bool:
    """Whether a DNS message is an answer without error and with a record."""
    return len(data) > 12 and data[2] & 0x80 != 0 and data[3] & 0x0F == 0 and data[6:8] != b"\0\0"


def latency(name: str, seconds: float) -> list[float]:
    """Microseconds of each query, one after the other."""
    samples = []
    with _resolver() as sock:
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            sock.send(question(name))
            if not is_answer(sock.recv(512)):
                raise ValueError(f"no address for {name}")
            samples.append((time.perf_counter() - started) * 1e6)
    return samples


def rate(name: str, seconds: float) -> float:
    """Answers a second, with `_WINDOW` queries under way on each of `_SOCKETS` sockets."""
    sockets = [_resolver() for _ in range(_SOCKETS)]
    query, count = question(name), 0
    started = time.perf_counter()
    end = started + seconds
    for sock in sockets:
        for _ in range(_WINDOW):
            sock.send(query)
    while time.perf_counter() < end:
        for sock in sockets:
            for _ in range(_WINDOW):
                sock.recv(512)
                sock.send(query)
            count += _WINDOW
    elapsed = time.perf_counter() - started
    for sock in sockets:
        sock.close()
    return count / elapsed


def throughput(address: str, port: int, seconds: float) -> float:
    """Gbit/s that a server takes, counted until it has all of it."""
    data, sent = bytes(_CHUNK), 0
    with socket.create_connection((address, port), _LONGEST_SECONDS) as sock:
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            sock.sendall(data)
            sent += len(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        return sent * 8e-9 / (time.perf_counter() - started)


def transactions(address: str, port: int, seconds: float) -> float:
    """Requests of one byte, each answered with one byte, a second on one connection."""
    count = 0
    with socket.create_connection((address, port), _LONGEST_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            sock.send(b"?")
            if not sock.recv(1):
                raise ConnectionError("the server hung up")
            count += 1
        return count / (time.perf_counter() - started)


def reach() -> None:
    """A line `reach NAME` on standard input: ask for its address and connect to port `ECHO` there until both succeed.
    `gone NAME`: until its name has no address. Prints when, by the machine's monotonic clock; ends where it is not
    within `_REACH_SECONDS`."""
    for line in sys.stdin:
        verb, name = line.split()
        end = time.perf_counter() + _REACH_SECONDS
        while not (_reached(name) if verb == "reach" else not _asked(name, 0.1)):
            if time.perf_counter() > end:
                return
        print(time.perf_counter(), flush=True)


def _asked(name: str, patience: float) -> str:
    """Its address; "" if there is none within `patience` seconds, or the answer says so."""
    with _resolver() as sock:
        sock.settimeout(patience)
        try:
            sock.send(question(name))
            data = sock.recv(512)
        except OSError:
            return ""
        return socket.inet_ntoa(data[-4:]) if is_answer(data) else ""


def _reached(name: str) -> bool:
    if not (address := _asked(name, 0.005)):
        return False
    try:
        with socket.create_connection((address, ECHO), 0.05):
            return True
    except OSError:
        return False


def serve() -> None:
    """Take what comes on port `STREAM`, and one byte in the end; send back what comes on `ECHO`. Never returns."""
    listeners = {port: socket.create_server(("0.0.0.0", port)) for port in (STREAM, ECHO)}
    buffer = bytearray(_CHUNK)
    print("ready", flush=True)
    while True:
        for listener in select.select(list(listeners.values()), [], [])[0]:
            with listener.accept()[0] as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    _answer(sock, buffer, echo=listener is listeners[ECHO])
                except ConnectionError:
                    continue


def _answer(sock: socket.socket, buffer: bytearray, *, echo: bool) -> None:
    view = memoryview(buffer)
    while count := sock.recv_into(buffer):
        if echo:
            sock.send(view[:count])
    sock.send(b".")


def _resolver() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(_LONGEST_SECONDS)
    sock.connect(RESOLVER)
    return sock


def main(argv: list[str]) -> None:
    match argv:
        case ["serve"]:
            serve()
        case ["reach"]:
            reach()
        case ["latency", name, seconds]:
            print(json.dumps(latency(name, float(seconds))))
        case ["rate", name, seconds]:
            print(json.dumps([rate(name, float(seconds))]))
        case ["throughput", address, port, seconds]:
            print(json.dumps([throughput(address, int(port), float(seconds))]))
        case ["transactions", address, port, seconds]:
            print(json.dumps([transactions(address, int(port), float(seconds))]))
        case _:
            sys.exit(f"bench.load: {' '.join(argv)}: no such load")


if __name__ == "__main__":
    main(sys.argv[1:])
