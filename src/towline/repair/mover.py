"""The other side of `Movable`: whoever moves the program, with CAP_NET_ADMIN, from a thread in its network namespace.

Source: `freeze`, then `thaw` or `moved`. Target: `resume` (the program is there and waits), then `release`. Each raises
`Refused` where the program cannot, `Broken` where it does not answer; the connections are as they were before then.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

from towline.repair import tcp
from towline.repair.connection import Connection
from towline.repair.messages import (
    ADDRESS,
    Broken,
    Failed,
    Freeze,
    Go,
    Message,
    Moved,
    Ready,
    Resume,
    Saved,
    Thaw,
    receive,
    send,
)

PATIENCE = 10.0
"""Seconds that a program may take to save itself, or to begin."""


class Refused(RuntimeError):
    """The program says that it cannot."""


class Image(msgspec.Struct, frozen=True):
    """A program that saved itself: all that the target needs."""

    state: bytes
    connections: tuple[Connection, ...]

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(
            {"state": self.state, "connections": [each.packed() for each in self.connections]}
        )

    @classmethod
    def unpacked(cls, data: bytes) -> Image:
        """ValueError for what is none."""
        try:
            found = msgspec.msgpack.decode(data, type=_Packed)
        except msgspec.MsgspecError as error:
            raise ValueError(f"this is no image of a program: {error}") from None
        return cls(found.state, tuple(map(Connection.unpacked, found.connections)))


class _Packed(msgspec.Struct):
    state: bytes
    connections: list[bytes]


class Frozen:
    """A program at its source that waits. close: it goes on waiting, for the next caller."""

    def __init__(self, channel: socket.socket, image: Image, sockets: Sequence[socket.socket]) -> None:
        self.image = image
        self._channel = channel
        self._sockets = sockets

    def thaw(self) -> None:
        """It goes on. The network is open already."""
        for each in self._sockets:
            tcp.thaw(each)
        send(self._channel, Thaw())
        self.close()

    def moved(self) -> None:
        """It ends; its connections are closed here without a word."""
        send(self._channel, Moved())
        self.close()

    def close(self) -> None:
        for each in self._sockets:
            each.close()
        self._channel.close()


def freeze(pid: int) -> Frozen:
    """The program stops, and is saved. The network is cut off already. pid: nobody else is believed, 0 is anybody.

    A program that is frozen already is asked again: whoever froze it may have died.
    """
    channel = _call(pid)
    sockets: list[socket.socket] = []
    read: list[Connection] = []
    try:
        send(channel, Freeze())
        message, sockets = receive(channel)
        if not isinstance(message, Saved):
            raise _unexpected(message)
        read.extend(tcp.freeze(each) for each in sockets)
        return Frozen(channel, Image(message.state, tuple(read)), sockets)
    except BaseException:
        for each in sockets[: len(read)]:
            tcp.thaw(each)
        _say_goodbye(channel)
        for each in sockets:
            each.close()
        channel.close()
        raise


class Held:
    """A program at its target that has begun and waits for its connections; they are in the kernel, silent."""

    def __init__(self, channel: socket.socket, image: Image, sockets: Sequence[socket.socket]) -> None:
        self._channel = channel
        self._image = image
        self._sockets = sockets

    def release(self) -> None:
        """It goes on. The network is open here."""
        for each, connection in zip(self._sockets, self._image.connections, strict=True):
            tcp.go(each, connection)
        send(self._channel, Go(len(self._sockets)), [each.fileno() for each in self._sockets])
        self._end()

    def destroy(self) -> None:
        """The connections vanish here without a word; the program is ended by whoever started it."""
        self._end()

    def _end(self) -> None:
        for each in self._sockets:
            each.close()
        self._channel.close()


def resume(pid: int, image: Image) -> Held:
    """The program was started with `program.RESUME`, and listens. Its addresses are there, and nobody reaches them."""
    channel = _call(pid)
    sockets: list[socket.socket] = []
    try:
        send(channel, Resume(image.state))
        message, _ = receive(channel)
        if not isinstance(message, Ready):
            raise _unexpected(message)
        for connection in image.connections:
            sockets.append(tcp.put(connection))
        return Held(channel, image, sockets)
    except BaseException:
        for each in sockets:
            each.close()
        channel.close()
        raise


def _call(pid: int) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.settimeout(PATIENCE)
        channel.connect(ADDRESS)
        found = int.from_bytes(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
        if pid and found != pid:
            raise Broken(f"process {found} listens where process {pid} should")
        return channel
    except ConnectionRefusedError:
        channel.close()
        raise Broken("no program here lets itself be moved: it does not listen (towline.repair.Movable)") from None
    except BaseException:
        channel.close()
        raise


def _say_goodbye(channel: socket.socket) -> None:
    """A program that could not be saved goes on."""
    try:
        send(channel, Thaw())
    except Broken:
        return  # it is gone


def _unexpected(message: Message) -> Exception:
    if isinstance(message, Failed):
        return Refused(message.reason[:1024])
    return Broken(f"the program answers {type(message).__name__}")
