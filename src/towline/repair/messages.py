"""What a program that saves itself and whoever moves it say to each other, over a Unix socket, with descriptors.

The program listens on an abstract address, which belongs to its network namespace: nothing has to be inherited, mounted
or found again after a restart of either side. Four bytes of length, then MessagePack; descriptors come with a message's
last bytes, as many as it announces. Both sides treat the other's words as hostile: bounded, typed.
"""

from __future__ import annotations

import array
import socket
import struct

import msgspec

ADDRESS = "\0towline-repair"
LARGEST_STATE = 1 << 30
MOST_SOCKETS = 4096
_LENGTH = struct.Struct("!I")
_FDS_AT_ONCE = 253  # SCM_MAX_FD, include/net/scm.h


class Freeze(msgspec.Struct, frozen=True, tag="freeze"):
    """Stop, and say what you are: answered by Saved."""


class Saved(msgspec.Struct, frozen=True, tag="saved"):
    """state: the program's own bytes. sockets: how many connections come along, as descriptors in this order."""

    state: bytes
    sockets: int


class Thaw(msgspec.Struct, frozen=True, tag="thaw"):
    """You stay: go on."""


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """You live elsewhere now: end."""


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """To a program that has begun at the target: you are this. Answered by Ready. Its sockets come with Go."""

    state: bytes


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """I could begin with that."""


class Go(msgspec.Struct, frozen=True, tag="go"):
    """The connections, in the order of Saved: go on with them."""

    sockets: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """I cannot; why."""

    reason: str


Message = Freeze | Saved | Thaw | Moved | Resume | Ready | Go | Failed


class Broken(ConnectionError):
    """The other side went away, or said what no one says."""


def send(channel: socket.socket, message: Message, sockets: list[int] | None = None) -> None:
    """sockets: descriptors; the message has told how many. Broken if the other side is gone."""
    data = msgspec.msgpack.encode(message)
    try:
        channel.sendall(_LENGTH.pack(len(data)) + data)
        fds = sockets or []
        for start in range(0, len(fds), _FDS_AT_ONCE):
            some = array.array("i", fds[start : start + _FDS_AT_ONCE])
            channel.sendmsg([b"F"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])
    except OSError as error:
        raise Broken(f"the other side went away: {error.strerror}") from error


def receive(channel: socket.socket) -> tuple[Message, list[socket.socket]]:
    """The next message, and the sockets that came with it. Broken; TimeoutError if the channel has one."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    if length > LARGEST_STATE:
        raise Broken(f"a message of {length} bytes: the most is {LARGEST_STATE}")
    try:
        message: Message = msgspec.msgpack.decode(_exactly(channel, length), type=Message)
    except msgspec.MsgspecError as error:
        raise Broken(f"no message of ours: {error}") from None
    return message, _sockets(channel, message.sockets) if isinstance(message, Saved | Go) else []


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = channel.recv(min(size - len(data), 1 << 20))
        if not more:
            raise Broken("the other side went away in the middle of a message" if data else "the other side went away")
        data += more
    return bytes(data)


def _sockets(channel: socket.socket, count: int) -> list[socket.socket]:
    if not 0 <= count <= MOST_SOCKETS:
        raise Broken(f"{count} sockets: the most is {MOST_SOCKETS}")
    found: list[socket.socket] = []
    try:
        while len(found) < count:
            data, ancillary, flags, _ = channel.recvmsg(1, socket.CMSG_SPACE(_FDS_AT_ONCE * 4), socket.MSG_CMSG_CLOEXEC)
            some = [fd for level, kind, payload in ancillary for fd in _descriptors(level, kind, payload)]
            found += map(_adopted, some)
            if data != b"F" or not some or flags & socket.MSG_CTRUNC or len(found) > count:
                raise Broken(f"{len(found)} descriptors where {count} were announced")
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def _descriptors(level: int, kind: int, payload: bytes) -> list[int]:
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    fds = array.array("i")
    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return list(fds)


def _adopted(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)
