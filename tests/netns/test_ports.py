"""Held host ports on a real kernel: what is in the way, what is not, and that nothing comes through them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.firewall_lab import SILENCE
from tests.support.netns import Namespace
from towline.kernel import ports
from towline.kernel.ports import HeldPorts, holder_of
from towline.model.errors import KernelError

PORT = 8123
FAMILIES = pytest.mark.parametrize("host_ip", ["0.0.0.0", "::"])


@pytest.fixture
def held(ns: Namespace) -> Iterator[HeldPorts]:
    made = HeldPorts()
    yield made
    made.close()


def sock(host_ip: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host_ip else socket.AF_INET, kind)


def bound(host_ip: str, *, listening: bool = True, reuse: bool = True) -> socket.socket:
    made = sock(host_ip)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
        made.bind((host_ip, PORT))
        if listening:
            made.listen()
    except OSError:
        made.close()
        raise
    return made


def served_and_stopped(host_ip: str) -> None:
    """A server that closed its connection first, so that its end of it is in TIME_WAIT, and then stopped."""
    with bound(host_ip) as listener, sock(host_ip) as client:
        client.connect(("::1" if ":" in host_ip else "127.0.0.1", PORT))
        connection, _ = listener.accept()
        connection.close()
        assert client.recv(1) == b""


@FAMILIES
def test_connections_that_a_stopped_server_left_are_not_in_the_way(
    ns: Namespace, held: HeldPorts, host_ip: str
) -> None:
    ns.call(served_and_stopped, host_ip)
    assert "TIME-WAIT" in ns.run(["ss", "-Htan", f"sport = {PORT}"])
    ns.call(held.hold, "tcp", host_ip, PORT)
    assert held.holds("tcp", host_ip, PORT)


@FAMILIES
@pytest.mark.parametrize("reuse", [True, False])
def test_a_listener_of_others_is_in_the_way(ns: Namespace, held: HeldPorts, host_ip: str, reuse: bool) -> None:
    with ns.call(bound, host_ip, reuse=reuse), pytest.raises(KernelError) as caught:
        ns.call(held.hold, "tcp", host_ip, PORT)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.detail == f"held by process {os.getpid()} ({Path('/proc/self/comm').read_text().strip()})"
    assert not held.holds("tcp", host_ip, PORT)


@FAMILIES
@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("listening", [True, False])
def test_nobody_else_can_bind(ns: Namespace, held: HeldPorts, host_ip: str, listening: bool, reuse: bool) -> None:
    ns.call(held.hold, "tcp", host_ip, PORT)
    for place in (host_ip, "::1" if ":" in host_ip else "127.0.0.1"):
        with pytest.raises(OSError, match="in use"):
            ns.call(bound, place, listening=listening, reuse=reuse)
    held.release("tcp", host_ip, PORT)
    ns.call(bound, host_ip, listening=listening, reuse=reuse).close()


@FAMILIES
def test_nothing_connects_to_a_held_port(ns: Namespace, held: HeldPorts, host_ip: str) -> None:
    """It listens, so only its filter keeps connections out."""
    ns.call(held.hold, "tcp", host_ip, PORT)
    with ns.call(sock, host_ip) as client:
        client.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            client.connect(("::1" if ":" in host_ip else "127.0.0.1", PORT))


@FAMILIES
def test_nothing_is_queued_at_a_held_port(ns: Namespace, held: HeldPorts, host_ip: str) -> None:
    ns.call(held.hold, "udp", host_ip, PORT)
    with ns.call(sock, host_ip, socket.SOCK_DGRAM) as client:
        client.sendto(b"lost", ("::1" if ":" in host_ip else "127.0.0.1", PORT))
    (line,) = ns.run(["ss", "-Huan", f"sport = {PORT}"]).splitlines()
    assert line.split()[1] == "0"


def _gone(path: Path, *_: object, **__: object) -> str:
    raise ProcessLookupError(errno.ESRCH, "no such process", str(path))


def test_a_holder_that_ends_while_it_is_looked_at(
    ns: Namespace, held: HeldPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Callable[..., str] = Path.read_text
    monkeypatch.setattr(ports.Path, "read_text", lambda p, **kw: (_gone if p.name == "comm" else read)(p, **kw))
    with ns.call(bound, "0.0.0.0"), pytest.raises(KernelError) as caught:
        ns.call(held.hold, "tcp", "0.0.0.0", PORT)
    assert (caught.value.errno, caught.value.detail) == (errno.EADDRINUSE, "")


def test_the_search_for_a_holder_is_bounded(ns: Namespace) -> None:
    with ns.call(bound, "0.0.0.0"):
        assert ns.call(holder_of, "tcp", PORT, 5.0) != ""
        assert ns.call(holder_of, "tcp", PORT, -1.0) == ""
