"""Connections that go from one host to another: namespaces on a switch, real segments, checked byte by byte."""

from __future__ import annotations

import random
import socket
from contextlib import closing

import pytest

from tests.support.moving_lab import lab, received
from tests.support.netns import namespace
from towline.repair import NotEstablished, freeze, put, take, thaw


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


def test_frozen_and_thawed_at_home() -> None:
    """What arrives meanwhile is sent again by the peer; what is written by it before the cut is there."""
    with lab(4) as hosts:
        ours, theirs = hosts.connect()
        with closing(ours), closing(theirs):
            ours.sendall(b"before ")
            hosts.cut(0)
            ours.sendall(b"during ")
            freeze(theirs)
            hosts.open(0)
            thaw(theirs)
            ours.sendall(b"after")
            assert received(theirs, 19) == b"before during after"
            theirs.sendall(b"and back")
            assert received(ours, 8) == b"and back"


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
