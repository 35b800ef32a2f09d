"""A real program that lets itself be moved: the example server, in processes of its own, between hosts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.moving_lab import PATIENCE, Lab, lab
from tests.support.polling import until
from towline.repair import mover
from towline.repair.messages import Broken
from towline.repair.program import RESUME

SERVER = Path(__file__).parents[2] / "examples" / "movable_counter.py"
PORT = 7


@contextmanager
def server(hosts: Lab, home: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = hosts.homes[home].popen([sys.executable, str(SERVER), str(PORT)], env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def listens(hosts: Lab, home: int) -> bool:
    return "@towline-repair" in hosts.homes[home].call(lambda: Path("/proc/thread-self/net/unix").read_text())


def serves(hosts: Lab, home: int) -> bool:
    return f":{PORT} " in hosts.homes[home].run(["ss", "-Htln"])


class Client:
    """One connection; each line is answered by the count of bytes and the process that counted."""

    def __init__(self, hosts: Lab) -> None:
        self.sock = hosts.client.call(socket.socket, hosts.family, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((hosts.server, PORT))
        self.sent = 0
        self._rest = b""

    def say(self, text: bytes) -> None:
        self.sock.sendall(text)
        self.sent += len(text)

    def answer(self) -> tuple[int, int]:
        """(bytes, pid)."""
        while b"\n" not in self._rest:
            data = self.sock.recv(4096)
            assert data, "the connection ended"
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        count, pid = line.split()
        return int(count), int(pid)


def test_a_server_moves_there_and_back_with_its_connections() -> None:
    """Its count goes on, each answer comes once, half a line comes along; the process is another one each time."""
    with lab(4) as hosts, ExitStack() as cleanup:
        here = cleanup.enter_context(server(hosts, 0))
        until(lambda: serves(hosts, 0))
        clients = [Client(hosts) for _ in range(20)]
        for each in clients:
            cleanup.enter_context(closing(each.sock))
        for number in range(4):
            origin, target = number % 2, 1 - number % 2
            for each in clients:
                each.say(b"a line\n")
                assert each.answer() == (each.sent, here.pid)
                each.say(b"half ")
            hosts.cut(origin)
            for each in clients:
                each.say(b"and half\n")  # sent again by the client's kernel when somebody is there
            frozen = hosts.homes[origin].call(mover.freeze, here.pid)
            image = mover.Image.unpacked(frozen.image.packed())
            assert len(image.connections) == len(clients)
            hosts.silence(target)
            there = cleanup.enter_context(server(hosts, target, **{RESUME: "1"}))
            until(lambda where=target: listens(hosts, where))
            held = hosts.homes[target].call(mover.resume, there.pid, image)
            hosts.open(target)
            held.release()
            frozen.moved()
            assert here.wait(PATIENCE) == 0
            here = there
            for each in clients:
                assert each.answer() == (each.sent, here.pid)
        late = Client(hosts)
        with closing(late.sock):
            late.say(b"new\n")
            assert late.answer() == (4, here.pid)


def test_a_restore_that_fails_leaves_the_source_as_it_was() -> None:
    with lab(4) as hosts, ExitStack() as cleanup:
        here = cleanup.enter_context(server(hosts, 0))
        until(lambda: serves(hosts, 0))
        client = Client(hosts)
        cleanup.enter_context(closing(client.sock))
        client.say(b"one\n")
        assert client.answer() == (4, here.pid)
        hosts.cut(0)
        frozen = hosts.homes[0].call(mover.freeze, here.pid)
        there = cleanup.enter_context(server(hosts, 1, **{RESUME: "1"}))
        until(lambda: listens(hosts, 1))
        broken = mover.Image(b"no JSON", frozen.image.connections)
        with pytest.raises(mover.Refused, match="JSONDecodeError"):
            hosts.homes[1].call(mover.resume, there.pid, broken)
        hosts.open(0)
        frozen.thaw()
        client.say(b"two\n")
        assert client.answer() == (8, here.pid)


def test_a_mover_that_dies_is_waited_for() -> None:
    """The program stays frozen: whether it lives elsewhere is not known until somebody says so."""
    with lab(4) as hosts, ExitStack() as cleanup:
        here = cleanup.enter_context(server(hosts, 0))
        until(lambda: serves(hosts, 0))
        client = Client(hosts)
        cleanup.enter_context(closing(client.sock))
        client.say(b"one\n")
        assert client.answer() == (4, here.pid)
        hosts.cut(0)
        hosts.homes[0].call(mover.freeze, here.pid).close()
        frozen = hosts.homes[0].call(mover.freeze, here.pid)
        assert len(frozen.image.connections) == 1
        hosts.open(0)
        frozen.thaw()
        client.say(b"two\n")
        assert client.answer() == (8, here.pid)


def test_whoever_cannot_be_moved_is_told() -> None:
    with lab(4) as hosts:
        with pytest.raises(Broken, match="does not listen"):
            hosts.homes[0].call(mover.freeze, 0)
        with server(hosts, 0) as process:
            until(lambda: listens(hosts, 0))
            with pytest.raises(Broken, match=f"process {process.pid} listens where process 1 should"):
                hosts.homes[0].call(mover.freeze, 1)


def test_a_program_that_hangs_is_given_up_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover, "PATIENCE", 0.3)
    with lab(4) as hosts, ExitStack() as cleanup:
        here = cleanup.enter_context(server(hosts, 0))
        until(lambda: serves(hosts, 0))
        client = Client(hosts)
        cleanup.enter_context(closing(client.sock))
        here.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            hosts.homes[0].call(mover.freeze, here.pid)
        here.send_signal(signal.SIGCONT)
        client.say(b"one\n")
        assert client.answer() == (4, here.pid)
