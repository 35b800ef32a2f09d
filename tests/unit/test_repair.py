"""A saved connection comes from another host: what is none is refused in words."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
import pytest

from towline.repair import Connection, NotEstablished, take
from towline.repair.connection import LARGEST_QUEUE, Window

SAVED = Connection(
    local=("198.51.100.7", 80),
    remote=("198.51.100.9", 40000),
    receive_sequence=1,
    send_sequence=(1 << 32) - 1,
    received=b"in",
    sent=b"out",
    unsent=b"later",
    mss=1460,
    send_scale=7,
    receive_scale=-1,
    selective=True,
    timestamp=5,
    window=Window(1, 2, 3, 4, 5),
    options=((1, 9, 1),),
)


def test_packed_and_back() -> None:
    assert Connection.unpacked(SAVED.packed()) == SAVED


def changed(**changes: object) -> bytes:
    return msgspec.msgpack.encode({**msgspec.to_builtins(SAVED, builtin_types=(bytes,)), **changes})


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no saved connection"),
        (SAVED.packed()[:-3], "no saved connection"),
        (changed(received=7), "no saved connection"),
        (changed(local=("198.51.100.7", 0)), "nobody has 198.51.100.7 port 0"),
        (changed(remote=("198.51.100.7", 1 << 16)), "port 65536"),
        (changed(local=("0.0.0.0", 80)), "nobody has 0.0.0.0"),
        (changed(remote=("host", 80)), "host"),
        (changed(window=[1, 2]), "no saved connection"),
        (changed(sent=bytes(LARGEST_QUEUE + 1)), "a queue has more than"),
        (changed(receive_sequence=-1), "no saved connection"),
        (changed(send_sequence=1 << 32), "no saved connection"),
        (changed(mss=0), "no saved connection"),
    ],
)
def test_what_is_none_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Connection.unpacked(data)


@pytest.mark.parametrize("prepare", [lambda sock: None, lambda sock: sock.listen()], ids=["new", "listening"])
def test_what_is_not_established_is_not_taken(prepare: Callable[[socket.socket], None]) -> None:
    with socket.socket() as sock:
        prepare(sock)
        with pytest.raises(NotEstablished, match="not established"):
            take(sock)
        assert sock.fileno() >= 0
